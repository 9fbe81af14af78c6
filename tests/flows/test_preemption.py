"""Signals: what finished is stored, the run is marked, the process ends in time, and leaves no server behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL

from infra.table import Row
from tasks.campaign.campaign_file import load_campaign
from tasks.campaign.plan import make_plan
from tasks.store.tables import trajectories_table
from tests.flows.conftest import Simulate

CHECKOUT = Path(__file__).parents[2]
PROBLEMS = [{"id": str(n), "problem": f"{n} + {n}?", "answer": str(2 * n)} for n in range(10)]
SLOW_STORE = """
import sys, time
import infra.table
from flows.cli import main
create_file = infra.table.create_file
def slow(filesystem, path, data):
    commits.append(path)
    if len(commits) > PASS:
        time.sleep(100)
    create_file(filesystem, path, data)
commits = []
PASS = 2
infra.table.create_file = slow
sys.argv[0] = "pacore"
main()
"""

Write = Callable[..., Path]


def start(file: Path, *python: str, **environment: str) -> "subprocess.Popen[str]":
    """`pacore run` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, *(python or ("-m", "flows.cli")), "run", str(file)],
        cwd=CHECKOUT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def stored(file: Path) -> list[Row]:
    plan = make_plan(load_campaign(file))
    return trajectories_table(plan.campaign.store).read(plan.partition, ["id"]).to_pylist()


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[str] | None" = None) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def flow_runs(name: str) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        named = FlowRunFilter(name=FlowRunFilterName(any_=[name]))
        return client.read_flow_runs(flow_run_filter=named, limit=9, sort=FlowRunSort.START_TIME_ASC)


def campaign(write: Write, url: str, name: str, **keys: Any) -> Path:
    engine = {"urls": [url], "in_flight": 4}
    return write(PROBLEMS, name=name, engine=engine, **{"commit_seconds": 0.1, "methods": ["low", [3, 2]], **keys})


@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_is_told_to_end_is_marked_as_interrupted(campaign_file: Write, simulate: Simulate) -> None:
    with simulate(slots=4, first_token_seconds=0.1) as server:
        file = campaign(campaign_file, server.url, "told-to-end", commit_seconds=1000)
        process = start(file, PREFECT_API_URL=PREFECT_API_URL.value())
        wait_for(lambda: server.seen["finished"] >= 12, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1
        assert server.seen["finished"] - len(stored(file)) <= 4
    said = "interrupted by SIGTERM: what finished is stored; run the campaign again to go on"
    assert process.stderr
    assert process.stderr.read() == f"pacore: {said}\n"
    (run,) = flow_runs("told-to-end")
    assert run.state
    assert (run.state.type.value, run.state.name, run.state.message) == ("CRASHED", "Interrupted", said)


@pytest.mark.usefixtures("prefect_server")
def test_of_several_campaigns_none_is_begun_after_an_interruption(campaign_file: Write, simulate: Simulate) -> None:
    with simulate(slots=4, first_token_seconds=0.1) as server:
        each = [{"name": "several-first"}, {"name": "several-second", "sampler": {"model": "sim", "top_p": 0.5}}]
        file = campaign(campaign_file, server.url, "several", each=each)
        process = start(file, PREFECT_API_URL=PREFECT_API_URL.value())
        wait_for(lambda: server.seen["finished"] >= 12, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1
    assert flow_runs("several-first")
    assert not flow_runs("several-second")


@pytest.mark.usefixtures("prefect_server")
def test_a_store_that_is_slow_does_not_keep_a_run_beyond_its_grace(campaign_file: Write, simulate: Simulate) -> None:
    with simulate(slots=4, first_token_seconds=0.05) as server:
        file = campaign(campaign_file, server.url, "slow-store", grace_seconds=5)
        process = start(file, "-c", SLOW_STORE, PREFECT_API_URL=PREFECT_API_URL.value())
        wait_for(lambda: server.seen["finished"] >= 40, process)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1
        assert time.monotonic() - began < 5.5
    assert process.stderr
    assert process.stderr.read() == (
        "pacore: interrupted; not all that finished is stored; run the campaign again to go on\n"
    )
    (run,) = flow_runs("slow-store")
    assert run.state
    assert (run.state.name, "did not take all" in (run.state.message or "")) == ("Interrupted", True)


@pytest.mark.usefixtures("prefect_server")
def test_a_store_that_refuses_at_the_end_is_not_called_stored(campaign_file: Write, simulate: Simulate) -> None:
    refusing = SLOW_STORE.replace("time.sleep(100)", "raise PermissionError(13, 'Access Denied')")
    refusing = refusing.replace("PASS = 2", "PASS = 0")
    with simulate(slots=4, first_token_seconds=0.1) as server:
        file = campaign(campaign_file, server.url, "refusing-store", commit_seconds=1000)
        process = start(file, "-c", refusing, PREFECT_API_URL=PREFECT_API_URL.value())
        wait_for(lambda: server.seen["finished"] >= 12, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1
    assert process.stderr
    assert "what finished is stored" not in process.stderr.read()


def test_a_run_that_is_killed_takes_its_prefect_server_along(
    campaign_file: Write, simulate: Simulate, tmp_path: Path
) -> None:
    with simulate(first_token_seconds=100) as server:
        file = campaign(campaign_file, server.url, "killed")
        process = start(file, PREFECT_HOME=str(tmp_path / "prefect"))
        wait_for(lambda: server.seen["running"], process)
        threads = Path(f"/proc/{process.pid}/task").iterdir()
        (own_server,) = [child for thread in threads for child in (thread / "children").read_text().split()]
        command = Path(f"/proc/{own_server}/cmdline")
        assert b"flows.prefect_server" in command.read_bytes()
        process.kill()
        process.wait()
        wait_for(lambda: not command.exists() or not command.read_bytes())  # gone, or dead and unburied


@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_is_told_to_end_before_it_started_ends(campaign_file: Write, simulate: Simulate) -> None:
    with simulate() as server:
        file = campaign(campaign_file, server.url, "early")
        early = "import os, signal, flows.run as r, tasks.reasoning.workbench as w; real = w.Workbench.open\n"
        early += "async def open(self):\n os.kill(os.getpid(), signal.SIGTERM)\n await real(self)\n"
        early += "w.Workbench.open = open\nfrom flows.cli import main; main()"
        process = start(file, "-c", early, PREFECT_API_URL=PREFECT_API_URL.value())
        assert process.wait(60) == 1
        assert server.seen["received"] == 0
    assert process.stderr
    assert process.stderr.read() == "pacore: stopped; run the campaign again to go on\n"
