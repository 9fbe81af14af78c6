"""The trajectories of one sampler as one process sees them: what is stored, and what is not stored yet."""

import asyncio
import contextlib
import sys
from collections.abc import Iterable, Sequence

import pyarrow.compute as pc

from infra.filesystem import StoreError
from infra.table import Part, Row, Table
from tasks.compaction import Compaction, full

COMMIT_ROWS = 1_000
COMMIT_BYTES = 32 << 20
RECENT_CHARACTERS = 64 << 20
COMMITS_A_CONSOLIDATION = 256


class Trajectories:
    """An index of what the store holds of some problems, and a buffer of what it shall hold.

    A row is durable when `commit` returns; a buffered row is committed after `commit_seconds` at the latest.
    """

    def __init__(self, table: Table, partition: str, problems: Iterable[str], commit_seconds: float) -> None:
        self.table = table
        self.partition = partition
        self.commit_seconds = commit_seconds
        self._of_problems = pc.field("problem").isin(list(problems))
        self._parts_of: dict[str, tuple[Part, ...]] = {}
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
        new = [part for part in self.table.parts(self.partition) if part.path not in self._known_parts]
        try:
            for part, rows in self.table.scan(new, ["id", "error"], self._of_problems):
                self._take_in(part, zip(rows["id"].to_pylist(), rows["error"].to_pylist(), strict=True))
        except FileNotFoundError:  # consolidated since it was listed
            return self.refresh()
        self._known_parts.update(part.path for part in new)

    def finished(self, id: str) -> bool:
        """Whether a generation of that id is stored, or waits to be, and did not fail."""
        return id in self._parts_of or id in self._waiting

    async def add(self, row: Row) -> None:
        """Buffer a row. Raises `StoreError` when rows before it could not be stored."""
        self._buffer.append(row)
        if row["error"] is None:
            self._waiting.add(row["id"])
            self._remember(row["id"], row["message"])
        if self._refusal:
            raise self._refusal
        self._buffered_bytes += sum(sys.getsizeof(row[name]) for name in ("reasoning", "content", "message"))
        if len(self._buffer) >= COMMIT_ROWS or self._buffered_bytes >= COMMIT_BYTES:
            await self.commit()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._commit_later())

    async def commit(self) -> None:
        """Store what is buffered. Raises `StoreError`; then the rows stay buffered."""
        async with self._committing:
            rows, self._buffer, self._buffered_bytes = self._buffer, [], 0
            if not rows:
                return
            try:
                part = await asyncio.shield(asyncio.to_thread(self.table.commit, self.partition, rows))
            except StoreError as refusal:
                self._buffer = rows + self._buffer
                self._refusal = refusal
                raise
            self._known_parts.add(part.path)
            self._commits += 1
            if self._commits % COMMITS_A_CONSOLIDATION == 0:
                await asyncio.to_thread(self.table.consolidate, self.partition)
            self._take_in(part, ((row["id"], row["error"]) for row in rows))

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
        table = self.table.read_parts(parts, columns, pc.field("id").isin(list(ids)))
        return list(zip(*(table[name].to_pylist() for name in columns), strict=True))

    def _forget_vanished(self) -> None:
        for id, parts in list(self._parts_of.items()):
            self._parts_of[id] = tuple(part for part in parts if part.path in self._known_parts)

    def _remember(self, id: str, message: str) -> None:
        """Keep the newest messages at hand: the next round asks for them soon."""
        self._recent[id] = message
        self._recent_characters += len(message)
        while self._recent_characters > RECENT_CHARACTERS and len(self._recent) > len(self._waiting):
            self._recent_characters -= len(self._recent.pop(next(iter(self._recent))))

    def _take_in(self, part: Part, rows: Iterable[tuple[str, str | None]]) -> None:
        for id, error in rows:
            if error is None:
                parts = self._parts_of.get(id, ())
                self._parts_of[id] = parts if part in parts else (*parts, part)
                self._waiting.discard(id)

    async def _commit_later(self) -> None:
        await asyncio.sleep(self.commit_seconds)
        self._timer = None
        with contextlib.suppress(StoreError):
            await self.commit()
