"""A campaign over code, some of it hostile: every submission has a verdict, and the run goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.conftest import Pacore
from tests.needs import need_bubblewrap

Write = Callable[..., Path]

ADD = json.dumps({"tests": [{"input": "1 2", "output": "3"}, {"input": "2 2", "output": "4"}]})
PROGRAMS = {
    "right": "print(sum(map(int, input().split())))",
    "half right": "print(3)",
    "fork bomb": "import os\nwhile True: os.fork()",
    "endless output": "while True: print('x' * 10_000)",
}


@pytest.mark.usefixtures("prefect_server")
def test_hostile_code_is_wrong_and_the_campaign_complete(campaign_file: Write, pacore: Pacore, tmp_path: Path) -> None:
    need_bubblewrap()
    problems = [{"id": id, "problem": f"Add two numbers ({id}).", "answer": ADD} for id in ("one", "two")]
    file = campaign_file(problems, grader="code", pool=len(PROGRAMS), methods=["pass@2"])
    texts = tmp_path / "texts.jsonl"
    rows = [
        {"problem": id, "content": f"```python\n{program}\n```"}
        for id in ("one", "two")
        for program in PROGRAMS.values()
    ]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert pacore("pool", "import", texts, file).code == 0
    assert pacore("run", file).code == 0
    lines = {line["method"]: line for line in json.loads(pacore("report", file, "--json").out)}
    assert (lines["pass@1"]["accuracy"], lines["pass@1"]["ungraded"]) == (0.25, 0)
