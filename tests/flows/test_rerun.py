"""`pacore rerun` against the simulator, which writes other texts where its median length is another."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from infra.table import Row
from tasks.campaign.campaign_file import load_campaign
from tasks.campaign.plan import make_plan
from tasks.report.books import Books
from tasks.store.tables import TRAJECTORIES, trajectories_table
from tests.flows.conftest import Pacore, Simulate
from tests.simulator import Fault, Simulator

pytestmark = pytest.mark.usefixtures("prefect_server")

Write = Callable[..., Path]
README = Path(__file__).parents[2] / "README.md"
POOL, LOW, THREE = 2 * 4, 2 * 1, 2 * (2 + 1)
"""Trajectories of two problems: the pool's, those of `low` beyond it, those of [3, 2]."""


def engine(server: Simulator) -> dict[str, Any]:
    return {"urls": [server.url], "tries": 1}


def stored(file: Path) -> dict[int, dict[str, Row]]:
    """Rows by generation and id."""
    plan = make_plan(load_campaign(file))
    rows = trajectories_table(plan.campaign.store).read(plan.partition, TRAJECTORIES.names).to_pylist()
    return {g: {row["id"]: row for row in rows if row["generation"] == g} for g in {row["generation"] for row in rows}}


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def received(server: Simulator) -> int:
    count = server.seen["received"]
    server.reset()
    return count


def test_what_is_done_again_counts_and_the_old_rows_stay_readable(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate(median_tokens=64) as server:
        file = campaign_file(engine=engine(server), methods=["low", [3, 2]])
        assert pacore("run", file).code == 0
    before = stored(file)[0]
    with simulate(median_tokens=32) as server:
        file = campaign_file(engine=engine(server), methods=["low", [3, 2]])
        ended = pacore("rerun", file, "--all")
        assert ended.code == 0
        assert received(server) == POOL + LOW + THREE
    assert f"{POOL + LOW + THREE} trajectories superseded; the old ones stay readable" in ended.out
    after = stored(file)
    assert after[0].items() >= before.items()
    assert Counter(row["round"] for row in after[1].values()) == {1: POOL}
    books = Books(make_plan(load_campaign(file)))
    assert set(books.tokens.values()) == {32}
    lines = json.loads(pacore("report", file, "--json").out)
    assert [(line["ungraded"], line["failed"]) for line in lines] == [(0, 0)] * 4
    assert {line["method"]: line["ttc_tokens"] for line in lines}["low"] == 32 * 5
    assert pacore("run", file).code == 0


def test_the_readmes_query_counts_each_trajectory_once_after_a_rerun(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate(median_tokens=64) as server:
        assert pacore("run", campaign_file(engine=engine(server))).code == 0
    with simulate(median_tokens=32) as server:
        file = campaign_file(engine=engine(server))
        assert pacore("rerun", file, "--all").code == 0
    (query,) = re.findall(r"```sql\n(.*?)```", README.read_text(), flags=re.DOTALL)
    rows = duckdb.sql(query.replace("'store/", f"'{file.parent}/store/")).fetchall()
    assert [row[:4] for row in rows] == [("low", 1, POOL, POOL * 32), ("low", 2, LOW, LOW * 32)]


def test_what_did_not_change_repeats_and_later_rounds_on_the_same_messages_are_not_generated_again(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate() as server:
        file = campaign_file(engine=engine(server))
        assert pacore("run", file).code == 0
        first = stored(file)[0]
        assert received(server) == POOL + LOW
        assert pacore("rerun", file, "--all", "--round", 1).code == 0
        assert received(server) == POOL
    again = stored(file)[1]
    assert {id: row["content"] for id, row in again.items()} == {
        id: row["content"] for id, row in first.items() if row["round"] == 1
    }


def test_a_later_round_that_was_built_on_what_changed_is_done_again_in_every_campaign(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    def other(server: Simulator) -> Path:
        return campaign_file(name="other", engine=engine(server), methods=[[3, 2]])

    with simulate(median_tokens=64) as server:
        assert pacore("run", other(server)).code == 0
        assert pacore("run", campaign_file(engine=engine(server))).code == 0
    with simulate(median_tokens=32) as server:
        assert pacore("rerun", campaign_file(engine=engine(server)), "--all", "--method", "low").code == 0
        assert received(server) == POOL + LOW
        state = pacore("status", other(server))
        assert state.code == 1
        assert "[3,2] round 1: 2 of 2; [3,2] round 2: 2 of 2; [3,2] round 3: 2 of 2" in state.out
        assert pacore("run", other(server)).code == 0
        assert received(server) == THREE
    books = Books(make_plan(load_campaign(campaign_file(name="other", methods=[[3, 2]]))))
    for problem in books.plan.problems:
        rows = books.rounds(books.plan.methods[0], problem, 0)
        assert {books.tokens[id] for row in rows for id in row["trajectories"]} == {32}


def test_one_round_of_one_method_on_one_problem_is_done_again_and_what_comes_after_it(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate(median_tokens=64) as server:
        file = campaign_file(engine=engine(server), methods=["low", [3, 2]])
        assert pacore("run", file).code == 0
    with simulate(median_tokens=32) as server:
        file = campaign_file(engine=engine(server), methods=["low", [3, 2]])
        ended = pacore("rerun", file, "--all", "--method", "[3,2]", "--round", 2, "--problem", "sum")
        assert ended.code == 0
        assert received(server) == 2 + 1
    again = stored(file)[1].values()
    assert [(row["round"], row["completion_tokens"]) for row in again] == [(2, 32)] * 2
    assert pacore("status", file).code == 0


def test_a_dry_run_says_what_is_due_and_does_nothing(campaign_file: Write, pacore: Pacore, simulate: Simulate) -> None:
    with simulate() as server:
        file = campaign_file(engine=engine(server), methods=["low", [3, 2]])
        assert pacore("run", file).code == 0
        before = files(file.parent)
        received(server)
        ended = pacore("rerun", file, "--all", "--round", 1, "--method", "low", "--dry-run")
        assert ended.code == 0
        assert [line.split() for line in ended.out.splitlines() if line.strip()][2:] == [
            ["pool", "1", "2", "8"],
            ["low", "2", "2", "2", "2"],
            ["[3,2]", "2", "2", "2", "4"],
            ["[3,2]", "3", "2", "2", "2"],
            ["8", "trajectories", "superseded;", "the", "old", "ones", "stay", "readable"],
        ]
        assert json.loads(pacore("rerun", file, "--dry-run", "--json").out) == {"superseded": 0, "due": []}
        assert received(server) == 0
    assert files(file.parent) == before


@pytest.mark.parametrize(
    ("options", "what", "remedy"),
    [
        (["--method", "medium"], "--method: 'medium' given", "tiny has low"),
        (["--round", "3"], "--round: 3 given", "tiny has rounds 1 to 2"),
        (["--round", "0"], "--round: 0 given", "tiny has rounds 1 to 2"),
        (["--problem", "../sum"], "--problem: '../sum' given", "such as 'sum'"),
        (["--all", "--failed"], "--failed and --all are given", "give one of them"),
    ],
)
def test_a_choice_that_the_campaign_has_not_is_one_line(
    campaign_file: Write, pacore: Pacore, options: list[str], what: str, remedy: str
) -> None:
    ended = pacore("rerun", campaign_file(), *options)
    assert ended.code == 2
    assert what in ended.complaint
    assert remedy in ended.complaint


def test_the_holes_that_a_quorum_left_are_filled_and_the_later_rounds_see_what_came(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate(faults=[Fault("500", nth=(3,))]) as server:
        file = campaign_file(engine=engine(server), quorum=0.75)
        assert pacore("run", file).code == 0
        assert received(server) == POOL + LOW
    with simulate(keep_bodies=True) as server:
        file = campaign_file(engine=engine(server), quorum=0.75)
        assert pacore("run", file).code == 0
        assert received(server) == 0
        assert json.loads(pacore("rerun", file, "--dry-run", "--json").out)["due"] == [
            {"method": "pool", "round": 1, "problems": 1, "runs": 0, "trajectories": 1},
            {"method": "low", "round": 2, "problems": 1, "runs": 1, "trajectories": 1},
        ]
        assert pacore("rerun", file).code == 0
        shown = [body["messages"][0]["content"].count("\nReference ") - 1 for body in server.bodies]
    assert [number for number in shown if number > 0] == [4]
    assert len(shown) == 2
    books = Books(make_plan(load_campaign(file)))
    assert [row["missing"] for p in books.plan.problems for row in books.rounds(books.plan.methods[0], p, 0)] == [0] * 4


def test_a_rerun_that_is_killed_goes_on_with_the_next_run(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, tmp_path: Path
) -> None:
    problems = [{"id": str(n), "problem": f"{n} + {n}?", "answer": str(2 * n)} for n in range(10)]
    with simulate(median_tokens=64) as server:
        assert pacore("run", campaign_file(problems, engine=engine(server))).code == 0
    with simulate(median_tokens=32, slots=4, first_token_seconds=0.1) as server:
        file = campaign_file(problems, engine=engine(server), commit_seconds=0.1)
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "rerun", str(file), "--all"],
            env={**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 90
            while len(stored(file).get(1, {})) < 12:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        kept = stored(file)[1]
        assert 12 <= len(kept) < 40
        received(server)
        assert pacore("run", file).code == 0
        assert received(server) == 10 * (4 + 1) - len(kept)
    assert set(Books(make_plan(load_campaign(file))).tokens.values()) == {32}
    assert all(stored(file)[1][id] == row for id, row in kept.items())
