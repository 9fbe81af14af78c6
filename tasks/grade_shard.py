"""Grade the trajectories of a shard and keep the verdicts."""

import asyncio
from collections.abc import Sequence

from infra.table import Row
from tasks.draw import pool_draw
from tasks.problem import Problem
from tasks.workbench import Workbench


async def grade_shard(bench: Workbench, problems: Sequence[Problem]) -> int:
    """Grade what is finished and has no verdict yet: the pool, and every committed round. Returns how many that was.

    Raises:
        StoreError: the store can not be read or written.
    """
    await bench.trajectories.commit()
    rows = [row for problem in problems for row in await _verdicts(bench, problem)]
    if rows:
        await asyncio.to_thread(bench.verdicts.commit, bench.plan.partition, rows)
    bench.graded.update((row["id"], row["truth"]) for row in rows)
    return len(rows)


def owed_verdicts(bench: Workbench, problem: Problem) -> list[str]:
    """Finished trajectories of a problem that were not graded against its ground truth."""
    pool = [pool_draw(bench.plan, problem, number).id for number in range(bench.campaign.pool)]
    later = [id for row in bench.rounds.of(problem.fingerprint) for id in row["trajectories"]]
    return sorted(
        {id for id in [*pool, *later] if bench.trajectories.finished(id) and (id, problem.truth) not in bench.graded}
    )


async def _verdicts(bench: Workbench, problem: Problem) -> list[Row]:
    ids = owed_verdicts(bench, problem)
    messages = await bench.trajectories.messages(ids, "conclusion")
    verdicts = await asyncio.to_thread(bench.graders.grade, [(problem.ground_truth, messages[id]) for id in ids])
    return [
        {
            "id": id,
            "problem": problem.fingerprint,
            "grader": bench.campaign.grader,
            "truth": problem.truth,
            "undecided": verdict.outcome == "ungraded",
            "outcome": verdict.outcome,
            "answer": verdict.answer,
            "reason": verdict.reason,
            "generation": bench.trajectories.generation(id),
        }
        for id, verdict in zip(ids, verdicts, strict=True)
    ]
