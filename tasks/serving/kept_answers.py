"""Served answers in the store: the question, its trajectories and its rounds, as a campaign would have left them."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

import pyarrow as pa

from infra.filesystem import StoreError
from infra.table import Row, Table
from tasks.store.tables import rounds_table, trajectories_table

QUESTIONS = pa.schema([("problem", pa.string()), ("chat", pa.large_string())])
"""The chats that were asked, as JSON, by the fingerprint that trajectories and rounds name."""
MOST_ROWS = 100_000
"""Rows that wait while the store is away."""
COMMITS_A_CONSOLIDATION = 256
logger = logging.getLogger("pacore.store")


class KeptAnswers:
    """Rows on their way to the store. Belongs to one event loop."""

    def __init__(self, store: str) -> None:
        self._tables: dict[str, Table] = {
            "questions": Table(store, "questions", QUESTIONS, ["problem"], []),
            "trajectories": trajectories_table(store),
            "rounds": rounds_table(store),
        }
        self._waiting: dict[tuple[str, str], list[Row]] = {}
        self._partitions: set[str] = set()
        self._committing = asyncio.Lock()
        self._commits = 0

    @property
    def is_full(self) -> bool:
        """Whether more rows wait than should."""
        return sum(map(len, self._waiting.values())) > MOST_ROWS

    def add(self, table: str, partition: str, rows: Sequence[Row]) -> None:
        """Hand over rows of one of the tables; `commit` stores them."""
        self._waiting.setdefault((table, partition), []).extend(rows)

    async def commit(self) -> None:
        """Store what waits, also when cancelled meanwhile; who comes while others store, stores together.

        While the store refuses, rows wait and a warning says so.
        """
        with contextlib.suppress(StoreError):
            await asyncio.shield(self._store())

    async def close(self) -> None:
        """Store what waits and merge small parts. Raises `StoreError`."""
        await self._store()
        await asyncio.to_thread(self._consolidate)

    async def _store(self) -> None:
        async with self._committing:
            for name, table in self._tables.items():  # a round after what it names
                for key in [key for key in self._waiting if key[0] == name]:
                    await self._store_one(table, key)
            self._commits += 1
            if self._commits % COMMITS_A_CONSOLIDATION == 0:
                await asyncio.to_thread(self._consolidate)

    async def _store_one(self, table: Table, key: tuple[str, str]) -> None:
        rows = list(self._waiting[key])
        try:
            await asyncio.to_thread(table.commit, key[1], rows)
        except StoreError as refusal:
            logger.warning("%s; meanwhile %s rows wait", refusal, sum(map(len, self._waiting.values())))
            raise
        self._partitions.add(key[1])
        del self._waiting[key][: len(rows)]
        if not self._waiting[key]:
            del self._waiting[key]

    def _consolidate(self) -> None:
        for table in self._tables.values():
            for partition in self._partitions:
                table.consolidate(partition)
