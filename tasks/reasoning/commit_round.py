"""End a round: make its trajectories durable, then the fact that it is complete."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from infra.table import Row
from tasks.campaign.method import Method
from tasks.reasoning.draw import Draw, Pair
from tasks.reasoning.workbench import Workbench


def quorum(bench: Workbench, draws: Sequence[Draw]) -> list[str]:
    """Ids of a round's finished trajectories in the order of their draws; empty where too few are there to go on."""
    ids = [draw.id for draw in draws if bench.trajectories.finished(draw.id)]
    return ids if len(ids) >= math.ceil(bench.campaign.quorum * len(draws)) else []


async def commit_round(bench: Workbench, method: Method, number: int, draws: dict[Pair, list[Draw]]) -> int:
    """Commit round `number` of the runs whose quorum is there; return how many that are.

    Raises:
        StoreError: the store refuses.
    """
    await bench.trajectories.commit()
    committed = datetime.now(UTC)
    rows: list[Row] = [
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
            "generation": bench.reruns.newest,
            "committed": committed,
        }
        for (problem, run), asked in draws.items()
        if (ids := quorum(bench, asked))
    ]
    await bench.rounds.commit(rows)
    return len(rows)
