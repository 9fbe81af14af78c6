"""GPT-4's 10,000 texts on the Game of 24 as a pool: the published figures come out of the store again."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.conftest import Pacore

DATA = Path(os.environ.get("PACORE_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
GPT4 = DATA / "game24" / "gpt-4_0.7_naive_cot_sample_100_start900_end1000.json"
VOTES = [f"sc@{n}" for n in (1, 4, 16, 64, 100)]
ANY = [f"pass@{k}" for k in (1, 2, 4, 8, 16, 32, 64, 100)]


@pytest.fixture
def lines(
    campaign_file: Callable[..., Path], pacore: Pacore, tmp_path: Path, prefect_server: None
) -> dict[str, dict[str, float]]:
    """Import the texts, run the campaign (which has only to grade), and read its table by method."""
    if not GPT4.exists():
        pytest.skip(f"no test data at {GPT4}: set PACORE_TEST_DATA to the folder that holds game24/")
    texts = [problem["ys"] for problem in json.loads(GPT4.read_text())]
    problems = [
        {"id": n, "problem": f"Make 24 of {numbers_of(of_problem)}.", "answer": numbers_of(of_problem)}
        for n, of_problem in enumerate(texts)
    ]
    file = campaign_file(
        [{**problem, "problem": f"{problem['id']}: {problem['problem']}"} for problem in problems],
        grader="game24",
        pool=100,
        methods=[*VOTES, *ANY],
    )
    rows = tmp_path / "texts.jsonl"
    with rows.open("w") as out:
        for problem, of_problem in zip(problems, texts, strict=True):
            for text in of_problem:
                out.write(json.dumps({"problem": problem["id"], "content": text, "completion_tokens": 60}) + "\n")
    assert json.loads(pacore("pool", "import", rows, file, "--json").out) == {"imported": 10_000}
    assert pacore("run", file).code == 0
    return {line["method"]: line for line in json.loads(pacore("report", file, "--json").out)}


def numbers_of(texts: list[str]) -> str:
    """The four numbers, which the data does not state: two of the first step and what it leaves."""
    found: Counter[str] = Counter()
    for text in texts:
        if step := re.search(r"(\d+) [-+*/] (\d+) = (\S+) \(left: (.+?)\)", text):
            left = step[4].split()
            if step[3] in left:
                left.remove(step[3])
                found[" ".join(sorted([step[1], step[2], *left]))] += 1
    return found.most_common(1)[0][0]


def test_the_published_figures_come_out_with_intervals(lines: dict[str, dict[str, float]]) -> None:
    percent = {name: round(100 * line["accuracy"], 1) for name, line in lines.items()}
    assert (percent["pass@1"], percent["sc@100"], percent["pass@100"]) == (4.0, 9.0, 49.0)
    assert percent["sc@1"] == pytest.approx(4.0, abs=0.5)  # 64 draws a problem
    rising = [lines[name]["accuracy"] for name in ANY]
    assert rising == sorted(rising)
    votes = [lines[name]["accuracy"] for name in VOTES]  # no law makes them rise: sc@64 is 9.2 %
    assert votes[:3] == sorted(votes[:3])
    assert votes[3] == pytest.approx(votes[4], abs=0.01)
    for name in [*VOTES, *ANY]:
        lower, upper = lines[name]["ci95"]
        assert lower < lines[name]["accuracy"] < upper
    assert {line["ungraded"] for line in lines.values()} == {0}
