"""Which rounds are committed and count: what a run has behind it."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import pyarrow.compute as pc

from infra.table import Row, Table
from tasks.fingerprint import fingerprint
from tasks.store.reruns import Reruns

LONG_AGO = datetime.min.replace(tzinfo=UTC)
RoundKey = tuple[str, str, int, int]
"""Recipe, problem, run (from 0), round (from 1)."""


class Rounds:
    """The committed rounds of some recipes, read once and added to.

    A round counts while its trajectories are there, and nothing that it or an earlier round of its run rests on was
    asked for again since; and only if the round before it counts.
    """

    def __init__(
        self,
        table: Table,
        partition: str,
        recipes: Iterable[str],
        reruns: Reruns,
        finished: Callable[[str], bool],
    ) -> None:
        self.table = table
        self.partition = partition
        self.reruns = reruns
        self._finished = finished
        self._recipes = pc.field("recipe").isin(list(recipes))
        self._of_problem: dict[str, dict[RoundKey, Row]] = defaultdict(dict)

    def refresh(self) -> None:
        """Read what the store holds."""
        rows: dict[RoundKey, list[Row]] = defaultdict(list)
        for row in self.table.read_every(self.partition, self.table.schema.names, self._recipes).to_pylist():
            rows[round_key(row)].append(row)
        self._of_problem.clear()
        for recipe, problem, run, number in rows:
            if number == 1:
                self._take_in(self._counting(rows, recipe, problem, run))

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

    def _counting(self, rows: dict[RoundKey, list[Row]], recipe: str, problem: str, run: int) -> Iterable[Row]:
        """The rounds of a run that count, from the first on."""
        demanded, number = 0, 1
        while found := self._pick(rows.get((recipe, problem, run, number), []), demanded):
            yield found
            demanded, number = max(demanded, self._demanded(found)), number + 1

    def _pick(self, rows: Iterable[Row], demanded: int) -> Row | None:
        counting = [
            row
            for row in rows
            if row["generation"] >= max(demanded, self._demanded(row)) and all(map(self._finished, row["trajectories"]))
        ]
        return min(counting, key=_preference, default=None)

    def _demanded(self, row: Row) -> int:
        return max(map(self.reruns.generation, [round_id(row), *row["trajectories"]]))

    def _take_in(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._of_problem[row["problem"]][round_key(row)] = row


def _preference(row: Row) -> tuple[int, int, datetime, list[str]]:
    """The newest generation, of it the row that misses fewest, of those the one that was committed first."""
    return -row["generation"], row["missing"], row["committed"] or LONG_AGO, row["trajectories"]


def round_id(row: Row) -> str:
    """What a round is called where it is asked for again, without its trajectories."""
    return fingerprint(round_key(row))


def round_key(row: Row) -> RoundKey:
    """Recipe, problem, run and number of a row."""
    return row["recipe"], row["problem"], row["run"], row["round"]
