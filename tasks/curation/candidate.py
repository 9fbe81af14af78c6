"""A candidate: a problem on its way through the funnel, and the Parquet files that hold candidates between steps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError

from infra.engine import Chat
from infra.filesystem import FAULTS, open_filesystem, refusal

ROWS_A_GROUP = 5_000
TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.large_string())]))
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("chat", TURNS),
        ("ground_truth", pa.large_string()),
        ("responses", pa.list_(pa.large_string())),
    ]
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A problem, where it comes from, and the messages that came with it, if any."""

    id: str
    source: str
    chat: Chat
    ground_truth: str
    responses: list[str]

    @property
    def question(self) -> str:
        """All that the user says."""
        return question_of(self.chat)


def question_of(chat: Chat) -> str:
    """All that the user says in a chat."""
    return "\n".join(turn["content"] for turn in chat if turn["role"] == "user")


def read_candidates(path: str) -> Iterator[Candidate]:
    """Candidates of a file, few at a time in memory. Raises `StoreError`."""
    filesystem, place = open_filesystem(path)
    try:
        with filesystem.open(place, "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(ROWS_A_GROUP):
                yield from (Candidate(**row) for row in batch.to_pylist())
    except FAULTS as error:
        raise refusal("read", path, error) from error


def write_candidates(path: str, candidates: Iterable[Candidate]) -> None:
    """Write candidates to a file as they come. Raises `StoreError`."""
    write_rows(path, SCHEMA, ({name: getattr(one, name) for name in SCHEMA.names} for one in candidates))


def write_rows(path: str, schema: pa.Schema, rows: Iterable[dict[str, object]]) -> None:
    """Write rows to a Parquet file as they come, few at a time in memory. Raises `StoreError`."""
    filesystem, place = open_filesystem(path)
    coming = iter(rows)
    try:
        filesystem.makedirs(filesystem._parent(place), exist_ok=True)
        with filesystem.open(place, "wb") as file, pq.ParquetWriter(file, schema) as writer:
            while some := list(islice(coming, ROWS_A_GROUP)):
                writer.write_table(pa.Table.from_pylist(some, schema))
    except (OSError, BotoCoreError) as error:
        raise refusal("write", path, error) from error
