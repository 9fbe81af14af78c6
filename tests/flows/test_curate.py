"""`pacore curate`: from rows in the released form to training rows for verl."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tasks.campaign.campaign_file import load_campaign
from tasks.campaign.plan import Plan, make_plan
from tasks.grade_shard import grade_shard
from tasks.reasoning.workbench import Workbench
from tests.flows.conftest import Pacore
from tests.tasks.ledger import Ledger

pytestmark = pytest.mark.usefixtures("prefect_server")
Write = Callable[..., Path]

RIGHT = {"easy": 4, "good": 1, "also good": 1, "hard": 0}
"""Of four messages on each problem."""


def released(name: str, right: int) -> dict[str, Any]:
    chat = [{"role": "user", "content": f"What is the length of the word {name}?"}]
    messages = [*["Answer: 4"] * right, *[f"Answer: {n}" for n in range(10, 14 - right)]]
    return {"conversation": chat, "responses": messages, "ground_truth": "4"}


@pytest.fixture
def curation(tmp_path: Path) -> Write:
    """Write a curation file with six problems, two of which have to go before the pool is asked."""
    rows = [released(name, right) for name, right in RIGHT.items()]
    rows += [released("https://example.org", 1), released("benchmark 7", 1)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    known = {"id": "1", "problem": "What is the length of the word benchmark 3?", "answer": "4"}
    (tmp_path / "known.jsonl").write_text(json.dumps(known))

    def write(**keys: Any) -> Path:
        given = {
            "out": "out",
            "sources": [{"name": "open", "path": "rows.jsonl"}],
            "benchmarks": ["known.jsonl"],
            "verl": {"messages": [2, 3], "epochs": 2},
            **keys,
        }
        (tmp_path / "curation.yaml").write_text(yaml.safe_dump(given))
        return tmp_path / "curation.yaml"

    return write


def counts(printed: str) -> dict[str, int]:
    return {step["name"]: sum(step["left"].values()) for step in json.loads(printed)}


def graded(plan: Plan) -> None:
    bench = Workbench(plan, None)  # type: ignore[arg-type]
    bench.trajectories.refresh()
    asyncio.run(grade_shard(bench, plan.problems))


def test_from_the_released_form_to_prompts_for_verl(
    curation: Write, campaign_file: Write, pacore: Pacore, tmp_path: Path
) -> None:
    ended = pacore("curate", curation(), "--json")
    assert (ended.code, ended.err) == (0, "")
    assert counts(ended.out) == {"collected": 6, "rules": 5, "decontamination": 4}

    pool = campaign_file(benchmark="out/problems.jsonl", pool=4, methods=[[2]], runs=2)
    assert pacore("pool", "import", tmp_path / "out/messages.jsonl", pool).code == 0
    plan = make_plan(load_campaign(pool))
    graded(plan)
    ended = pacore("curate", curation(campaign=pool.name), "--json")
    assert (ended.code, ended.err) == (0, "")
    assert counts(ended.out) == {"collected": 6, "rules": 5, "decontamination": 4, "stage 1": 2}

    ledger = Ledger(plan)
    for number, outcomes in {1: ["correct", "wrong"], 2: ["correct", "correct"]}.items():
        for run, outcome in enumerate(outcomes):
            ledger.round("[2]", number, run, 1, ledger.books().pool(plan.problems[number])[:2])
            ledger.later("[2]", number, run, 2, [(outcome, "4", 1)])
    ledger.books()
    stage_2 = {"campaign": pool.name, "method": "[2]"}
    ended = pacore("curate", curation(campaign=pool.name, stage_2=stage_2), "--json")
    assert (ended.code, ended.err) == (0, "")
    assert counts(ended.out) == {"collected": 6, "rules": 5, "decontamination": 4, "stage 1": 2, "stage 2": 1}

    (row,) = pq.read_table(tmp_path / "out/released.parquet").to_pylist()
    assert row == released("good", 1)
    for epoch in ("000", "001"):
        (row,) = pq.read_table(tmp_path / f"out/verl/train-{epoch}.parquet").to_pylist()
        assert "the word good?" in row["prompt"][0]["content"]
        assert "Reference 2:" in row["prompt"][0]["content"]
        assert (row["data_source"], row["reward_model"]["ground_truth"]) == ("open", "4")


def test_the_funnel_is_printed_with_what_was_dropped(curation: Write, pacore: Pacore, tmp_path: Path) -> None:
    ended = pacore("curate", curation())
    assert ended.code == 0
    assert ["total", "6", "5", "4", "66.67"] in [line.split() for line in ended.out.splitlines()]
    assert "decontamination dropped 1: exact match 1" in ended.out
    assert (tmp_path / "out/funnel.md").exists()


def test_problems_without_verdicts_are_told_and_leave_the_curation_incomplete(
    curation: Write, campaign_file: Write, pacore: Pacore
) -> None:
    file = curation(campaign="campaign.yaml")
    campaign_file(benchmark="out/problems.jsonl")
    ended = pacore("curate", file)
    assert ended.code == 1
    assert ended.complaint == "pacore: 4 problems have no verdict yet; run their campaign, then curate again"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"sources": [{"name": "open", "path": "none.jsonl"}]}, "none.jsonl: no such file; give a JSONL"),
        ({"benchmarks": ["none.jsonl"]}, "none.jsonl: no such file"),
        ({"campaign": "none.yaml"}, "none.yaml: No such file or directory; give the path of a campaign file"),
        ({"benchmarks": ["rows.jsonl"]}, "rows.jsonl, line 1: no 'id'"),
        ({"sources": [{"name": "known", "path": "known.jsonl"}]}, "left: decontamination dropped 1: exact match 1"),
        ({"out": "rows.jsonl/out"}, "store: can not write"),
    ],
)
def test_what_is_not_there_is_told_on_one_line(
    curation: Write, pacore: Pacore, keys: dict[str, Any], said: str
) -> None:
    ended = pacore("curate", curation(**keys))
    assert ended.code == 2
    assert said in ended.complaint
