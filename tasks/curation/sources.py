"""Where candidates come from: files of one's own, the released form, or a family that is generated."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from infra.engine import Chat
from infra.filesystem import open_filesystem, read_error
from tasks.benchmarks import BUILT_IN
from tasks.benchmarks.card import Fields
from tasks.campaign.benchmark import read_rows
from tasks.campaign.campaign_file import CampaignError
from tasks.curation.candidate import ROWS_A_GROUP, Candidate
from tasks.curation.curation_file import Source

RELEASED = ("conversation", "ground_truth")
"""Columns of the released form that a row needs; `responses`, the cached messages, may stand beside them."""


def collect(sources: Iterable[Source]) -> Iterator[Candidate]:
    """The candidates of all sources, in order. An id is the source's name and the row's id, or its number from 1.

    Raises:
        CampaignError: no such file, or a row that is no problem, with its line.
    """
    for source in sources:
        if source.path in BUILT_IN:
            for problem in BUILT_IN[source.path]("train", source.limit or 0):
                yield Candidate(problem.id, source.name, problem.chat, problem.ground_truth, [])
        else:
            for number, (where, row) in enumerate(_rows(source.path), 1):
                if source.limit and number > source.limit:
                    break
                yield _candidate(source, number, where, row)


def _rows(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """As `read_rows`, but of Parquet only few rows at a time are in memory."""
    if not path.endswith(".parquet") or "*" in path:
        yield from read_rows(path)
        return
    filesystem, place = open_filesystem(path)
    try:
        with filesystem.open(place, "rb") as file:
            rows = (row for batch in pq.ParquetFile(file).iter_batches(ROWS_A_GROUP) for row in batch.to_pylist())
            for number, row in enumerate(rows, 1):
                yield f"{path}, row {number}", row
    except (OSError, pa.ArrowInvalid) as error:
        raise CampaignError(f"{path}: {read_error(error)}; give a JSONL, Parquet or CSV file") from error


def _candidate(source: Source, number: int, where: str, row: dict[str, Any]) -> Candidate:
    fields = source.fields or Fields()
    if source.fields is None and set(RELEASED) <= row.keys():
        fields = Fields(problem=RELEASED[0], answer=RELEASED[1])
    for field in ("problem", "answer"):
        if (column := getattr(fields, field)) not in row:
            raise CampaignError(
                f"{where}: no {column!r}; name its column in sources: fields.{field} "
                f"(this row has {', '.join(map(str, row))[:200]})"
            )
    responses = row.get("responses") or []
    if not (isinstance(responses, list) and all(isinstance(response, str) for response in responses)):
        raise CampaignError(f"{where}: 'responses' is no list of texts")
    chat = _chat(where, fields.problem, row[fields.problem])
    id, truth = row.get(fields.id), row[fields.answer]
    return Candidate(
        id=f"{source.name}/{number if id is None else id}",
        source=source.name,
        chat=chat,
        ground_truth=truth if isinstance(truth, str) else "" if truth is None else json.dumps(truth),
        responses=responses,
    )


def _chat(where: str, column: str, value: Any) -> Chat:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    try:
        chat = [{"role": turn["role"], "content": turn["content"]} for turn in value]
        if chat[-1]["role"] == "user" and all(isinstance(text, str) for turn in chat for text in turn.values()):
            return chat
    except (TypeError, KeyError, IndexError):
        pass
    raise CampaignError(f"{where}: {column!r} is neither text nor a chat that ends in a user turn")
