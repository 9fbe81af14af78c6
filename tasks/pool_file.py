"""First-round trajectories from and to a file: JSONL or Parquet, one trajectory a row.

Columns: `problem` (its id in the benchmark) and `content` are needed; `reasoning`, `draw`, `finish_reason`,
`prompt_tokens`, `completion_tokens` and `reasoning_tokens` are taken where they stand. Without `draw` the rows of a
problem are numbered as they come.
"""

import io
import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.engine import Completion
from infra.filesystem import FAULTS, open_filesystem, refusal
from infra.table import Row
from tasks.campaign.benchmark import read_rows
from tasks.campaign.campaign_file import CampaignError
from tasks.campaign.plan import Plan
from tasks.reasoning.draw import pool_draw
from tasks.reasoning.generate import trajectory_row
from tasks.report.books import Books
from tasks.store.reruns import Reruns
from tasks.store.tables import trajectories_table

ROWS_A_PART = 5_000
COLUMNS = [
    "problem",
    "draw",
    "reasoning",
    "content",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
]


class PoolRow(BaseModel):
    """One row of a pool file. Columns that it does not name are passed over."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    problem: str
    content: str | None
    draw: int | None = Field(None, ge=0)
    reasoning: str | None = None
    finish_reason: str = "stop"
    prompt_tokens: int = Field(0, ge=0)
    completion_tokens: int = Field(0, ge=0)
    reasoning_tokens: int = Field(0, ge=0)


def import_pool(plan: Plan, path: str) -> int:
    """Store the rows of a file as the campaign's pool, under its sampler; return how many. Safe to repeat.

    Raises:
        CampaignError: a row that is no trajectory of this benchmark, with its line; then nothing is stored.
        StoreError: the store refuses.
    """
    rows = _trajectories(plan, path)
    table = trajectories_table(plan.campaign.store)
    for start in range(0, len(rows), ROWS_A_PART):
        table.commit(plan.partition, rows[start : start + ROWS_A_PART])
    return len(rows)


def export_pool(plan: Plan, path: str) -> int:
    """Write the campaign's finished pool to a JSONL or Parquet file, by problem and draw; return how many rows."""
    table = trajectories_table(plan.campaign.store)
    books = Books(plan)
    read = table.read(plan.partition, ["id", "generation", *COLUMNS[1:]], pc.field("id").isin(list(books.tokens)))
    stored = {row["id"]: row for row in read.to_pylist() if row["generation"] == books.generation(row["id"])}
    rows = []
    for problem in plan.problems:
        for id in books.pool(problem):
            rows.append({**{name: stored[id][name] for name in COLUMNS[1:]}, "problem": problem.id})
    filesystem, place = open_filesystem(path)
    try:
        filesystem.pipe_file(place, _encoded(path, rows))
    except FAULTS as error:
        raise refusal("write", path, error) from error
    return len(rows)


def _trajectories(plan: Plan, path: str) -> list[Row]:
    problems = {problem.id: problem for problem in plan.problems}
    seen: dict[str, set[int]] = defaultdict(set)
    started = datetime.now(UTC)
    reruns = Reruns(plan.campaign.store, plan.partition)
    reruns.refresh()
    rows = []
    for where, given in read_rows(path):
        row = _pool_row(where, given)
        if row.problem not in problems:
            raise CampaignError(
                f"{where}: no problem {row.problem!r} in {plan.campaign.benchmark.path}; give its id there"
            )
        draw = row.draw if row.draw is not None else len(seen[row.problem])
        if draw in seen[row.problem]:
            raise CampaignError(
                f"{where}: draw {draw} of problem {row.problem!r} stands twice; number its draws from 0"
            )
        seen[row.problem].add(draw)
        completion = Completion(
            reasoning=row.reasoning,
            content=row.content,
            finish_reason=row.finish_reason,
            prompt_tokens=row.prompt_tokens,
            cached_tokens=0,
            completion_tokens=row.completion_tokens,
            reasoning_tokens=row.reasoning_tokens,
            engine="import",
            started=started,
            seconds=0.0,
            attempts=0,
        )
        asked = pool_draw(plan, problems[row.problem], draw)
        rows.append(trajectory_row(plan.campaign.sampler.model, asked, completion, None, reruns.generation(asked.id)))
    return rows


def _pool_row(where: str, given: dict[str, Any]) -> PoolRow:
    try:
        return PoolRow.model_validate(
            {name: value for name, value in given.items() if value is not None or name == "content"}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise CampaignError(
            f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}; see `pacore pool import --help`"
        ) from error


def _encoded(path: str, rows: list[dict[str, Any]]) -> bytes:
    if not path.endswith(".parquet"):
        return "".join(
            json.dumps({name: row[name] for name in COLUMNS}, ensure_ascii=False) + "\n" for row in rows
        ).encode()
    buffer = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist(rows).select(COLUMNS) if rows else pa.table({name: [] for name in COLUMNS}),
        buffer,
    )
    return buffer.getvalue()
