"""A benchmark: a set of problems, generated, or read from JSONL, Parquet or CSV here or on the Hugging Face hub."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq

from infra.engine import Chat
from infra.filesystem import StoreError, open_filesystem, read_error
from tasks.benchmarks import BUILT_IN
from tasks.benchmarks.card import Card, Fields
from tasks.benchmarks.shapes import SHAPES
from tasks.campaign.campaign_file import BenchmarkSource, CampaignError
from tasks.campaign.quote import quoted
from tasks.fingerprint import fingerprint
from tasks.problem import Problem

DEFAULT_LIMIT = 200
"""Problems of a built-in benchmark, which could generate as many as one likes."""


def load_benchmark(source: BenchmarkSource) -> list[Problem]:
    """The problems in file order; those of a built-in benchmark from its split.

    Raises:
        CampaignError: no such file, a hub that can not be reached, a row that is no problem, with its line and what to
            do, or a published benchmark of another size than it has.
    """
    if source.path in BUILT_IN:
        try:
            generated = BUILT_IN[source.path](source.split, source.limit or DEFAULT_LIMIT)
        except ValueError as error:
            raise CampaignError(f"benchmark {source.path}: {error}") from error
        return [replace(problem, chat=_instructed(problem.chat, source.instruction or "")) for problem in generated]
    problems: dict[str, Problem] = {}
    for where, row in _rows(source):
        problem = _problem(source, where, row)
        if problem is None:
            continue
        if problem.id in problems:
            raise CampaignError(f"{where}: id {quoted(problem.id)} stands twice; give every problem an id of its own")
        problems[problem.id] = problem
        if len(problems) == source.limit:
            break
    if not problems:
        raise CampaignError(f"{source.path}: no problems; a benchmark has at least one row")
    if (card := source.card) and source.limit is None and len(problems) != card.size:
        raise CampaignError(
            f"{source.path}: {len(problems)} problems, but {card.name} has {card.size} ({card.version}); "
            "give a whole copy"
        )
    return list(problems.values())


def _rows(source: BenchmarkSource) -> Iterator[tuple[str, dict[str, Any]]]:
    card = source.card
    if card is None:
        yield from read_rows(source.path)
    elif source.path == card.name:
        for place in card.source:
            yield from _published(card, place)
    else:
        for place in _copies(card, source.path):
            yield from read_rows(place)


def _published(card: Card, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        yield from read_rows(place)
    except (CampaignError, StoreError) as error:
        get = f"hf download {card.hub_name} --repo-type dataset --local-dir FOLDER" if card.hub_name else place
        raise CampaignError(
            f"{card.name}: {place} can not be read here ({_cause(error)}); get it elsewhere ({get}) "
            f"and give benchmark: {{name: {card.name}, path: FOLDER or file}}"
        ) from error


def _cause(error: BaseException) -> str:
    while error.__cause__:
        error = error.__cause__
    text = read_error(error)
    return text if len(text) <= 160 else f"{text[:160]}…"


def _copies(card: Card, path: str) -> list[str]:
    """A file or pattern as it is; in a folder, the files that the published repository has."""
    filesystem, place = open_filesystem(path)
    if not filesystem.isdir(place):
        return [path]
    return [f"{path.rstrip('/')}/{card.within(source)}" for source in card.source]


def benchmark_fingerprint(problems: list[Problem]) -> str:
    """Ids, chats and ground truths, in order."""
    return fingerprint([[problem.id, problem.chat, problem.ground_truth] for problem in problems])


def _problem(source: BenchmarkSource, where: str, row: dict[str, Any]) -> Problem | None:
    card = source.card
    instruction = source.instruction if source.instruction is not None else card.instruction if card else ""
    if card and card.shape and not source.fields:
        try:
            shaped = SHAPES[card.shape](row, source.seed)
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise CampaignError(
                f"{where}: not a row of {card.name} ({type(error).__name__}: {str(error)[:100]}); "
                f"give a copy of {card.source[0]}, or name its columns in benchmark.fields"
            ) from error
        if shaped is None:
            return None
        return Problem(shaped.id, _instructed(shaped.chat, instruction), shaped.answer, shaped.group)
    fields = source.fields or (card.fields if card else Fields())
    for field, column in fields.model_dump().items():
        if row.get(column) in (None, "", []):
            raise CampaignError(
                f"{where}: no {column!r}; every row needs one; or name its column in benchmark.fields.{field} "
                f"(this row has {', '.join(map(str, row))[:200]})"
            )
    question = row[fields.problem]
    chat = [{"role": "user", "content": question}] if isinstance(question, str) else question
    if not _is_chat(chat):
        raise CampaignError(f"{where}: {fields.problem!r} is neither text nor a chat that ends in a user or tool turn")
    return Problem(str(row[fields.id]), _instructed(chat, instruction), str(row[fields.answer]))


def _instructed(chat: Chat, instruction: str) -> Chat:
    return [*chat[:-1], {**chat[-1], "content": f"{chat[-1]['content']}\n\n{instruction}"}] if instruction else chat


def _is_chat(value: Any) -> bool:
    turns = isinstance(value, list) and all(
        isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
        for turn in value
    )
    return turns and value[-1]["role"] in ("user", "tool")


def read_rows(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a JSONL, Parquet or CSV file, or of the files of a pattern, each with where it stands.

    Raises:
        CampaignError: no such file, or another format.
        StoreError: nothing here opens such a URI.
    """
    try:
        filesystem, place = open_filesystem(path)
        places = sorted(filesystem.glob(place)) if "*" in place else [place]
        if not places:
            raise FileNotFoundError(path)
        for one in places:
            yield from _rows_of(filesystem, one, path if "*" not in place else one)
    except CampaignError:
        raise
    except (OSError, pa.ArrowInvalid, ValueError, csv.Error, httpx2.HTTPError) as error:
        raise CampaignError(f"{path}: {read_error(error)}; give a JSONL, Parquet or CSV file") from error


def _rows_of(filesystem: Any, place: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with filesystem.open(place, "rb") as file:
        if name.endswith(".parquet"):
            for number, row in enumerate(pq.read_table(file).to_pylist(), 1):
                yield f"{name}, row {number}", row
        elif name.endswith(".csv"):
            for number, row in enumerate(csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline="")), 1):
                yield f"{name}, row {number}", row
        else:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{name}, line {number}", _object(f"{name}, line {number}", line)


def _object(where: str, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise CampaignError(f"{where}: no Unicode text: {error.reason}; correct its \\u escapes") from error
    except RecursionError as error:
        raise CampaignError(f"{where}: nested too deep; a row is a JSON object") from error
    except ValueError as error:
        raise CampaignError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise CampaignError(f"{where}: a row is a JSON object")
    return row
