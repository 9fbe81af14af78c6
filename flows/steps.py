"""The task runs that the Prefect UI shows: a few lines around the steps in `tasks`.

What they pass among themselves lives in this process; Prefect sees labels and counts.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL

from flows import PrefectError
from infra.engine import EngineError
from infra.filesystem import StoreError
from tasks.campaign.method import Method
from tasks.grade_shard import grade_shard
from tasks.problem import Problem
from tasks.reasoning.commit_round import commit_round
from tasks.reasoning.draw import pool_draw
from tasks.reasoning.generate import IncompleteError, generate
from tasks.reasoning.round_in_flight import Asked, RoundInFlight
from tasks.reasoning.workbench import Workbench


async def only_incomplete(states: Iterable[State[Any]]) -> None:
    """Pass over runs that lack trajectories, which the store and the report tell; raise whatever else went wrong."""
    for state in states:
        if state.is_failed() or state.is_crashed():
            error = await state.aresult(raise_on_failure=False)
            if isinstance(error, Exception) and not isinstance(error, IncompleteError):
                raise error


def expected(error: Exception) -> Exception | None:
    """The expected failure that an error is, or that a group of tasks' errors holds."""
    if isinstance(error, ExceptionGroup):
        return next(filter(None, map(expected, error.exceptions)), None)
    if isinstance(error, httpx.HTTPError):
        why = " ".join(str(error).split()) or type(error).__name__
        return PrefectError(
            f"Prefect's API at {PREFECT_API_URL.value()} failed ({why}); what finished is stored: see to it, then run "
            "the campaign again"
        )
    return error if isinstance(error, IncompleteError | EngineError | StoreError | PrefectError) else None


class Shard:
    """Some problems of a campaign, at work in this process."""

    def __init__(self, bench: Workbench, number: int) -> None:
        self.bench = bench
        self.number = number
        self.problems: list[Problem] = bench.plan.shards[number]

    def priority(self, rounds_left: int) -> tuple[int, int]:
        """Longest chain of rounds first, then shard by shard."""
        return -rounds_left, self.bench.turns.index(self.number)

    def owed_pool(self, step: int) -> list[int]:
        """Which k in 0 … step-1 have a draw k, k + step, … that some problem lacks."""
        finished = self.bench.trajectories.finished
        draws = range(self.bench.campaign.pool)
        plan = self.bench.plan
        return sorted({d % step for d in draws for p in self.problems if not finished(pool_draw(plan, p, d).id)})


@task(name="pool", task_run_name="pool s{shard.number:02d} r1 k{k:02d}", cache_policy=NO_CACHE, persist_result=False)
async def fill_pool(k: int, shard: Shard, step: int, rounds_left: int) -> int:
    """Generate draws k, k + step, … of the pool of a shard's problems; return how many were owed."""

    async def asked() -> AsyncIterator[Asked]:
        for number in range(k, shard.bench.campaign.pool, step):
            for problem in shard.problems:
                yield pool_draw(shard.bench.plan, problem, number), lambda: None

    return await generate(shard.bench, asked(), shard.priority(rounds_left))


@task(
    name="generate",
    task_run_name="{method.name} s{shard.number:02d} r{number} k{k:02d}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def generate_trajectories(k: int, shard: Shard, method: Method, number: int, round: RoundInFlight) -> int:
    """Generate trajectory k of every (problem, run) of a round; return how many were owed."""
    return await generate(shard.bench, round.asked(k), shard.priority(len(method.rounds) - number))


@task(
    name="commit",
    task_run_name="{method.name} s{shard.number:02d} r{number} commit",
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def commit(shard: Shard, method: Method, number: int, round: RoundInFlight) -> int:
    """Commit a round of a shard; return how many of its runs are complete."""
    return await commit_round(shard.bench, method, number, round.draws)


@task(name="grade", task_run_name="grade s{shard.number:02d}", cache_policy=NO_CACHE, persist_result=False)
async def grade(shard: Shard) -> int:
    """Grade a shard's trajectories; return how many were graded."""
    return await grade_shard(shard.bench, shard.problems)
