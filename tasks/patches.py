"""Patches to SWE-bench's own harness and its verdicts back: what the grader `patch` leaves undecided.

The harness takes one patch of an instance in a file of predictions, so several trajectories of a problem go to
several files. Each row names its trajectory; the report of a file is taken in with the file.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pyarrow.compute as pc

from infra.filesystem import FAULTS, open_filesystem, read_error, refusal
from infra.table import Row
from tasks.campaign.benchmark import read_rows
from tasks.campaign.campaign_file import CampaignError
from tasks.campaign.plan import Plan
from tasks.graders import Outcome
from tasks.graders.patch import last_patch
from tasks.store.tables import trajectories_table, verdicts_table

OUTCOMES: dict[str, tuple[Outcome, str]] = {
    "resolved_ids": ("correct", "resolved, says the harness"),
    "unresolved_ids": ("wrong", "not resolved, says the harness"),
    "empty_patch_ids": ("wrong", "no patch, says the harness"),
    "error_ids": ("ungraded", "the harness could not apply or run it: see its logs"),
}
"""Lists of instances in a report (`MODEL.RUN.json`), and what they mean."""


def export_patches(plan: Plan, folder: str) -> list[str]:
    """Write the patches that wait for the harness to `FOLDER/predictions-000.jsonl`, …; return the files.

    Raises:
        StoreError: the store, or the folder, can not be read or written.
    """
    filesystem, place = open_filesystem(folder)
    files: dict[str, list[Row]] = defaultdict(list)
    for problem in plan.problems:
        for number, (id, generation, message) in enumerate(_waiting(plan, problem.fingerprint)):
            model = f"{plan.campaign.name}-{number:03d}"
            row = {"instance_id": problem.id, "model_name_or_path": model, "model_patch": last_patch(message)}
            files[f"predictions-{number:03d}.jsonl"].append({**row, "trajectory": id, "generation": generation})
    written = [f"{place.rstrip('/')}/{name}" for name in sorted(files)]
    try:
        filesystem.makedirs(place, exist_ok=True)
        for path in written:
            rows = files[path.rpartition("/")[2]]
            filesystem.pipe_file(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    except FAULTS as error:
        raise refusal("write", folder, error) from error
    return written


def import_verdicts(plan: Plan, predictions: str, report: str) -> int:
    """Store what the harness reports of a file of predictions; return how many of them are decided. Safe to repeat.

    Raises:
        CampaignError: a file that is not there or of another form, or a prediction of another campaign.
        StoreError: the store refuses.
    """
    said = _report(report)
    problems = {problem.id: problem for problem in plan.problems}
    rows: list[Row] = []
    for where, row in read_rows(predictions):
        problem, id = problems.get(row.get("instance_id", "")), row.get("trajectory")
        if problem is None or not isinstance(id, str):
            raise CampaignError(f"{where}: no patch of this campaign; give a file that pacore patches export wrote")
        if problem.id not in said:
            continue
        outcome, reason = said[problem.id]
        rows.append(
            {
                "id": id,
                "problem": problem.fingerprint,
                "grader": plan.campaign.grader_name,
                "truth": problem.truth,
                "undecided": outcome == "ungraded",
                "outcome": outcome,
                "answer": None,
                "reason": reason,
                "generation": row.get("generation", 0),
            }
        )
    if rows:
        verdicts_table(plan.campaign.store).commit(plan.partition, rows)
    return sum(not row["undecided"] for row in rows)


def _waiting(plan: Plan, problem: str) -> Iterator[tuple[str, int, str]]:
    """Id, generation and message of a problem's trajectories that were not decided, by id."""
    of_problem = pc.field("problem") == problem
    of_grader = of_problem & (pc.field("grader") == plan.campaign.grader_name)
    columns = ["id", "generation", "undecided"]
    verdicts = verdicts_table(plan.campaign.store).read(plan.partition, columns, of_grader).to_pylist()
    waiting = {(row["id"], row["generation"]) for row in verdicts if row["undecided"]}
    columns = ["id", "generation", "message"]
    for row in trajectories_table(plan.campaign.store).read(plan.partition, columns, of_problem).to_pylist():
        if (row["id"], row["generation"]) in waiting and last_patch(row["message"] or ""):
            yield row["id"], row["generation"], row["message"]


def _report(path: str) -> dict[str, tuple[Outcome, str]]:
    wanted = f"give the harness's report, a JSON object with {', '.join(OUTCOMES)}"
    try:
        filesystem, place = open_filesystem(path)
        given: Any = json.loads(filesystem.cat_file(place))
    except FAULTS as error:
        raise CampaignError(f"{path}: {read_error(error)}; {wanted}") from error
    if not isinstance(given, dict) or "resolved_ids" not in given:
        raise CampaignError(f"{path}: not a report; {wanted}")
    return {id: meaning for name, meaning in OUTCOMES.items() for id in given.get(name, [])}
