"""Tables 1, 2 and 8, all methods, comparisons: what they show when a campaign has what they need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.report.exhibits.evidence import Evidence
from tasks.report.exhibits.methods import all_methods, comparisons
from tasks.report.exhibits.quoted import quoted
from tasks.report.exhibits.table_1 import table_1
from tasks.report.exhibits.table_2 import table_2
from tasks.report.exhibits.table_8 import table_8
from tests.tasks.ledger import PRODUCT, SUM, Ledger, with_pool

Make = Callable[..., Ledger]


def with_low(ledger: Make, **keys: Any) -> Evidence:
    """pass@1 is right for 37.5 %; low for one of two problems, in one of two runs of the other."""
    here, pool = with_pool(ledger(**{"methods": ["low", "sc@4", "sc@2"], "runs": 2, **keys}))
    answers = {SUM: ["correct", "correct"], PRODUCT: ["wrong", "correct"]}
    for problem, outcomes in answers.items():
        for run, outcome in enumerate(outcomes):
            here.round("low", problem, run, 1, pool[problem])
            here.later("low", problem, run, 2, [(outcome, "6", 10)], pool[problem])
    return here.evidence()


def test_table_1_has_the_levels_that_were_run_after_pass_at_1(ledger: Make) -> None:
    exhibit = table_1([with_low(ledger)])
    assert exhibit
    assert exhibit.headings == ["model", "method", "problems % (TTC k)", "95 % CI"]
    assert [row.cells for row in exhibit.rows] == [
        ["sim", "pass@1", "37.5 (0.06)", "25.0–50.0"],
        ["sim", "low", "75.0 (0.26)", "50.0–100.0"],
    ]
    assert [record["accuracy"] for record in exhibit.records] == [0.375, 0.75]
    assert [record["ttc_tokens"] for record in exhibit.records] == [62.5, 260]


def test_every_exhibit_says_n_runs_interval_date_and_sampler(ledger: Make) -> None:
    evidence = with_low(ledger)
    said = [
        "2 problems",
        "2 runs",
        "95 % intervals",
        "2026-01-01",
        "sampler sim, temperature 1.0",
        evidence.plan.sampler[:8],
    ]
    for exhibit in (table_1([evidence]), table_2([evidence]), all_methods([evidence]), comparisons([evidence])):
        assert exhibit
        assert all(part in exhibit.notes[0] for part in said)


def test_the_papers_rows_stand_beside_a_benchmark_that_it_has_and_are_marked(ledger: Make, tmp_path: Path) -> None:
    evidence = with_low(ledger)
    (tmp_path / "problems.jsonl").rename(tmp_path / "hmmt_feb_2025.jsonl")
    campaign = evidence.plan.campaign
    benchmark = campaign.benchmark.model_copy(update={"path": str(tmp_path / "hmmt_feb_2025.jsonl")})
    object.__setattr__(evidence.plan, "campaign", campaign.model_copy(update={"benchmark": benchmark}))
    exhibit = table_1([evidence])
    assert exhibit
    assert [row.cells[:3] for row in exhibit.rows if row.quoted] == [
        ["GPT-5", "high effort", "93.2 (16)"],
        ["RLVR-8B", "start", "75.4 (48)"],
        ["PaCoRe-8B", "low", "88.1 (243)"],
        ["PaCoRe-8B", "medium", "92.9 (869)"],
        ["PaCoRe-8B", "high", "94.5 (1,796)"],
    ]
    assert {row.cells[3] for row in exhibit.rows if row.quoted} == {"quoted"}
    assert {row.cells[0] for row in exhibit.rows if not row.quoted} == {"sim"}
    assert [record["source"] for record in exhibit.records].count("quoted") == 5


def test_two_campaigns_are_two_models_or_two_benchmarks_side_by_side(ledger: Make) -> None:
    one, other = with_low(ledger), with_low(ledger, sampler={"model": "other"}, store="second")
    exhibit = table_1([one, other])
    assert exhibit
    assert [row.cells[:2] for row in exhibit.rows] == [
        ["sim", "pass@1"],
        ["other", "pass@1"],
        ["sim", "low"],
        ["other", "low"],
    ]


def test_table_2_has_the_votes_by_their_width(ledger: Make) -> None:
    exhibit = table_2([with_low(ledger)])
    assert exhibit
    assert [row.cells[1] for row in exhibit.rows] == ["sc@2", "sc@4"]
    assert exhibit.rows[1].cells[2] == "50.0 (0.25)"


def test_table_8_has_the_methods_that_share_a_first_round(ledger: Make) -> None:
    here, pool = with_pool(ledger(methods=[[4, 2], [4, 1], [3, 2], "low"]))
    for method, width in [("[4,2]", 2), ("[4,1]", 1), ("[3,2]", 2)]:
        for problem in (SUM, PRODUCT):
            here.round(method, problem, 0, 1, pool[problem])
            here.later(method, problem, 0, 2, [("correct", "6", 5)] * width)
            here.later(method, problem, 0, 3, [("correct", "6", 5)])
    exhibit = table_8([here.evidence()])
    assert exhibit
    assert [row.cells[1] for row in exhibit.rows] == ["[4,1]", "[4,2]"]


def test_a_table_whose_methods_were_not_run_is_left_out(ledger: Make) -> None:
    here, _ = with_pool(ledger(methods=["low", [4, 2]]))
    evidence = here.evidence()
    assert [table([evidence]) for table in (table_1, table_2, table_8)] == [None, None, None]


def test_each_method_is_compared_with_the_widest_vote_on_the_same_problems(ledger: Make) -> None:
    exhibit = comparisons([with_low(ledger)])
    assert exhibit
    by_method = {row.cells[2]: row.cells[3:] for row in exhibit.rows}
    assert by_method.keys() == {"pass@1", "low", "sc@2"}
    assert by_method["low"] == ["sc@4", "+25.0", "0.0–50.0", "1", "2"]
    assert by_method["pass@1"][:3] == ["sc@4", "−12.5", "−50.0 to 25.0"]


def test_a_price_shows_what_each_method_cost(ledger: Make) -> None:
    exhibit = all_methods([with_low(ledger, price={"per_million_tokens": 1000})])
    assert exhibit
    assert exhibit.headings[-1] == "cost, money"
    assert {row.cells[2]: row.cells[-1] for row in exhibit.rows}["low"] == "0.54"
    free = all_methods([with_low(ledger, store="free")])
    assert free
    assert free.headings[-1] == "failed"


def test_the_papers_tables_are_carried_over_whole() -> None:
    assert {name: len(quoted(name)) for name in ("table_1", "table_2", "table_8")} == {
        "table_1": 5,
        "table_2": 4,
        "table_8": 3,
    }
    assert [len(row.values) for row in quoted("table_1")] == [7] * 5
    assert [len(row.values) for row in quoted("table_2")] == [4] * 4
    assert quoted("table_2")[3].values["apex"] == (0.0, 15_924_000)
    assert quoted("table_8")[1].values == {"hmmt_feb_2025": (94.6, None), "livecodebench": (78.4, None)}


@pytest.mark.parametrize("price", [{"gpus": 8}, {"gpus": 8, "gpu_hour": 2.0}])
def test_gpu_hours_are_named_as_such(ledger: Make, price: dict[str, float]) -> None:
    exhibit = all_methods([with_low(ledger, price=price)])
    assert exhibit
    assert exhibit.headings[-1] == ("cost, money" if "gpu_hour" in price else "cost, GPU-hours")
