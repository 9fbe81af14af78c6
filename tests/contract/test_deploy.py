"""`pacore deploy` on a real Prefect server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.campaign.campaign_file import Campaign
from tests.contract.conftest import show_on_failure, stop_group
from tests.contract.test_prefect import (
    CHECKOUT,
    PREFECT,
    TRAJECTORIES_IN_ALL,
    Prefect,
    Write,
    parameters,
    stored,
    until,
)
from tests.simulator import Simulator

TEMPLATE = CHECKOUT / "infra/kubernetes/base-job-template.json"


@pytest.fixture
def bare(request: pytest.FixtureRequest) -> Iterator[Prefect]:
    """A server that knows nothing yet."""
    with tempfile.TemporaryDirectory(prefix="pacore-deploy-", ignore_cleanup_errors=True) as folder:
        it = Prefect(Path(folder))
        show_on_failure(request.config, "Prefect's server", it.folder / "server")
        it.start_server()
        try:
            yield it
        finally:
            stop_group(it.server)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(slots=4, first_token_seconds=0.1) as running:
        yield running


def deploy(server: Prefect, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.cli", "deploy", *map(str, words)]
    return subprocess.run(
        command, env=server.environment, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120
    )


def everything(server: Prefect) -> dict[str, list[dict[str, Any]]]:
    kinds = ("deployments", "automations", "work_pools")
    return {kind: server.post(f"{kind}/filter", {}) for kind in kinds}


def test_deploying_twice_leaves_one_of_each_and_mends_what_was_doubled(bare: Prefect) -> None:
    for attempt in range(2):
        done = deploy(bare)
        assert done.returncode == 0, done.stderr
        if attempt == 0:
            first = everything(bare)
            twin = {**first["automations"][0], "enabled": False}
            bare.post("automations/", {key: twin[key] for key in ("name", "trigger", "actions", "enabled")})
    found = everything(bare)
    assert sorted(one["name"] for one in found["deployments"]) == ["campaign", "reason"]
    assert sorted(one["name"] for one in found["automations"]) == ["pacore, no heartbeat", "pacore, start again"]
    assert all(one["enabled"] for one in found["automations"])
    assert [(one["name"], one["type"]) for one in found["work_pools"]] == [("pacore", "process")]
    for kind, before in first.items():
        assert {one["id"] for one in found[kind]} & {one["id"] for one in before}, kind

    campaign = next(one for one in found["deployments"] if one["name"] == "campaign")
    (nightly,) = campaign["schedules"]
    assert (nightly["slug"], nightly["active"]) == ("nightly", False)
    assert nightly["schedule"]["cron"] == "0 22 * * *"
    assert nightly["schedule"]["timezone"] == "Europe/Berlin"
    assert campaign["global_concurrency_limit"]["limit"] == 1
    assert campaign["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert campaign["tags"] == ["pacore", "campaign"]
    run = bare.post(f"deployments/{campaign['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    assert run["parameters"]["campaign"]["name"] == "countdown"

    refused = deploy(bare, "--kubernetes", TEMPLATE)
    assert refused.returncode == 2
    assert "the work pool pacore is of type process, not kubernetes" in refused.stderr
    assert refused.stderr.count("\n") == 1


def in_a_pod(server: Prefect, run: str) -> subprocess.Popen[bytes]:
    """What a job of the Kubernetes worker runs, with the variable that the worker sets."""
    environment = {**server.environment, "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule"}
    with (server.folder / "pod").open("ab") as out:
        command = [*PREFECT, "flow-run", "execute", run]
        return subprocess.Popen(command, env=environment, cwd=CHECKOUT, stdout=out, stderr=out, start_new_session=True)


async def test_a_pod_that_is_evicted_stores_what_finished_and_its_run_goes_on_in_another(
    bare: Prefect, simulator: Simulator, campaign_file: Write, request: pytest.FixtureRequest
) -> None:
    show_on_failure(request.config, "the pods", bare.folder / "pod")
    assert deploy(bare).returncode == 0
    given = parameters(campaign_file, simulator)
    run = bare.run("campaign", given)
    evicted = in_a_pod(bare, run)
    await until(lambda: len(stored(given)) >= 12)
    evicted.terminate()
    assert await asyncio.to_thread(evicted.wait, 30) == 0
    await asyncio.sleep(3)  # an automation would have acted
    assert bare.states(run) == ["Scheduled", "Running", "AwaitingRetry"]
    assert simulator.seen["finished"] - len(stored(given)) <= 4
    assert await asyncio.to_thread(in_a_pod(bare, run).wait, 60) == 0
    assert bare.state(run) == "Completed"
    rows = stored(given)
    assert len(rows) == len({row["id"] for row in rows}) == TRAJECTORIES_IN_ALL


def test_the_template_makes_a_pool_on_kubernetes(bare: Prefect) -> None:
    done = deploy(bare, "--kubernetes", TEMPLATE)
    assert done.returncode == 0, done.stderr
    (pool,) = everything(bare)["work_pools"]
    assert pool["type"] == "kubernetes"
    assert "backoffLimit" in str(pool["base_job_template"])


def test_without_a_server_or_a_template_that_can_be_read_it_is_one_line(tmp_path: Path) -> None:
    nowhere = Prefect(tmp_path)
    for words, said in (((), "does not answer"), (("--kubernetes", tmp_path / "no.json"), "can not be read")):
        done = deploy(nowhere, *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert said in done.stderr


def test_the_campaign_that_the_deployment_starts_with_is_one_on_the_shipped_model() -> None:
    deployments = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    (given,) = [one["parameters"]["campaign"] for one in deployments if one["name"] == "campaign"]
    assert Campaign.model_validate(given).engine.kind == "local"
