"""What a campaign leaves in the store beside its tables: what was asked, and the last report."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from fsspec import AbstractFileSystem

from infra.filesystem import FAULTS, create_file, open_filesystem, refusal
from tasks.benchmark import benchmark_fingerprint
from tasks.fingerprint import fingerprint
from tasks.plan import Plan
from tasks.report import Line
from tasks.table_text import as_markdown


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


def write_report(plan: Plan, lines: Sequence[Line]) -> str:
    """Write `reports/{name}/report.json` and `.md` and return the folder. They can be made again at any time."""
    filesystem, folder = open_filesystem(report_folder([plan]))
    try:
        filesystem.makedirs(folder, exist_ok=True)
        filesystem.pipe_file(f"{folder}/report.json", as_json(lines).encode())
        filesystem.pipe_file(f"{folder}/report.md", as_markdown(plan, lines).encode())
    except FAULTS as error:
        raise refusal("write", folder, error) from error
    return folder


def report_folder(plans: Sequence[Plan]) -> str:
    """Where the report of some campaigns goes: into the store of the first."""
    return f"{plans[0].campaign.store.rstrip('/')}/reports/{'+'.join(plan.campaign.name for plan in plans)}"


def as_json(lines: Sequence[Line]) -> str:
    """A list of objects, one a method."""
    return json.dumps([asdict(line) for line in lines], indent=1)
