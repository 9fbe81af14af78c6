"""The trajectories of one sampler as one process sees them: what is stored, and what is not stored yet."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Iterable, Sequence

import pyarrow.compute as pc

from infra.filesystem import StoreError, may_pass
from infra.table import Part, Row, Table
from tasks.compaction import Compaction, full
from tasks.store.reruns import Reruns

COMMIT_ROWS = 1_000
COMMIT_BYTES = 32 << 20
BUFFER_BYTES = 256 << 20
RECENT_CHARACTERS = 64 << 20
COMMITS_A_CONSOLIDATION = 256
Entry = tuple[str, int, str | None]
"""Id, generation and error of a row."""
logger = logging.getLogger("pacore.store")


class Trajectories:
    """An index of what the store holds of some problems, and a buffer of what it shall hold.

    A row is durable when `commit` returns; a buffered row is committed after `commit_seconds` at the latest, and as
    often the index takes in what other processes stored. While the store is away rows stay buffered.
    """

    def __init__(
        self, table: Table, partition: str, problems: Iterable[str], commit_seconds: float, reruns: Reruns
    ) -> None:
        self.table = table
        self.partition = partition
        self.commit_seconds = commit_seconds
        self.reruns = reruns
        self._of_problems = pc.field("problem").isin(list(problems))
        self._parts_of: dict[str, tuple[Part, ...]] = {}
        self._generations: dict[str, int] = {}
        self._known_parts: set[str] = set()
        self._buffer: list[Row] = []
        self._waiting: set[str] = set()
        self._recent: dict[str, str] = {}
        self._recent_characters = 0
        self._buffered_bytes = 0
        self._commits = 0
        self._committing = asyncio.Lock()
        self._refusal: StoreError | None = None
        self._timer: asyncio.Task[None] | None = None

    def refresh(self) -> None:
        """Take in the parts that came since the last time."""
        for part, entries in self._unknown():
            self._take_in(part, entries)

    def finished(self, id: str) -> bool:
        """Whether a generation of that id that counts is stored, or waits to be, and did not fail."""
        there = id in self._parts_of or id in self._waiting
        return there and self.generation(id) >= self.reruns.generation(id)

    def generation(self, id: str) -> int:
        """The newest generation of a trajectory that is finished; 0 where none is."""
        return self._generations.get(id, 0)

    async def add(self, row: Row) -> None:
        """Buffer a row. Raises `StoreError` when rows before it can not be stored and waiting does not help."""
        self._buffer.append(row)
        if row["error"] is None and self._is_newest(row["id"], row["generation"]):
            self._waiting.add(row["id"])
            self._remember(row["id"], row["message"])
        self._buffered_bytes += _size(row)
        if self._refusal and (self._buffered_bytes > BUFFER_BYTES or not _passes(self._refusal)):
            raise self._refusal
        full = len(self._buffer) >= COMMIT_ROWS or self._buffered_bytes >= COMMIT_BYTES
        if full and not self._refusal:
            await self._try_to_commit()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._commit_later())

    async def commit(self) -> None:
        """Store what is buffered, also when cancelled meanwhile. Raises `StoreError`; then the rows stay buffered."""
        await asyncio.shield(self._store())

    async def _store(self) -> None:
        async with self._committing:
            rows = list(self._buffer)
            if not rows:
                return
            try:
                part = await asyncio.to_thread(self.table.commit, self.partition, rows)
            except StoreError as refusal:
                self._refusal = refusal
                raise
            self._refusal = None
            del self._buffer[: len(rows)]
            self._buffered_bytes = sum(map(_size, self._buffer))
            self._known_parts.add(part.path)
            self._take_in(part, [(row["id"], row["generation"], row["error"]) for row in rows])
            self._waiting = {row["id"] for row in self._buffer if row["error"] is None}
            self._commits += 1
            if self._commits % COMMITS_A_CONSOLIDATION == 0:
                await asyncio.to_thread(self.table.consolidate, self.partition)

    async def close(self) -> None:
        """Store what is buffered and stop the timer."""
        if self._timer:
            self._timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._timer
        await self.commit()

    async def messages(self, ids: Sequence[str], compaction: Compaction) -> dict[str, str]:
        """What compaction keeps of each trajectory. Reasoning is loaded only where the compaction keeps it."""
        if compaction == "conclusion":
            recent = {id: self._recent[id] for id in ids if id in self._recent}
            older = [id for id in ids if id not in recent]
            stored = await asyncio.to_thread(self._columns, older, ["id", "message"]) if older else []
            return recent | {id: message for id, message in stored}
        await self.commit()
        rows = await asyncio.to_thread(self._columns, ids, ["id", "reasoning", "content"])
        return {id: full(reasoning, content) for id, reasoning, content in rows}

    def _columns(self, ids: Iterable[str], columns: list[str]) -> list[tuple[str, ...]]:
        wanted = set(ids)
        try:
            rows = self._read(wanted, columns)
        except FileNotFoundError:  # consolidated since it was indexed
            self._known_parts.clear()
            self.refresh()
            self._forget_vanished()
            rows = self._read(wanted, columns)
        if len(rows) < len(wanted):
            raise StoreError(
                f"store: {len(wanted) - len(rows)} trajectories are gone from {self.table.folder}; run again"
            )
        return rows

    def _read(self, ids: set[str], columns: list[str]) -> list[tuple[str, ...]]:
        parts = {part for id in ids for part in self._parts_of.get(id, ())}
        table = self.table.read_parts(parts, [*columns, "generation"], pc.field("id").isin(list(ids)))
        rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
        return [row[:-1] for row in rows if row[-1] == self.generation(row[0])]

    def _unknown(self) -> list[tuple[Part, list[Entry]]]:
        """What stands in the parts that are not known yet."""
        while True:
            new = [part for part in self.table.parts(self.partition) if part.path not in self._known_parts]
            try:
                found = list(self.table.scan(new, ["id", "generation", "error"], self._of_problems))
            except FileNotFoundError:  # consolidated since it was listed
                continue
            self._known_parts.update(part.path for part in new)
            return [(part, list(zip(*(column.to_pylist() for column in rows), strict=True))) for part, rows in found]

    def _forget_vanished(self) -> None:
        for id, parts in list(self._parts_of.items()):
            self._parts_of[id] = tuple(part for part in parts if part.path in self._known_parts)

    def _remember(self, id: str, message: str) -> None:
        """Keep the newest messages at hand: the next round asks for them soon."""
        self._forget(id)
        self._recent[id] = message
        self._recent_characters += len(message)
        while self._recent_characters > RECENT_CHARACTERS and len(self._recent) > len(self._waiting):
            self._forget(next(iter(self._recent)))

    def _forget(self, id: str) -> None:
        self._recent_characters -= len(self._recent.pop(id, ""))

    def _is_newest(self, id: str, generation: int) -> bool:
        """Whether no finished row of a newer generation is known; what is older is forgotten."""
        if generation > self.generation(id):
            self._generations[id] = generation
            self._parts_of.pop(id, None)
            self._forget(id)
        return generation == self.generation(id)

    def _take_in(self, part: Part, entries: Iterable[Entry]) -> None:
        for id, generation, error in entries:
            if error is None and self._is_newest(id, generation):
                parts = self._parts_of.get(id, ())
                self._parts_of[id] = parts if part in parts else (*parts, part)

    async def _take_in_others(self) -> None:
        """What other processes stored is not generated again; where both did, the row that counts is read."""
        for part, entries in await asyncio.to_thread(self._unknown):
            self._take_in(part, entries)
            for id in {id for id, _, _ in entries} - self._waiting:
                self._forget(id)

    async def _try_to_commit(self) -> None:
        """Commit; while the store is away, leave the rows buffered."""
        try:
            await self.commit()
        except StoreError as refusal:
            if not _passes(refusal):
                raise
            logger.warning("%s; meanwhile %s trajectories wait", refusal, len(self._buffer))

    async def _commit_later(self) -> None:
        while self._buffer and (not self._refusal or _passes(self._refusal)):
            await asyncio.sleep(self.commit_seconds)
            with contextlib.suppress(StoreError):
                await self._try_to_commit()
                await self._take_in_others()
        self._timer = None


def _size(row: Row) -> int:
    return sum(sys.getsizeof(row[name]) for name in ("reasoning", "content", "message"))


def _passes(refusal: StoreError) -> bool:
    """Whether the store may take later what it refuses now."""
    return isinstance(refusal.__cause__, Exception) and may_pass(refusal.__cause__)
