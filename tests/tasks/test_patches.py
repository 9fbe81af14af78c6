import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.campaign.campaign_file import CampaignError
from tasks.campaign.plan import Plan
from tasks.grade_shard import grade_shard
from tasks.patches import export_patches, import_verdicts
from tasks.pool_file import import_pool
from tasks.reasoning.draw import pool_draw
from tasks.reasoning.workbench import Workbench
from tasks.report.books import Books

MakePlan = Callable[..., Plan]
DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n"


def patch(version: str) -> str:
    return f"Fixed:\n```diff\n{DIFF.replace('+b', '+' + version)}```"


@pytest.fixture
async def graded(plan: MakePlan, tmp_path: Path) -> Plan:
    """Two instances with three answers: two patches and none, and one patch."""
    here = plan(grader="patch")
    texts = [("sum", patch("1")), ("sum", patch("2")), ("sum", "I can not."), ("product", patch("3"))]
    file = tmp_path / "pool.jsonl"
    file.write_text("".join(json.dumps({"problem": id, "content": text}) + "\n" for id, text in texts))
    import_pool(here, str(file))
    bench = Workbench(here, None)  # type: ignore[arg-type]  (nothing is generated)
    bench.trajectories.refresh()
    await grade_shard(bench, here.problems)
    bench.graders.close()
    return here


def outcomes(plan: Plan) -> list[str | None]:
    books, sum_, product = Books(plan), *plan.problems
    of = [(sum_, 0), (sum_, 1), (sum_, 2), (product, 0)]
    return [books.outcome(pool_draw(plan, problem, draw).id, problem) for problem, draw in of]


def rows_of(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def write_report(folder: Path, **ids: list[str]) -> str:
    file = folder / "report.json"
    file.write_text(json.dumps({"total_instances": 2, "resolved_ids": [], **ids}))
    return str(file)


async def test_patches_wait_ungraded_and_go_to_files_of_one_patch_an_instance(graded: Plan, tmp_path: Path) -> None:
    assert outcomes(graded) == ["ungraded", "ungraded", "wrong", "ungraded"]
    first, second = export_patches(graded, str(tmp_path / "out"))
    assert [row["instance_id"] for row in rows_of(first)] == ["sum", "product"]
    assert [row["instance_id"] for row in rows_of(second)] == ["sum"]
    assert {row["model_name_or_path"] for row in rows_of(first)} == {"tiny-000"}
    assert all(row["model_patch"].startswith("--- a/x.py\n") for row in rows_of(first))


async def test_a_report_decides_the_patches_of_its_file_and_no_others(graded: Plan, tmp_path: Path) -> None:
    first, second = export_patches(graded, str(tmp_path / "out"))
    report = write_report(tmp_path, resolved_ids=["sum"], unresolved_ids=["product"])
    assert import_verdicts(graded, first, report) == 2
    assert sorted(map(str, outcomes(graded))) == ["correct", "ungraded", "wrong", "wrong"]
    assert import_verdicts(graded, second, write_report(tmp_path, empty_patch_ids=["sum"])) == 1
    assert sorted(map(str, outcomes(graded))) == ["correct", "wrong", "wrong", "wrong"]
    assert export_patches(graded, str(tmp_path / "again")) == []


async def test_what_the_harness_could_not_run_stays_ungraded(graded: Plan, tmp_path: Path) -> None:
    first, _ = export_patches(graded, str(tmp_path / "out"))
    assert import_verdicts(graded, first, write_report(tmp_path, error_ids=["sum", "product"])) == 0
    assert outcomes(graded).count("ungraded") == 3


async def test_files_of_another_form_are_refused(graded: Plan, tmp_path: Path) -> None:
    first, _ = export_patches(graded, str(tmp_path / "out"))
    with pytest.raises(CampaignError, match="not a report; give the harness's report"):
        import_verdicts(graded, first, first.replace("000", "001"))
    with pytest.raises(CampaignError, match="no such file; give the harness's report"):
        import_verdicts(graded, first, str(tmp_path / "none.json"))
    (other := tmp_path / "other.jsonl").write_text('{"instance_id": "other", "trajectory": "x"}\n')
    with pytest.raises(CampaignError, match="line 1: no patch of this campaign"):
        import_verdicts(graded, str(other), write_report(tmp_path))
