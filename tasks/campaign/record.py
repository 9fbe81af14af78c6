"""What a campaign leaves in the store beside its tables: what was asked, and the window that the engine stated."""

import json

from fsspec import AbstractFileSystem

from infra.filesystem import FAULTS, create_file, open_filesystem, refusal
from tasks.campaign.benchmark import benchmark_fingerprint
from tasks.campaign.plan import Plan
from tasks.fingerprint import fingerprint


def write_record(plan: Plan) -> None:
    """Keep the campaign as it was run: `campaigns/{name}/{fingerprint}.json`. Raises `StoreError`."""
    filesystem, root = open_filesystem(plan.campaign.store)
    record = plan.campaign.model_dump(mode="json")
    identity = {"sampler_fingerprint": plan.sampler, "benchmark_fingerprint": benchmark_fingerprint(plan.problems)}
    path = f"{root.rstrip('/')}/campaigns/{plan.campaign.name}/{fingerprint({**record, **identity})}.json"
    try:
        create_file(filesystem, path, json.dumps({**record, **identity}, indent=1).encode())
    except FileExistsError:
        pass
    except FAULTS as error:
        raise refusal("write", path, error) from error


def write_window(plan: Plan, window: int) -> None:
    """Keep the model's window as the engine stated it, beside the sampler that it holds for. Raises `StoreError`."""
    filesystem, path = _window_file(plan)
    try:
        filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
        filesystem.pipe_file(path, json.dumps({"window": window}).encode())
    except FAULTS as error:
        raise refusal("write", path, error) from error


def read_window(plan: Plan) -> int | None:
    """What `write_window` kept, in tokens; None where no run has asked the engine. Raises `StoreError`."""
    filesystem, path = _window_file(plan)
    try:
        return int(json.loads(filesystem.cat_file(path))["window"])
    except FileNotFoundError:
        return None
    except FAULTS as error:
        raise refusal("read", path, error) from error


def _window_file(plan: Plan) -> tuple[AbstractFileSystem, str]:
    filesystem, root = open_filesystem(plan.campaign.store)
    return filesystem, f"{root.rstrip('/')}/campaigns/{plan.campaign.name}/window-{plan.sampler}.json"
