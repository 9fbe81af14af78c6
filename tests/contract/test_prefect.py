"""The deployments on a real Prefect server with a real worker: retries, crashes, interruptions, a server away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pyarrow.parquet as pq
import pytest
import yaml

from flows import EPHEMERAL_SERVER
from infra.table import Row
from tasks.campaign.campaign_file import load_campaign
from tests.contract.conftest import free_port, show_on_failure, stop_group, wait_until_ready
from tests.simulator import Fault, Simulator

CHECKOUT = Path(__file__).parents[2]
PROBLEMS = [{"id": str(n), "problem": f"{n} + {n}?", "answer": str(2 * n)} for n in range(10)]
TRAJECTORIES_IN_ALL = 10 * (4 + 1)
WITHOUT_HEARTBEAT_SECONDS = 40
"""Two minutes in the file that ships; a heartbeat comes every 30 seconds at most."""

PREFECT = [sys.executable, "-m", "prefect"]

AWAY_SECONDS = float(os.environ.get("PACORE_TEST_AWAY_SECONDS", "20"))

Write = Callable[..., Path]


@dataclass
class Prefect:
    """A server, a worker, and this project's deployments and automations on it."""

    folder: Path
    port: int = field(default_factory=free_port)
    server: subprocess.Popen[bytes] = field(init=False)
    worker: subprocess.Popen[bytes] = field(init=False)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **{name: value for name, value in EPHEMERAL_SERVER.items() if "SERVICES" in name},
            "PREFECT_HOME": str(self.folder),
            "PREFECT_API_URL": self.api,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }

    def start_server(self) -> None:
        self.server = self._start("server", "start", "--port", str(self.port))
        wait_until_ready(self.server, f"{self.api}/health", self.folder / "server", 120)

    def start_worker(self) -> None:
        self.worker = self._start("worker", "start", "--pool", "pacore", "--name", "contract")

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / words[0]).open("ab") as out:
            return subprocess.Popen(
                [*PREFECT, *words], env=self.environment, cwd=CHECKOUT, stdout=out, stderr=out, start_new_session=True
            )

    def deploy(self) -> None:
        automations = yaml.safe_load((CHECKOUT / "infra/automations.yaml").read_text())
        automations["automations"][0]["trigger"]["within"] = WITHOUT_HEARTBEAT_SECONDS
        (self.folder / "automations.yaml").write_text(yaml.safe_dump(automations))
        for words in (
            ["work-pool", "create", "pacore", "--type", "process"],
            ["--no-prompt", "deploy", "--all"],
            ["automation", "create", "--from-file", str(self.folder / "automations.yaml")],
        ):
            done = subprocess.run(
                [*PREFECT, *words], env=self.environment, cwd=CHECKOUT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

    def run(self, deployment: str, parameters: dict[str, Any], **environment: str) -> str:
        """Schedule a run of a deployment; return its id."""
        found = self.get(f"deployments/name/{deployment}/{deployment}")
        asked = {"parameters": parameters, "job_variables": {"env": environment}}
        run = self.post(f"deployments/{found['id']}/create_flow_run", asked)
        return str(run["id"])

    def state(self, run: str) -> str:
        return str((self.get(f"flow_runs/{run}")["state"] or {}).get("name"))

    def states(self, run: str) -> list[str]:
        states = self.get(f"flow_run_states/?flow_run_id={run}")
        return [state["name"] for state in sorted(states, key=lambda state: str(state["timestamp"]))]

    def get(self, path: str) -> Any:
        return httpx2.get(f"{self.api}/{path}", timeout=30).raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        answer = httpx2.post(f"{self.api}/{path}", json=body, timeout=30)
        if answer.status_code == 503:  # SQLite is locked
            time.sleep(1)
            return self.post(path, body)
        return answer.raise_for_status().json()


@pytest.fixture(scope="module")
def prefect(request: pytest.FixtureRequest) -> Iterator[Prefect]:
    with tempfile.TemporaryDirectory(prefix="pacore-prefect-", ignore_cleanup_errors=True) as folder:
        it = Prefect(Path(folder))
        for name in ("server", "worker"):
            show_on_failure(request.config, f"Prefect's {name}", it.folder / name)
        it.start_server()
        try:
            it.deploy()
            it.start_worker()
            try:
                yield it
            finally:
                stop_group(it.worker)
        finally:
            stop_group(it.server)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(slots=4, first_token_seconds=0.1) as running:
        yield running


def parameters(write: Write, engine: Simulator, **keys: Any) -> dict[str, Any]:
    """A campaign as a deployment takes it."""
    given = {"engine": {"urls": [engine.url], "in_flight": 4, "tries": 1}, "commit_seconds": 0.1, **keys}
    return {"campaign": load_campaign(write(PROBLEMS, **given)).model_dump(mode="json")}


def stored(given: dict[str, Any]) -> list[Row]:
    """Finished rows as they stand, duplicates included."""
    campaign = given["campaign"]
    folder = Path(campaign["store"], "trajectories")
    rows = [row for part in folder.glob("*/*.parquet") for row in pq.ParquetFile(part).read().to_pylist()]
    return [row for row in rows if row["error"] is None]


async def until(condition: Callable[[], object], seconds: float = 100) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def process_of(run: str) -> int:
    """The process of a flow run."""
    wanted = f"PREFECT__FLOW_RUN_ID={run}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
    raise AssertionError(f"flow run {run} has no process")


async def test_retry_of_a_failed_campaign_does_what_is_missing(
    prefect: Prefect, simulator: Simulator, campaign_file: Write
) -> None:
    simulator.faults.append(Fault("400", nth=tuple(range(10, 20))))
    given = parameters(campaign_file, simulator)
    run = prefect.run("campaign", given)
    await until(lambda: prefect.state(run) == "Failed")
    message = prefect.get(f"flow_runs/{run}")["state"]["message"]
    assert "incomplete (pool round 1: 10 of 40" in message
    kept, received = len(stored(given)), simulator.seen["received"]
    retry(prefect, run)
    await until(lambda: prefect.state(run) == "Completed")
    assert len(stored(given)) == TRAJECTORIES_IN_ALL
    assert simulator.seen["received"] - received == TRAJECTORIES_IN_ALL - kept


async def test_retry_of_a_failed_shard_does_what_is_missing(
    prefect: Prefect, simulator: Simulator, campaign_file: Write
) -> None:
    simulator.faults.append(Fault("400", nth=(3, 4)))
    given = {**parameters(campaign_file, simulator), "method": "low", "shard": 0}
    run = prefect.run("reason", given)
    await until(lambda: prefect.state(run) == "Failed")
    message = prefect.get(f"flow_runs/{run}")["state"]["message"]
    assert "low, shard 0: 2 of 10 runs are incomplete" in message or "1 of 10 runs" in message
    kept, received = len(stored(given)), simulator.seen["received"]
    retry(prefect, run)
    await until(lambda: prefect.state(run) == "Completed")
    assert simulator.seen["received"] - received == len(stored(given)) - kept


def retry(prefect: Prefect, run: str) -> None:
    """What Retry does in the UI."""
    state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
    prefect.post(f"flow_runs/{run}/set_state", {"state": state, "force": True})


@pytest.mark.parametrize(("how", "state"), [(signal.SIGKILL, "Crashed"), (signal.SIGTERM, "Interrupted")])
async def test_a_run_whose_process_dies_starts_again_and_completes(
    prefect: Prefect, simulator: Simulator, campaign_file: Write, how: signal.Signals, state: str
) -> None:
    given = parameters(campaign_file, simulator)
    run = prefect.run("campaign", given)
    await until(lambda: len(stored(given)) >= 12)
    os.kill(process_of(run), how)
    await until(lambda: prefect.state(run) == "Completed")
    states = prefect.states(run)
    assert {state, "AwaitingRetry"} <= set(states)
    assert states.count("Running") >= 2
    rows = stored(given)
    assert len(rows) == len({row["id"] for row in rows}) == TRAJECTORIES_IN_ALL


async def test_a_run_that_is_cancelled_is_not_started_again(
    prefect: Prefect, simulator: Simulator, campaign_file: Write
) -> None:
    given = parameters(campaign_file, simulator)
    run = prefect.run("campaign", given)
    await until(lambda: len(stored(given)) >= 12)
    cancel = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    prefect.post(f"flow_runs/{run}/set_state", cancel)
    await until(lambda: prefect.state(run) == "Cancelled")
    await asyncio.sleep(5)
    assert prefect.state(run) == "Cancelled"
    assert simulator.seen["finished"] - len(stored(given)) <= 4


async def test_the_engines_key_comes_from_a_block(prefect: Prefect, simulator: Simulator, campaign_file: Write) -> None:
    simulator.api_key = "planted-block-key"
    save = "from prefect.blocks.system import Secret; Secret(value='planted-block-key').save('engine-key')"
    subprocess.run([sys.executable, "-c", save], env=prefect.environment, check=True)  # noqa: ASYNC221
    given = parameters(campaign_file, simulator)
    run = prefect.run("campaign", given, PACORE_API_KEY="{{ prefect.blocks.secret.engine-key }}")
    await until(lambda: prefect.state(run) in ("Completed", "Failed"))
    assert prefect.state(run) == "Completed"
    assert "planted-block-key" not in str(prefect.get(f"flow_runs/{run}"))
    assert [file for file in files_below(prefect.folder) if b"planted-block-key" in file.read_bytes()] == []


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_run_whose_machine_is_gone_is_noticed_by_its_silence_and_starts_again_elsewhere(
    prefect: Prefect, simulator: Simulator, campaign_file: Write
) -> None:
    given = parameters(campaign_file, simulator)
    run = prefect.run("campaign", given)
    await until(lambda: len(stored(given)) >= 12)
    process = process_of(run)
    prefect.worker.kill()  # first: it would report the death of its child
    os.kill(process, signal.SIGKILL)
    prefect.worker.wait()
    prefect.start_worker()
    assert prefect.state(run) == "Running"
    await until(lambda: prefect.state(run) == "Completed", 150)
    states = prefect.states(run)
    assert {"Crashed", "AwaitingRetry"} <= set(states)
    assert len(stored(given)) == TRAJECTORIES_IN_ALL


async def test_a_campaign_goes_on_while_prefects_api_is_away(
    prefect: Prefect, simulator: Simulator, campaign_file: Write
) -> None:
    given = parameters(campaign_file, simulator, methods=["low", [3, 2]], shard_size=3)
    run = prefect.run("campaign", given)
    await until(lambda: len(stored(given)) >= 12)
    os.killpg(prefect.server.pid, signal.SIGKILL)
    prefect.server.wait()
    before = len(stored(given))
    await asyncio.sleep(AWAY_SECONDS)
    assert len(stored(given)) > before
    await asyncio.to_thread(prefect.start_server)
    await until(lambda: prefect.state(run) == "Completed", 150 + 3 * AWAY_SECONDS)
    assert prefect.states(run).count("Running") == 1
    assert len(stored(given)) == 10 * (4 + 1 + 2 + 1)
