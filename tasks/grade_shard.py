"""Grade the trajectories of a shard and keep the verdicts."""

import asyncio
from collections.abc import Sequence

from infra.table import Row
from tasks.benchmark import Problem
from tasks.draw import pool_draw
from tasks.workbench import Workbench


async def grade_shard(bench: Workbench, problems: Sequence[Problem]) -> int:
    """Grade what is finished and has no verdict yet: the pool, and every committed round. Returns how many that was.

    Raises:
        StoreError: the store can not be read or written.
    """
    await bench.trajectories.commit()
    return await asyncio.to_thread(_grade, bench, problems)


def owed_verdicts(bench: Workbench, problem: Problem) -> list[str]:
    """Finished trajectories of a problem that were not graded against its ground truth."""
    pool = [pool_draw(bench.plan, problem, number).id for number in range(bench.campaign.pool)]
    later = [id for row in bench.rounds.of(problem.fingerprint) for id in row["trajectories"]]
    return sorted(
        {id for id in [*pool, *later] if bench.trajectories.finished(id) and (id, problem.truth) not in bench.graded}
    )


def _grade(bench: Workbench, problems: Sequence[Problem]) -> int:
    rows = [row for problem in problems for row in _verdicts(bench, problem, owed_verdicts(bench, problem))]
    if rows:
        bench.verdicts.commit(bench.plan.partition, rows)
    bench.graded.update((row["id"], row["truth"]) for row in rows)
    return len(rows)


def _verdicts(bench: Workbench, problem: Problem, ids: Sequence[str]) -> list[Row]:
    messages = bench.trajectories.messages(ids, "conclusion")
    verdicts = bench.graders.grade([(problem.ground_truth, messages[id]) for id in ids])
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
        }
        for id, verdict in zip(ids, verdicts, strict=True)
    ]
