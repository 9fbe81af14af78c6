"""Faults outside: an engine, a store and a Prefect server that are away for a while, or for longer than that."""

import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from infra.filesystem import create_file
from infra.table import Row
from tasks.campaign.campaign_file import load_campaign
from tasks.campaign.plan import make_plan
from tasks.store.tables import trajectories_table
from tests.flows.conftest import Pacore, Simulate
from tests.simulator import Fault, Simulator

CHECKOUT = Path(__file__).parents[2]
PROBLEMS = [{"id": str(n), "problem": f"{n} + {n}?", "answer": str(2 * n)} for n in range(10)]
IN_ALL = 10 * (4 + 1)

Write = Callable[..., Path]


def campaign(write: Write, server: Simulator, **engine: Any) -> Path:
    given = {"urls": [server.url], "in_flight": 4, "tries": 1, **engine}
    return write(PROBLEMS, engine=given, commit_seconds=0.1)


def rows(file: Path) -> list[Row]:
    plan = make_plan(load_campaign(file))
    return trajectories_table(plan.campaign.store).read(plan.partition, ["id", "error"]).to_pylist()


def after(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Act once a condition holds, beside the test."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


# --- the engine -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(("kind", "told"), [("reset", True), ("503", False), ("stall", True)])
def test_an_engine_that_is_away_for_a_while_costs_no_trajectory(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, kind: str, told: bool
) -> None:
    with simulate(first_token_seconds=0.05, slots=4) as server:
        file = campaign(campaign_file, server, first_token_seconds=1, between_tokens_seconds=0.5)

        def away() -> None:
            server.faults.append(Fault(kind, rate=1))
            time.sleep(4)
            server.faults.clear()

        outage = after(lambda: server.seen["finished"] >= 12, away)
        ended = pacore("run", file)
        outage.join()
    assert ended.code == 0
    assert [row["error"] for row in rows(file)] == [None] * IN_ALL
    assert ("no engine answers, waiting" in ended.err) == told  # one that has too much to do answers
    assert ("an engine answers again" in ended.err) == told


@pytest.mark.usefixtures("prefect_server")
def test_an_engine_that_stays_away_ends_the_run_in_one_line_and_burns_no_trajectory(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate(first_token_seconds=0.05, slots=4) as server:
        file = campaign(campaign_file, server, patience_seconds=2)
        outage = after(lambda: server.seen["finished"] >= 12, lambda: server.faults.append(Fault("500", rate=1)))
        ended = pacore("run", file)
        outage.join()
        assert ended.code == 1
        *_, said = ended.err.splitlines()
        assert said.startswith("pacore: no engine has answered since ")
        assert said.endswith("; what finished is stored: start it, then run the campaign again")
        kept = rows(file)
        assert 12 <= len(kept) < IN_ALL
        assert all(row["error"] is None for row in kept)
        server.faults.clear()
        received = server.seen["received"]
        assert pacore("run", file).code == 0
        assert server.seen["received"] - received == IN_ALL - len(kept)


# --- the store ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("prefect_server")
def test_a_store_that_throttles_in_the_middle_is_waited_for(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = itertools.count(1)

    def slow_down(*arguments: Any) -> None:
        if 3 <= next(writes) <= 6:
            raise OSError(errno.EBUSY, "SlowDown: Please reduce your request rate")
        create_file(*arguments)

    monkeypatch.setattr("infra.table.create_file", slow_down)
    with simulate(first_token_seconds=0.05, slots=4) as server:
        file = campaign(campaign_file, server)
        ended = pacore("run", file)
    assert (ended.code, ended.err) == (0, "")
    assert len(rows(file)) == IN_ALL


# --- Prefect --------------------------------------------------------------------------------------


def start(file: Path, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", str(file)],
        cwd=CHECKOUT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_prefect_server_of_our_own_that_dies_is_started_again_and_the_campaign_completes(
    campaign_file: Write, simulate: Simulate, tmp_path: Path
) -> None:
    with simulate(first_token_seconds=0.3, slots=2) as server:
        file = campaign(campaign_file, server)
        process = start(file, PREFECT_HOME=str(tmp_path / "prefect"))

        def kill() -> None:
            threads = Path(f"/proc/{process.pid}/task").iterdir()
            (own,) = [child for thread in threads for child in (thread / "children").read_text().split()]
            os.kill(int(own), signal.SIGKILL)

        after(lambda: server.seen["finished"] >= 8, kill).join()
        printed, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "pass@1" in printed
    assert len(rows(file)) == IN_ALL


def test_a_prefect_server_that_is_not_there_is_one_line_and_nothing_is_sent(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate() as server, temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        ended = pacore("run", campaign(campaign_file, server))
        assert server.seen["received"] == 0
    assert ended.code == 2
    assert ended.complaint == (
        "pacore: Prefect's API at http://127.0.0.1:9/api does not answer; start it, or unset PREFECT_API_URL"
    )
