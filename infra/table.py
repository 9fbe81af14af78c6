"""A table of Parquet parts that only grows: immutable files, created atomically, read under one rule for duplicates.

A part is named after its bytes. So a part that is already there is the same part, a commit can be repeated after any
fault, and two processes can write at once. Any Parquet reader can query the folder.
"""

import contextlib
import hashlib
import io
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from typing import IO, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError

from infra.filesystem import (
    FAULTS,
    IMPATIENT_SECONDS,
    StoreError,
    create_file,
    open_filesystem,
    patiently,
    read_error,
    refusal,
)

Row = dict[str, Any]
T = TypeVar("T")

FORMAT = b"pacore.schema"
MAJOR, MINOR = 1, 1
SINCE = b"since"
READERS = 16
RELISTING_PAUSES = [min(0.01 * 2**number, 1.0) for number in range(40)]
"""Seconds between listings while parts vanish: half a minute, in which a consolidation removes thousands."""
SMALL_PART_BYTES = 8 << 20
logger = logging.getLogger("pacore.store")


class NewerSchemaError(StoreError):
    """A part was written by a newer pacore than this one can read."""


def since(minor: int, name: str, kind: pa.DataType) -> pa.Field:
    """A column that came with a minor version. Where a part lacks it a number reads as 0, anything else as null."""
    return pa.field(name, kind, metadata={SINCE: str(minor)})


@dataclass(frozen=True, slots=True)
class Part:
    """One immutable file of a partition."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Inspected:
    """One file of a partition as its bytes are: its rows, or why it has none that can be trusted."""

    path: str
    rows: pa.Table | None
    fault: str | None


class Table:
    """Rows of one schema under `{store}/{name}/{partition}={value}/`.

    Of several rows with one key every reader picks the same one: the first in the order of `preference`, nulls first.
    Of the others consolidation keeps those that say something else in `texts`: someone may have built on them.
    The partition's column stands in the path alone.
    """

    def __init__(
        self,
        store: str,
        name: str,
        schema: pa.Schema,
        key: Sequence[str],
        preference: Sequence[str],
        texts: Sequence[str] = (),
    ) -> None:
        self.filesystem, root = open_filesystem(store)
        self.name = name
        self.folder = f"{root.rstrip('/')}/{name}"
        self.quarantine = f"{root.rstrip('/')}/quarantine/{name}"
        self.schema = schema.with_metadata({FORMAT: f"{MAJOR}.{MINOR}".encode()})
        self.key = list(key)
        self.preference = list(preference)
        self.texts = list(texts)
        self.reported: set[str] = set()
        self.patience_seconds = IMPATIENT_SECONDS

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
        for pause in RELISTING_PAUSES:
            found = self._ask("list", f"{self.folder}/{partition}", lambda: self._find(partition))
            if before is not None:
                if before <= found:
                    return sorted(found, key=lambda part: part.path)
                time.sleep(pause)
            before = found
        raise self._vanishing(partition)

    def read(self, partition: str, columns: Sequence[str], where: pc.Expression | None = None) -> pa.Table:
        """Columns of a partition's rows that match, one row a key, at one moment."""
        every = self.read_every(partition, self._with_what_the_rule_needs(columns), where)
        return self._one_row_of(every, self.key).select(list(columns))

    def read_every(self, partition: str, columns: Sequence[str], where: pc.Expression | None = None) -> pa.Table:
        """Columns of a partition's rows that match as they stand, duplicates included, at one moment."""
        for pause in RELISTING_PAUSES:
            try:
                return self._concatenate(self.parts(partition), columns, where)
            except FileNotFoundError:
                logger.debug("%s was consolidated while it was read; reading again", partition)
                time.sleep(pause)
        raise self._vanishing(partition)

    def _vanishing(self, partition: str) -> StoreError:
        return StoreError(f"store: the parts of {self.folder}/{partition} keep vanishing; see what removes them")

    def read_parts(self, parts: Iterable[Part], columns: Sequence[str], where: pc.Expression | None = None) -> pa.Table:
        """Columns of the rows that match, one row a key. No other column is loaded, but for what the rule needs.

        Raises:
            FileNotFoundError: a part is gone; its rows stand in a consolidated one.
        """
        every = self._concatenate(parts, self._with_what_the_rule_needs(columns), where)
        return self._one_row_of(every, self.key).select(list(columns))

    def _with_what_the_rule_needs(self, columns: Sequence[str]) -> list[str]:
        return list(dict.fromkeys([*columns, *self.key, *self.preference]))

    def _concatenate(self, parts: Iterable[Part], columns: Sequence[str], where: pc.Expression | None) -> pa.Table:
        tables = [table for _, table in self.scan(parts, columns, where)]
        return pa.concat_tables(tables) if tables else self.schema.empty_table().select(list(columns))

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

    def inspect(self, partition: str) -> Iterator[Inspected]:
        """Every file of a partition, hidden ones aside: its bytes against its name, then its rows.

        What is consolidated meanwhile is read in its new place.

        Raises:
            NewerSchemaError: a part that only a newer pacore can read.
            StoreError: the store refuses.
        """
        seen: set[str] = set()
        while new := self._ask("list", f"{self.folder}/{partition}", lambda: self._files(partition)).keys() - seen:
            seen |= new
            for path in sorted(new):
                with contextlib.suppress(FileNotFoundError):
                    yield self._inspect(path)

    def _inspect(self, path: str) -> Inspected:
        data = self._ask("read", path, partial(self.filesystem.cat_file, path), (FileNotFoundError,))
        try:
            rows = self._decode(path, io.BytesIO(data), self.schema.names, None)
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            return Inspected(path, None, read_error(error))
        if not path.endswith(f"/{_name(data)}"):
            return Inspected(path, None, f"its bytes are those of {_name(data)}")
        return Inspected(path, rows, None)

    def set_aside(self, path: str, partition: str) -> None:
        """Move a file out of every reader's sight, into the store's quarantine. Raises `StoreError`."""
        place = f"{self.quarantine}/{partition}/{path.rsplit('/', 1)[-1]}"
        data = self._ask("read", path, lambda: self.filesystem.cat_file(path))
        self._ask("write", place, lambda: self._create(place, data))
        self._ask("remove", path, partial(self._remove, path))

    def consolidate(self, partition: str, crowd: int = 2) -> None:
        """Where a partition has a crowd of small parts, write them as few larger ones, then remove them.

        Between the two steps rows stand twice, which the rule for duplicates makes harmless.
        """
        small = [part for part in self.parts(partition) if part.size < SMALL_PART_BYTES]
        if len(small) < crowd:
            return
        batch: list[Part] = []
        for part in small:
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
        rows = self._without_repeats(pa.concat_tables(readable.values()))
        rows = rows.sort_by([(name, "ascending") for name in self.key])
        written = self._write(partition, rows.cast(self.schema))
        for part in readable:
            if part.path != written.path:
                self._ask("remove", part.path, partial(self._remove, part.path))

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(path)

    def _write(self, partition: str, rows: pa.Table) -> Part:
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd", row_group_size=5_000, write_page_checksum=True)
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
        found = self._files(partition)
        return {Part(path, size) for path, size in found.items() if path.endswith(".parquet")}

    def _files(self, partition: str) -> dict[str, int]:
        """Path and size of every file but the hidden ones: drafts that are being written, or were left by a kill."""
        try:
            found = self.filesystem.ls(f"{self.folder}/{partition}", detail=True)
        except FileNotFoundError:
            return {}
        files = {info["name"]: info["size"] for info in found if info["type"] == "file"}
        return {path: size for path, size in sorted(files.items()) if not path.rsplit("/", 1)[-1].startswith(".")}

    def _read_part(self, part: Part, columns: Sequence[str], where: pc.Expression | None) -> pa.Table | None:
        try:
            with self.filesystem.open(part.path, "rb") as file:
                return self._decode(part.path, file, columns, where)
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise refusal("read", part.path, error) from error
        except (OSError, BotoCoreError) as error:  # the store's, or the decoder's where pages are torn
            data = self._ask("read", part.path, partial(self.filesystem.cat_file, part.path), (FileNotFoundError,))
            if part.path.endswith(_name(data)):
                return self._decode(part.path, io.BytesIO(data), columns, where)
            self._report(part.path, error)
        except (pa.ArrowException, KeyError, ValueError) as error:
            self._report(part.path, error)
        return None

    def _decode(self, path: str, file: IO[bytes], columns: Sequence[str], where: pc.Expression | None) -> pa.Table:
        found = pq.read_schema(file)
        minor = self._minor_version(path, found)
        file.seek(0)
        fields = [self.schema.field(name) for name in columns]
        later = [field for field in fields if field.name not in found.names and minor < _since(field)]
        there = [field.name for field in fields if field not in later]
        rows = pq.read_table(file, columns=there, filters=where, partitioning=None, page_checksum_verification=True)
        for field in later:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        for field in fields:
            if _since(field) and pa.types.is_integer(field.type):
                at = rows.schema.get_field_index(field.name)
                rows = rows.set_column(at, field, pc.fill_null(rows[field.name].cast(field.type), 0))
        return rows.select(list(columns)).cast(pa.schema(fields))

    def _minor_version(self, path: str, schema: pa.Schema) -> int:
        version = (schema.metadata or {}).get(FORMAT)
        if version is None:
            raise ValueError("written by something else than pacore")
        major, minor = map(int, version.split(b"."))
        if major > MAJOR:
            raise NewerSchemaError(
                f"{path}: schema {version.decode()}, this pacore reads {MAJOR}.x; install the newer one that wrote it"
            )
        return minor

    def _report(self, path: str, error: Exception) -> None:
        if path not in self.reported:
            self.reported.add(path)
            logger.warning("%s is passed over, its rows are owed again: %s", path, read_error(error))

    def _without_repeats(self, rows: pa.Table) -> pa.Table:
        """The row that counts of each key, and those of the others that say something else."""
        counting = self._one_row_of(rows, self.key)
        if not self.texts or counting.num_rows == rows.num_rows:
            return counting
        says_something = reduce(pc.or_, (pc.is_valid(rows[name]) for name in self.texts))
        return self._one_row_of(pa.concat_tables([counting, rows.filter(says_something)]), [*self.key, *self.texts])

    def _one_row_of(self, rows: pa.Table, key: Sequence[str]) -> pa.Table:
        """Of rows that agree in `key` the first in the order of preference."""
        if rows.num_rows < 2:
            return rows
        plain = rows.append_column("row", pa.array(range(rows.num_rows)))
        for name in key:
            if pa.types.is_list(rows[name].type):  # neither grouped nor sorted by Arrow
                plain = plain.set_column(plain.schema.get_field_index(name), name, pc.binary_join(rows[name], " "))
        if plain.group_by(key).aggregate([]).num_rows == rows.num_rows:
            return rows
        order = [(name, "ascending", "at_start") for name in [*self.preference, *key]]
        ordered = plain.take(pc.sort_indices(plain, sort_keys=order)).select([*key, "row"])
        numbered = ordered.append_column("rank", pa.array(range(ordered.num_rows)))
        first = numbered.group_by(key).aggregate([("rank", "min")])["rank_min"]
        return rows.take(numbered["row"].take(first))

    def _ask(self, verb: str, path: str, call: Callable[[], T], expected: tuple[type[Exception], ...] = ()) -> T:
        try:
            return patiently(call, self.patience_seconds)
        except expected:
            raise
        except FAULTS as error:
            raise refusal(verb, path, error) from error


def _name(data: bytes) -> str:
    return f"part-{hashlib.sha256(data).hexdigest()[:32]}.parquet"


def _since(field: pa.Field) -> int:
    return int((field.metadata or {}).get(SINCE, 0))
