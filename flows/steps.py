"""The task runs that the Prefect UI shows: a few lines around the steps in `tasks`."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.commit_round import commit_round
from tasks.draw import Draw, Pair
from tasks.generate import generate
from tasks.grade_shard import grade_shard
from tasks.method import Method
from tasks.workbench import Workbench


class Round:
    """One round of one shard while it runs in this process. Opaque to Prefect: only its label and counts leave it."""

    def __init__(self, bench: Workbench, shard: int, rounds_left: int, draws: dict[Pair, list[Draw]]) -> None:
        self.bench = bench
        self.draws = draws
        self.complete: dict[Pair, list[str]] = {}
        self.priority = (-rounds_left, shard)

    def owed(self) -> list[int]:
        """The trajectory numbers k that some run of the shard still lacks."""
        stored, given_up = self.bench.trajectories, self.bench.given_up
        return sorted(
            {
                k
                for draws in self.draws.values()
                for k, draw in enumerate(draws)
                if not stored.finished(draw.id) and draw.id not in given_up
            }
        )


@task(name="generate", task_run_name="{label} k{k:02d}", cache_policy=NO_CACHE, persist_result=False)
async def generate_trajectories(k: int, label: str, round: Round, step: int) -> int:
    """Generate trajectories k, k + step, … of every (problem, run) of a round; return how many were owed."""
    return await generate(
        round.bench, [draw for draws in round.draws.values() for draw in draws[k::step]], round.priority
    )


@task(name="commit", task_run_name="{label} commit", cache_policy=NO_CACHE, persist_result=False)
async def commit(label: str, round: Round, method: Method, number: int) -> int:
    """Commit a round of a shard; return how many of its runs are complete."""
    round.complete = await commit_round(round.bench, method, number, round.draws)
    return len(round.complete)


@task(name="grade", task_run_name="grade s{shard:02d}", cache_policy=NO_CACHE, persist_result=False)
async def grade(shard: int, bench: Workbench) -> int:
    """Grade a shard's trajectories; return how many were graded."""
    return await grade_shard(bench, bench.plan.shards[shard])
