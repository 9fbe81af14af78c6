import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from infra.filesystem import StoreError
from tasks.campaign.campaign_file import CampaignError
from tasks.campaign.plan import Plan
from tasks.grade_shard import grade_shard
from tasks.pool_file import COLUMNS, export_pool, import_pool
from tasks.reasoning.draw import pool_draw
from tasks.reasoning.workbench import Workbench
from tasks.report.books import Books
from tasks.report.report import report
from tasks.store.tables import trajectories_table
from tests.tasks.graders.test_game24 import GPT4, numbers_of

MakePlan = Callable[..., Plan]
TEXTS = [
    {"problem": "sum", "content": "2", "reasoning": "1 and 1", "completion_tokens": 7, "reasoning_tokens": 5},
    {"problem": "product", "content": "6"},
    {"problem": "sum", "content": None, "finish_reason": "length", "completion_tokens": 9},
]


def write(folder: Path, *rows: Any) -> str:
    path = folder / "pool.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def stored(plan: Plan) -> list[dict[str, Any]]:
    names = ["id", "draw", "reasoning", "content", "message", "finish_reason", "completion_tokens", "error"]
    return list(trajectories_table(plan.campaign.store).read(plan.partition, names).to_pylist())


def test_imported_rows_are_the_pool_of_their_problems_numbered_as_they_come(plan: MakePlan, tmp_path: Path) -> None:
    here = plan()
    assert import_pool(here, write(tmp_path, *TEXTS)) == 3
    by_id = {row["id"]: row for row in stored(here)}
    first, second = (by_id[pool_draw(here, here.problems[0], draw).id] for draw in (0, 1))
    assert (first["reasoning"], first["message"], first["completion_tokens"]) == ("1 and 1", "2", 7)
    assert (second["content"], second["message"], second["finish_reason"]) == (None, "", "length")
    assert by_id[pool_draw(here, here.problems[1], 0).id]["message"] == "6"
    assert all(row["error"] is None for row in by_id.values())


def test_a_message_is_what_follows_the_thinking_in_an_imported_text(plan: MakePlan, tmp_path: Path) -> None:
    here = plan()
    import_pool(here, write(tmp_path, {"problem": "sum", "content": "<think>1 and 1</think>2"}))
    assert [row["message"] for row in stored(here)] == ["2"]


def test_a_draw_that_is_stated_is_kept(plan: MakePlan, tmp_path: Path) -> None:
    here = plan()
    import_pool(here, write(tmp_path, {"problem": "sum", "content": "2", "draw": 3}))
    assert [row["draw"] for row in stored(here)] == [3]


def test_to_import_again_adds_nothing(plan: MakePlan, tmp_path: Path) -> None:
    here = plan()
    for _ in range(2):
        import_pool(here, write(tmp_path, *TEXTS))
    assert len(stored(here)) == 3


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_what_is_exported_can_be_imported_elsewhere_and_is_the_same(plan: MakePlan, tmp_path: Path, name: str) -> None:
    here = plan()
    import_pool(here, write(tmp_path, *TEXTS))
    assert export_pool(here, str(tmp_path / name)) == 3
    there = plan(store="elsewhere")
    assert import_pool(there, str(tmp_path / name)) == 3
    assert sorted(stored(there), key=lambda row: row["id"]) == sorted(stored(here), key=lambda row: row["id"])


def test_an_export_is_ordered_by_problem_and_draw(plan: MakePlan, tmp_path: Path) -> None:
    here = plan()
    import_pool(here, write(tmp_path, *TEXTS[::-1]))
    export_pool(here, str(tmp_path / "out.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["problem"], row["draw"]) for row in rows] == [("sum", 0), ("sum", 1), ("product", 0)]
    assert all(list(row) == COLUMNS for row in rows)


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_empty_pool_is_exported_as_a_file_without_rows(plan: MakePlan, tmp_path: Path, name: str) -> None:
    here, path = plan(), tmp_path / name
    assert export_pool(here, str(path)) == 0
    assert (path.read_bytes() == b"") if name.endswith("jsonl") else (pq.read_table(path).column_names == COLUMNS)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"problem": "none", "content": "2"}, ["line 2", "no problem 'none'", "give its id there"]),
        ({"content": "2"}, ["line 2", "problem", "Field required"]),
        ({"problem": "sum"}, ["line 2", "content", "Field required"]),
        ({"problem": "sum", "content": "2", "draw": -1}, ["line 2", "draw", "greater than or equal to 0"]),
        ({"problem": "sum", "content": "2", "draw": 0}, ["line 2", "draw 0 of problem 'sum' stands twice"]),
        ({"problem": "sum", "content": "2", "completion_tokens": "many"}, ["line 2", "completion_tokens"]),
        ("{", ["line 2", "not JSON"]),
    ],
)
def test_a_row_that_is_no_trajectory_is_refused_with_its_line_and_nothing_is_stored(
    plan: MakePlan, tmp_path: Path, row: Any, said: list[str]
) -> None:
    here = plan()
    with pytest.raises(CampaignError) as refused:
        import_pool(here, write(tmp_path, TEXTS[0], row, TEXTS[1]))
    text = str(refused.value)
    assert all(part in text for part in said), text
    assert "\n" not in text
    assert stored(here) == []


def test_a_missing_file_is_refused(plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"none\.jsonl: no such file; give a JSONL, Parquet or CSV file"):
        import_pool(plan(), str(tmp_path / "none.jsonl"))


def test_an_export_into_a_folder_that_is_not_there_is_refused(plan: MakePlan, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"can not write .*out\.jsonl: .*make the bucket or folder"):
        export_pool(plan(), str(tmp_path / "none" / "out.jsonl"))


async def test_the_published_figures_of_gpt4_on_the_game_of_24_come_out(plan: MakePlan, tmp_path: Path) -> None:
    if not GPT4.exists():
        pytest.skip(f"no test data at {GPT4}: set PACORE_TEST_DATA to the folder that holds game24/")
    games = json.loads(GPT4.read_text())
    problems = [
        {"id": str(n), "problem": f"Game {n}: make 24", "answer": numbers_of(game["ys"])}
        for n, game in enumerate(games)
    ]
    here = plan(problems, grader="game24", pool=100, methods=["sc@100"])
    texts = ({"problem": str(n), "content": text} for n, game in enumerate(games) for text in game["ys"])
    assert import_pool(here, write(tmp_path, *texts)) == 10_000
    bench = Workbench(here, None)  # type: ignore[arg-type]
    bench.trajectories.refresh()
    assert await grade_shard(bench, here.problems) == 10_000
    lines = {line.method: line for line in report(Books(here))}
    assert lines["pass@1"].accuracy == pytest.approx(0.04, abs=0.0005)
    assert lines["sc@100"].accuracy == pytest.approx(0.09)
    assert lines["pass@100"].accuracy == pytest.approx(0.49)
    assert {(line.ungraded, line.failed) for line in lines.values()} == {(0, 0)}
