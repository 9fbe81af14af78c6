"""Register the deployments of prefect.yaml, their work pool and the automations. Safe to repeat."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker

from flows import PrefectError
from flows.prefect_server import prefect_server

CHECKOUT = Path(__file__).parents[1]
POOL = "pacore"


async def deploy(kubernetes: str | None) -> None:
    """Make the server at PREFECT_API_URL know what this checkout has. Of each there is one, however often.

    Args:
        kubernetes: the base job template (a JSON file) of a pool on Kubernetes; None: a pool of processes.

    Raises:
        PrefectError: no server, a pool of another type, no checkout, an unreadable template, or Prefect refuses.
    """
    if not (CHECKOUT / "prefect.yaml").exists():
        raise PrefectError(f"{CHECKOUT} has no prefect.yaml: deploy from a checkout that is installed with --editable")
    if not PREFECT_API_URL.value():
        raise PrefectError("PREFECT_API_URL is not set; set it to the server that is to know the deployments")
    template = None if kubernetes is None else _template(Path(kubernetes))
    automations = yaml.safe_load((CHECKOUT / "infra/automations.yaml").read_text())["automations"]
    async with prefect_server(), get_client() as client:
        try:
            await _make_pool(client, template)
            _register_deployments()
            for given in automations:
                await _make_automation(client, AutomationCore.model_validate(given))
        except PrefectHTTPStatusError as error:
            raise PrefectError(f"Prefect refuses: {' '.join(str(error).split())}") from error


def _template(file: Path) -> dict[str, Any]:
    try:
        template: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise PrefectError(f"{file}: can not be read: {error}; give a base job template in JSON") from error
    return template


async def _make_pool(client: PrefectClient, template: dict[str, Any] | None) -> None:
    """Create the pool; one that is there keeps what it has, but for a template that is given."""
    kind = "process" if template is None else "kubernetes"
    try:
        pool = await client.read_work_pool(POOL)
    except ObjectNotFound:
        made = WorkPoolCreate(
            name=POOL, type=kind, base_job_template=template or ProcessWorker.get_default_base_job_template()
        )
        await client.create_work_pool(made)
        return
    if pool.type != kind:
        raise PrefectError(
            f"the work pool {POOL} is of type {pool.type}, not {kind}: `prefect work-pool delete {POOL}`"
        )
    if template is not None:
        await client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))


def _register_deployments() -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise PrefectError(f"prefect deploy --all: {' '.join((done.stdout + done.stderr).split())[-500:]}")


async def _make_automation(client: PrefectClient, automation: AutomationCore) -> None:
    """One of that name: updated where there is one, the only one where there were several."""
    found = await client.read_automations_by_name(automation.name)
    if not found:
        await client.create_automation(automation)
        return
    await client.update_automation(found[0].id, automation)
    for duplicate in found[1:]:
        await client.delete_automation(duplicate.id)
