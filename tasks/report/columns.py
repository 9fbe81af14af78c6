"""More columns of the trajectories that count, for those who look closer than the table does."""

from collections.abc import Iterable, Sequence

import pyarrow.compute as pc

from infra.table import Row
from tasks.report.books import Books
from tasks.store.tables import trajectories_table


def columns_of(books: Books, names: Sequence[str], ids: Iterable[str] | None = None) -> dict[str, Row]:
    """Columns of finished trajectories by id: of those given, or of all on the plan's problems. Raises `StoreError`.

    Of a trajectory that was asked for again it is the generation that `books` counts.
    """
    plan = books.plan
    where = pc.field("problem").isin([problem.fingerprint for problem in plan.problems])
    if ids is not None:
        where = where & pc.field("id").isin(list(ids))
    table = trajectories_table(plan.campaign.store)
    rows = table.read(plan.partition, ["id", "generation", *names], where).to_pylist()
    return {
        row["id"]: row for row in rows if row["id"] in books.tokens and row["generation"] == books.generation(row["id"])
    }
