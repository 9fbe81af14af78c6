"""The table as files of the store, and where a report goes."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from infra.filesystem import FAULTS, open_filesystem, refusal
from tasks.campaign.plan import Plan
from tasks.report.report import Line
from tasks.report.table_text import as_markdown


def write_table(plan: Plan, lines: Sequence[Line]) -> str:
    """Write `reports/{name}/table.json` and `.md` and return the folder. They can be made again at any time."""
    filesystem, folder = open_filesystem(report_folder([plan]))
    try:
        filesystem.makedirs(folder, exist_ok=True)
        filesystem.pipe_file(f"{folder}/table.json", as_json(lines).encode())
        filesystem.pipe_file(f"{folder}/table.md", as_markdown(plan, lines).encode())
    except FAULTS as error:
        raise refusal("write", folder, error) from error
    return folder


def report_folder(plans: Sequence[Plan]) -> str:
    """Where the report of some campaigns goes: into the store of the first."""
    return f"{plans[0].campaign.store.rstrip('/')}/reports/{'+'.join(plan.campaign.name for plan in plans)}"


def as_json(lines: Sequence[Line]) -> str:
    """A list of objects, one a method."""
    return json.dumps([asdict(line) for line in lines], indent=1)
