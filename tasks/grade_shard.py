"""Grade the trajectories of a shard and keep the verdicts."""

import asyncio
from collections.abc import Sequence

from infra.table import Row
from tasks.graders import Verdict
from tasks.graders.judge import Judge
from tasks.problem import Problem
from tasks.reasoning.draw import pool_draw
from tasks.reasoning.workbench import Workbench


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
    graders = bench.graders
    if isinstance(graders, Judge):
        verdicts = await _judged(bench, graders, problem, messages)
    else:
        pairs = [(problem.ground_truth, messages[id]) for id in ids]
        verdicts = dict(zip(ids, await asyncio.to_thread(graders.grade, pairs), strict=True))
    return [
        {
            **_key(bench, problem, id),
            "undecided": verdict.outcome == "ungraded",
            "outcome": verdict.outcome,
            "answer": verdict.answer,
            "reason": verdict.reason,
        }
        for id, verdict in verdicts.items()
    ]


async def _judged(bench: Workbench, judge: Judge, problem: Problem, messages: dict[str, str]) -> dict[str, Verdict]:
    """Verdicts by id; the votes behind them are stored first."""
    judged = await asyncio.gather(*(judge.grade(problem, id, message) for id, message in messages.items()))
    by_id = dict(zip(messages, judged, strict=True))
    votes = [_key(bench, problem, id) | vote.row() for id, (_, of_id) in by_id.items() for vote in of_id]
    if votes:
        await asyncio.to_thread(bench.judgements.commit, bench.plan.partition, votes)
    return {id: verdict for id, (verdict, _) in by_id.items()}


def _key(bench: Workbench, problem: Problem, id: str) -> Row:
    return {
        "id": id,
        "problem": problem.fingerprint,
        "grader": bench.campaign.grader_name,
        "truth": problem.truth,
        "generation": bench.trajectories.generation(id),
    }
