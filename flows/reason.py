"""The `reason` flow: one method on one shard, round after round."""

from prefect import flow, unmapped

from flows.steps import Round, commit, generate_trajectories
from infra.event_loop_runner import EventLoopTaskRunner, finished
from infra.filesystem import StoreError
from tasks.campaign_file import Campaign
from tasks.draw import Pair, round_draws
from tasks.generate import IncompleteError
from tasks.method import Method
from tasks.workbench import Workbench, open_workbench


@flow(
    name="reason",
    flow_run_name="{method} s{shard:02d}",
    task_runner=EventLoopTaskRunner(),
    persist_result=False,
    log_prints=False,
)
async def reason(campaign: Campaign, method: str, shard: int) -> None:
    """Take every (problem, run) of a shard through the rounds of a method. What the store holds is not done again.

    Args:
        campaign: the campaign.
        method: one of its methods, by name.
        shard: which of its shards (from 0).

    Raises:
        IncompleteError: a round of some run lacks its quorum; the other runs went on to the end.
        StoreError: the store refuses.
    """
    async with open_workbench(campaign) as bench:
        method_ = bench.plan.method(method)
        pairs: dict[Pair, list[str]] = {
            (problem, run): [] for problem in bench.plan.shards[shard] for run in range(campaign.runs)
        }
        runs = len(pairs)
        for number in range(1, len(method_.rounds) + 1):
            pairs = await _round(bench, method_, shard, number, pairs)
        if len(pairs) < runs:
            raise IncompleteError(
                f"{method}, shard {shard}: {runs - len(pairs)} of {runs} runs are incomplete; run the campaign again"
            )


async def _round(
    bench: Workbench, method: Method, shard: int, number: int, last: dict[Pair, list[str]]
) -> dict[Pair, list[str]]:
    """Run one round; return the ids of its trajectories for each run that is complete."""
    committed = {pair: row["trajectories"] for pair in last if (row := bench.committed(method, *pair, number))}
    due = {pair: ids for pair, ids in last.items() if pair not in committed}
    if not due:
        return committed
    round = Round(bench, shard, len(method.rounds) - number, await round_draws(bench, method, number, due))
    label = f"{method.name} s{shard:02d} r{number}"
    generated = (
        generate_trajectories.map(round.owed(), label, unmapped(round), method.widths[number - 1])
        if round.owed()
        else []
    )
    await finished(generated)
    (state,) = await finished(
        [commit.submit(label, round, method, number, return_state=False, wait_for=list(generated))]
    )
    if state.is_failed() and isinstance(error := await state.aresult(raise_on_failure=False), StoreError):
        raise error
    return {pair: ids for pair in last if (ids := committed.get(pair) or round.complete.get(pair))}
