"""Which rounds are committed: what a run has behind it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

import pyarrow.compute as pc

from infra.table import Row, Table

RoundKey = tuple[str, str, int, int]
"""Recipe, problem, run (from 0), round (from 1)."""


class Rounds:
    """The committed rounds of some recipes, read once and added to."""

    def __init__(self, table: Table, partition: str, recipes: Iterable[str]) -> None:
        self.table = table
        self.partition = partition
        self._recipes = pc.field("recipe").isin(list(recipes))
        self._of_problem: dict[str, dict[RoundKey, Row]] = defaultdict(dict)

    def refresh(self) -> None:
        """Read what the store holds."""
        rows = self.table.read(self.partition, self.table.schema.names, self._recipes)
        self._take_in(rows.to_pylist())

    def get(self, key: RoundKey) -> Row | None:
        """The committed round, if it is."""
        return self._of_problem[key[1]].get(key)

    def of(self, problem: str) -> list[Row]:
        """All committed rounds on one problem."""
        return list(self._of_problem[problem].values())

    async def commit(self, rows: Sequence[Row]) -> None:
        """Store rounds whose trajectories are stored."""
        if rows:
            await asyncio.to_thread(self.table.commit, self.partition, rows)
        self._take_in(rows)

    def _take_in(self, rows: Iterable[Row]) -> None:
        for row in rows:
            key = row["recipe"], row["problem"], row["run"], row["round"]
            self._of_problem[row["problem"]][key] = row
