"""What was asked for again: of a trajectory's rows those of an older generation do not count."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pyarrow.compute as pc

from tasks.store.tables import reruns_table


class Reruns:
    """The least generation of each trajectory that counts, as one process knows it.

    A demand is one part, so it holds as a whole or not at all. Who writes rows keeps to the demands that he read when
    he began; rows of an older generation than a demand that came since do no harm.
    """

    def __init__(self, store: str, partition: str) -> None:
        self.table = reruns_table(store)
        self.partition = partition
        self._demanded: dict[str, int] = {}
        self.newest = 0

    def refresh(self) -> None:
        """Read what the store holds. Who has read rows before sees every demand that they were written for."""
        rows = self.table.read(self.partition, ["id", "generation"])
        for id, generation in zip(rows["id"].to_pylist(), rows["generation"].to_pylist(), strict=True):
            self._take_in(id, generation)

    def generation(self, id: str) -> int:
        """The least generation of a trajectory that counts, 0 where nobody asked for it again."""
        return self._demanded.get(id, 0)

    def suppose(self, ids: Iterable[str]) -> None:
        """Take trajectories as asked for again, in this process alone."""
        generation = self.newest + 1
        for id in ids:
            self._take_in(id, generation)

    def demand(self, ids: Iterable[str]) -> int:
        """Ask for trajectories again; return the generation that is to come.

        No two demands share a generation, also where two processes ask at once: so whoever knows of a generation
        knows what was asked for before it.

        Raises:
            StoreError: the store refuses.
        """
        wanted, asked = sorted(set(ids)), datetime.now(UTC)
        while True:
            self.refresh()
            generation = self.newest + 1
            rows = [{"id": id, "generation": generation, "asked": asked} for id in wanted]
            self.table.commit(self.partition, rows)
            of_this = self.table.read(self.partition, ["id"], pc.field("generation") == generation)
            if set(of_this["id"].to_pylist()) == set(wanted):
                self.refresh()
                return generation

    def _take_in(self, id: str, generation: int) -> None:
        self._demanded[id] = max(generation, self._demanded.get(id, 0))
        self.newest = max(self.newest, generation)
