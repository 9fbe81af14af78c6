"""End a round: make its trajectories durable, then the fact that it is complete."""

import math

from infra.table import Row
from tasks.draw import Draw, Pair
from tasks.method import Method
from tasks.workbench import Workbench


async def commit_round(
    bench: Workbench, method: Method, number: int, draws: dict[Pair, list[Draw]]
) -> dict[Pair, list[str]]:
    """Commit round `number` of the runs whose quorum is there.

    Returns:
        For each of them the ids of its trajectories, in the order of their draws. The others are left out.

    Raises:
        StoreError: the store refuses.
    """
    await bench.trajectories.commit()
    complete: dict[Pair, list[str]] = {}
    rows: list[Row] = []
    for (problem, run), asked in draws.items():
        ids = [draw.id for draw in asked if bench.trajectories.finished(draw.id)]
        if len(ids) < math.ceil(bench.campaign.quorum * len(asked)):
            continue
        complete[problem, run] = ids
        rows.append(
            {
                "recipe": bench.plan.recipes[method.name],
                "method": method.name,
                "problem": problem.fingerprint,
                "problem_id": problem.id,
                "run": run,
                "round": number,
                "width": len(asked),
                "trajectories": ids,
                "missing": len(asked) - len(ids),
            }
        )
    await bench.rounds.commit(rows)
    return complete
