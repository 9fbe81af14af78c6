"""A table of Parquet parts that only grows: immutable files, created atomically, read under one rule for duplicates.

A part is named after its bytes. So a part that is already there is the same part, a commit can be repeated after any
fault, and two processes can write at once. Any Parquet reader can query the folder.
"""

import contextlib
import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import stamina
from botocore.exceptions import BotoCoreError

from infra.filesystem import FAULTS, StoreError, create_file, may_pass, open_filesystem, read_error, refusal

Row = dict[str, Any]
T = TypeVar("T")

FORMAT = b"pacore.schema"
MAJOR, MINOR = 1, 0
READERS = 16
RELISTINGS = 10
SMALL_PART_BYTES = 8 << 20
logger = logging.getLogger("pacore.store")


class NewerSchemaError(StoreError):
    """A part was written by a newer pacore than this one can read."""


@dataclass(frozen=True, slots=True)
class Part:
    """One immutable file of a partition."""

    path: str
    size: int


class Table:
    """Rows of one schema under `{store}/{name}/{partition}={value}/`.

    Of several rows with one key every reader picks the same one: the first in the order of `preference`, nulls first.
    The partition's column stands in the path alone.
    """

    def __init__(self, store: str, name: str, schema: pa.Schema, key: Sequence[str], preference: Sequence[str]) -> None:
        self.filesystem, root = open_filesystem(store)
        self.folder = f"{root.rstrip('/')}/{name}"
        self.schema = schema.with_metadata({FORMAT: f"{MAJOR}.{MINOR}".encode()})
        self.key = list(key)
        self.preference = list(preference)
        self.reported: set[str] = set()

    def commit(self, partition: str, rows: Sequence[Row]) -> Part:
        """Store rows as one new part and return it once they are durable.

        Raises:
            StoreError: the store refuses, and goes on refusing.
        """
        return self._write(partition, pa.Table.from_pylist(list(rows), schema=self.schema))

    def parts(self, partition: str) -> list[Part]:
        """The parts there are now, by name; every row committed before the call stands in one of them.

        A listing is not taken at one moment: it can miss a consolidated part and already lack those that went into it.
        It counts when the listing before it holds nothing that this one lacks.
        """
        before: set[Part] | None = None
        for _ in range(RELISTINGS):
            found = self._ask("list", f"{self.folder}/{partition}", lambda: self._find(partition))
            if before is not None and before <= found:
                return sorted(found, key=lambda part: part.path)
            before = found
        raise self._vanishing(partition)

    def read(self, partition: str, columns: Sequence[str], where: pc.Expression | None = None) -> pa.Table:
        """Columns of a partition's rows that match, one row a key, at one moment."""
        for _ in range(RELISTINGS):
            try:
                return self.read_parts(self.parts(partition), columns, where)
            except FileNotFoundError:
                logger.debug("%s was consolidated while it was read; reading again", partition)
        raise self._vanishing(partition)

    def _vanishing(self, partition: str) -> StoreError:
        return StoreError(f"store: the parts of {self.folder}/{partition} keep vanishing; see what removes them")

    def read_parts(self, parts: Iterable[Part], columns: Sequence[str], where: pc.Expression | None = None) -> pa.Table:
        """Columns of the rows that match, one row a key. No other column is loaded, but for what the rule needs.

        Raises:
            FileNotFoundError: a part is gone; its rows stand in a consolidated one.
        """
        needed = list(dict.fromkeys([*columns, *self.key, *self.preference]))
        tables = [table for _, table in self.scan(parts, needed, where)]
        merged = pa.concat_tables(tables) if tables else self.schema.empty_table().select(needed)
        return self._one_row_a_key(merged).select(list(columns))

    def scan(
        self, parts: Iterable[Part], columns: Sequence[str], where: pc.Expression | None = None
    ) -> Iterator[tuple[Part, pa.Table]]:
        """Columns of every part as it stands, duplicates included. A torn or foreign part is reported and passed over.

        Raises:
            FileNotFoundError: a part is gone.
        """
        wanted = list(parts)
        with ThreadPoolExecutor(min(READERS, len(wanted) or 1)) as pool:
            tables = list(pool.map(lambda part: self._read_part(part, columns, where), wanted))
        return ((part, table) for part, table in zip(wanted, tables, strict=True) if table is not None)

    def consolidate(self, partition: str) -> None:
        """Write the small parts of a partition as few larger ones, then remove them.

        Between the two steps rows stand twice, which the rule for duplicates makes harmless.
        """
        batch: list[Part] = []
        for part in [part for part in self.parts(partition) if part.size < SMALL_PART_BYTES]:
            batch.append(part)
            if sum(part.size for part in batch) >= 4 * SMALL_PART_BYTES:
                self._merge(partition, batch)
                batch = []
        self._merge(partition, batch)

    def _merge(self, partition: str, parts: Sequence[Part]) -> None:
        try:
            readable = dict(self.scan(parts, self.schema.names))
        except FileNotFoundError:
            return  # someone else consolidates
        if len(readable) < 2:
            return
        rows = self._one_row_a_key(pa.concat_tables(readable.values())).sort_by(
            [(name, "ascending") for name in self.key]
        )
        written = self._write(partition, rows.cast(self.schema))
        for part in readable:
            if part.path != written.path:
                self._ask("remove", part.path, partial(self._remove, part.path))

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(path)

    def _write(self, partition: str, rows: pa.Table) -> Part:
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd", row_group_size=5_000)
        data = buffer.getvalue()
        path = f"{self.folder}/{partition}/{_name(data)}"
        self._ask("write", path, lambda: self._create(path, data))
        return Part(path, len(data))

    def _create(self, path: str, data: bytes) -> None:
        try:
            create_file(self.filesystem, path, data)
        except FileExistsError:
            logger.debug("%s is there already", path)

    def _find(self, partition: str) -> set[Part]:
        try:
            found = self.filesystem.ls(f"{self.folder}/{partition}", detail=True)
        except FileNotFoundError:
            return set()
        return {
            Part(info["name"], info["size"])
            for info in found
            if info["name"].endswith(".parquet") and not info["name"].rsplit("/", 1)[-1].startswith(".")
        }

    def _read_part(self, part: Part, columns: Sequence[str], where: pc.Expression | None) -> pa.Table | None:
        try:
            with self.filesystem.open(part.path, "rb") as file:
                self._check_format(part.path, pq.read_schema(file))
                file.seek(0)
                return pq.read_table(file, columns=list(columns), filters=where, partitioning=None).cast(
                    pa.schema([self.schema.field(name) for name in columns])
                )
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise refusal("read", part.path, error) from error
        except (OSError, BotoCoreError) as error:  # the store's, or the decoder's where pages are torn
            if self._is_whole(part.path):
                raise refusal("read", part.path, error) from error
            self._report(part.path, error)
        except (pa.ArrowException, KeyError, ValueError) as error:
            self._report(part.path, error)
        return None

    def _is_whole(self, path: str) -> bool:
        """Whether a part holds the bytes that it is named after."""
        return path.endswith(_name(self._ask("read", path, lambda: self.filesystem.cat_file(path))))

    def _check_format(self, path: str, schema: pa.Schema) -> None:
        version = (schema.metadata or {}).get(FORMAT)
        if version is None:
            raise ValueError("written by something else than pacore")
        if int(version.split(b".")[0]) > MAJOR:
            raise NewerSchemaError(
                f"{path}: schema {version.decode()}, this pacore reads {MAJOR}.x; install the newer one that wrote it"
            )

    def _report(self, path: str, error: Exception) -> None:
        if path not in self.reported:
            self.reported.add(path)
            logger.warning("%s is passed over, its rows are owed again: %s", path, read_error(error))

    def _one_row_a_key(self, rows: pa.Table) -> pa.Table:
        if rows.num_rows < 2:
            return rows
        keys = rows.group_by(self.key).aggregate([([], "count_all")])
        if keys.num_rows == rows.num_rows:
            return rows
        order = [(name, "ascending", "at_start") for name in [*self.preference, *self.key]]
        ordered = rows.take(pc.sort_indices(rows, sort_keys=order))
        numbered = ordered.select(self.key).append_column("row", pa.array(range(ordered.num_rows)))
        first = numbered.group_by(self.key).aggregate([("row", "min")])["row_min"]
        return ordered.take(first)

    def _ask(self, verb: str, path: str, call: Callable[[], T]) -> T:
        try:
            for attempt in stamina.retry_context(on=may_pass, attempts=6, timeout=60.0):
                with attempt:
                    return call()
        except FAULTS as error:
            raise refusal(verb, path, error) from error
        raise AssertionError("stamina returns or raises")


def _name(data: bytes) -> str:
    return f"part-{hashlib.sha256(data).hexdigest()[:32]}.parquet"
