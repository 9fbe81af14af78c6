"""A campaign that is graded by a judge, whose answers here are noise: nothing of that may count as wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.flows.conftest import Pacore, Simulate

Write = Callable[..., Path]


@pytest.mark.usefixtures("prefect_server")
def test_votes_and_their_cost_are_rows_and_what_can_not_be_read_is_ungraded(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, tmp_path: Path
) -> None:
    with simulate() as model, simulate(model="judge", reasoning="none") as judge:
        grader: dict[str, Any] = {"kind": "judge", "votes": 2, "sampler": {"model": "judge"}}
        grader["engine"] = {"urls": [judge.url], "tries": 1}
        file = campaign_file(engine={"urls": [model.url]}, grader=grader, methods=["low"])
        ended = pacore("run", file)
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "store/reports/tiny/table.json").read_text())
    lines = {line["method"]: line for line in report}
    assert lines["low"]["accuracy"] is None
    assert lines["low"]["ungraded"] == 2
    rows = duckdb.sql(
        f"select vote, correct, completion_tokens, error from read_parquet('{tmp_path}/store/judgements/**/*.parquet')"
    ).fetchall()
    (generated,) = duckdb.sql(
        f"select count(distinct id) from read_parquet('{tmp_path}/store/trajectories/**/*.parquet')"
    ).fetchall()[0]
    assert len(rows) == 2 * generated
    assert {vote for vote, *_ in rows} == {0, 1}
    assert all(correct is None and tokens > 0 and "no verdict" in error for _, correct, tokens, error in rows)
