"""A benchmark: a named, fingerprinted set of problems, read from JSONL or Parquet."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from infra.engine import Chat
from infra.filesystem import open_filesystem, read_error
from tasks.campaign_file import BenchmarkSource, CampaignError
from tasks.fingerprint import fingerprint, prompt_fingerprint


@dataclass(frozen=True, eq=False)
class Problem:
    """A chat whose last user turn is the question, with its ground truth."""

    id: str
    chat: Chat
    ground_truth: str

    @cached_property
    def fingerprint(self) -> str:
        """Also the fingerprint of its first-round prompt, the chat alone."""
        return prompt_fingerprint(self.chat)

    @cached_property
    def truth(self) -> str:
        """Fingerprint of the ground truth: verdicts hold for it alone."""
        return fingerprint(self.ground_truth)


def load_benchmark(source: BenchmarkSource) -> list[Problem]:
    """The problems in file order.

    Raises:
        CampaignError: no such file, or a row that is no problem, with its line and what to do.
    """
    problems: dict[str, Problem] = {}
    for where, row in read_rows(source.path):
        problem = _problem(source, where, row)
        if problem.id in problems:
            raise CampaignError(f"{where}: id {problem.id!r} stands twice; give every problem an id of its own")
        problems[problem.id] = problem
        if len(problems) == source.limit:
            break
    if not problems:
        raise CampaignError(f"{source.path}: no problems; a benchmark has at least one row")
    return list(problems.values())


def _problem(source: BenchmarkSource, where: str, row: dict[str, Any]) -> Problem:
    fields = source.fields
    for field, column in fields.model_dump().items():
        if row.get(column) in (None, "", []):
            raise CampaignError(
                f"{where}: no {column!r}; every row needs one; or name its column in benchmark.fields.{field} "
                f"(this row has {', '.join(map(str, row))})"
            )
    question = row[fields.problem]
    chat = [{"role": "user", "content": question}] if isinstance(question, str) else question
    if not _is_chat(chat):
        raise CampaignError(f"{where}: {fields.problem!r} is neither text nor a chat that ends in a user or tool turn")
    if source.instruction:
        chat = [*chat[:-1], {**chat[-1], "content": f"{chat[-1]['content']}\n\n{source.instruction}"}]
    return Problem(str(row[fields.id]), chat, str(row[fields.answer]))


def _is_chat(value: Any) -> bool:
    turns = isinstance(value, list) and all(
        isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
        for turn in value
    )
    return turns and value[-1]["role"] in ("user", "tool")


def read_rows(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a JSONL or Parquet file, each with where it stands. Raises `CampaignError`."""
    try:
        filesystem, place = open_filesystem(path)
        with filesystem.open(place, "rb") as file:
            if path.endswith(".parquet"):
                for number, row in enumerate(pq.read_table(file).to_pylist(), 1):
                    yield f"{path}, row {number}", row
            else:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield f"{path}, line {number}", _object(f"{path}, line {number}", line)
    except CampaignError:
        raise
    except (OSError, pa.ArrowInvalid, ValueError) as error:
        raise CampaignError(f"{path}: {read_error(error)}; give a JSONL or Parquet file") from error


def _object(where: str, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise CampaignError(f"{where}: no Unicode text: {error.reason}; correct its \\u escapes") from error
    except ValueError as error:
        raise CampaignError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise CampaignError(f"{where}: a row is a JSON object")
    return row
