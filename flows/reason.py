"""The `reason` flow: one method on one shard, round after round."""

import asyncio

from prefect import flow, unmapped
from prefect.client.schemas.objects import State

from flows.interruption import until_interrupted
from flows.steps import Shard, commit, expected, generate_trajectories, only_incomplete
from infra.event_loop_runner import EventLoopTaskRunner, finished
from tasks.campaign.campaign_file import Campaign
from tasks.campaign.method import Method
from tasks.reasoning.commit_round import quorum
from tasks.reasoning.draw import Pair, round_draws
from tasks.reasoning.generate import IncompleteError
from tasks.reasoning.round_in_flight import RoundInFlight
from tasks.reasoning.workbench import open_workbench


@flow(name="reason", flow_run_name="{method} s{shard:02d}", task_runner=EventLoopTaskRunner(), persist_result=False)
async def reason(campaign: Campaign, method: str, shard: int) -> State[None] | None:
    """Take every (problem, run) of a shard through the rounds of a method. What the store holds is not done again.

    Args:
        campaign: the campaign.
        method: one of its methods, by name.
        shard: which of its shards (from 0).

    Raises:
        IncompleteError: a round of some run lacks its quorum; the other runs went on to the end.
        StoreError: the store refuses.
    """
    return await until_interrupted(_reason(campaign, method, shard), campaign)


async def _reason(campaign: Campaign, method: str, shard: int) -> None:
    async with open_workbench(campaign) as bench:
        work, how = Shard(bench, shard), bench.plan.method(method)
        pairs = [(problem, run) for problem in work.problems for run in range(campaign.runs)]
        due = [pair for pair in pairs if not bench.committed(how, *pair, len(how.rounds))]
        if not due:
            return
        rounds = {number: RoundInFlight(due, width) for number, width in enumerate(how.widths, 1)}
        try:
            async with asyncio.TaskGroup() as group:
                for number, round in rounds.items():
                    group.create_task(_round(work, how, number, round))
                courses = [group.create_task(_course(work, how, pair, rounds)) for pair in due]
        except ExceptionGroup as errors:
            raise expected(errors) or errors from None
        if incomplete := sum(not course.result() for course in courses):
            raise IncompleteError(
                f"{method}, shard {shard}: {incomplete} of {len(pairs)} runs are incomplete; run the campaign again"
            )


async def _round(shard: Shard, method: Method, number: int, round: RoundInFlight) -> None:
    """The task runs of a round: K that generate, then one that commits."""
    generators = generate_trajectories.map(
        range(method.widths[number - 1]), unmapped(shard), unmapped(method), number, unmapped(round)
    )
    await only_incomplete(await finished(generators))
    committed = commit.submit(shard, method, number, round, return_state=False, wait_for=list(generators))
    await only_incomplete(await finished([committed]))


async def _course(shard: Shard, method: Method, pair: Pair, rounds: dict[int, RoundInFlight]) -> bool:
    """One run's way through the rounds; False when one of them lacks its quorum."""
    last: list[str] = []
    for number, round in rounds.items():
        if row := shard.bench.committed(method, *pair, number):
            round.leave_out(pair)
            last = row["trajectories"]
            continue
        draws = await round_draws(shard.bench, method, number, pair, last)
        await round.enter(pair, draws)
        last = quorum(shard.bench, draws)
        if not last:
            for later in range(number + 1, len(method.rounds) + 1):
                rounds[later].leave_out(pair)
            return False
    return True
