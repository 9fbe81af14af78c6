"""The `campaign` flow: plan, pool, shards × rounds, grade, report."""

import asyncio

from prefect import flow, unmapped
from prefect.client.schemas.objects import State

from flows.artifacts import report_artifacts
from flows.interruption import until_interrupted
from flows.progress import progress_artifact
from flows.reason import reason
from flows.steps import Shard, expected, fill_pool, grade, only_incomplete
from infra.event_loop_runner import EventLoopTaskRunner, finished
from tasks.campaign.campaign_file import Campaign
from tasks.campaign.plan import POOL_TASKS
from tasks.grade_shard import owed_verdicts
from tasks.reasoning.generate import IncompleteError
from tasks.reasoning.workbench import Workbench, open_workbench
from tasks.report.books import Books
from tasks.report.exhibits.evidence import Evidence
from tasks.report.status import status
from tasks.report.table_files import write_table

STARTS = 2
"""Subflow runs that may be starting at once: Prefect's SQLite answers more with 503."""


@flow(name="campaign", flow_run_name="{campaign.name}", task_runner=EventLoopTaskRunner(), persist_result=False)
async def campaign(campaign: Campaign) -> State[None] | None:
    """Run a campaign, or what is missing of it. A signal ends it as Interrupted.

    Raises:
        IncompleteError: something failed; what finished is stored, the report says what is missing.
        CampaignError: the file names something that is not there.
        EngineError: the engine can not be used.
        StoreError: the store can not be used.
    """
    return await until_interrupted(_campaign(campaign), campaign)


async def _campaign(campaign: Campaign) -> None:
    async with open_workbench(campaign) as bench:
        starts = asyncio.Semaphore(STARTS)
        try:
            async with progress_artifact(bench), asyncio.TaskGroup() as shards:
                for shard in bench.turns:
                    shards.create_task(_shard(bench, shard, starts))
        except ExceptionGroup as errors:
            raise expected(errors) or errors from None
        await bench.trajectories.commit()
        await asyncio.to_thread(bench.consolidate)
    evidence = Evidence(await asyncio.to_thread(Books, bench.plan))
    await asyncio.to_thread(write_table, bench.plan, evidence.lines)
    await report_artifacts(evidence)
    if not (state := status(evidence.books)).complete:
        raise IncompleteError(state.what_is_missing())


async def _shard(bench: Workbench, number: int, starts: asyncio.Semaphore) -> None:
    """Fill the pool of a shard's problems, take every method through its rounds, grade. What fails is in the store."""
    plan, shard = bench.plan, Shard(bench, number)
    step = min(plan.campaign.pool, POOL_TASKS)
    rounds_left = max((len(method.rounds) for method in plan.reasoning), default=1) - 1
    pool = fill_pool.map(owed, unmapped(shard), step, rounds_left) if (owed := shard.owed_pool(step)) else []
    due = [method.name for method in plan.reasoning if not bench.all_committed(method, shard.problems)]
    states, *_ = await asyncio.gather(finished(pool), *(_start(starts, plan.campaign, name, number) for name in due))
    await only_incomplete(states)
    if any(owed_verdicts(bench, problem) for problem in shard.problems):
        await only_incomplete(await finished([grade.submit(shard)]))


async def _start(starts: asyncio.Semaphore, campaign: Campaign, method: str, shard: int) -> None:
    """Run `reason`; only as many as there are `starts` are between their call and their running."""
    await starts.acquire()
    waiting = [starts]

    async def is_running(*_: object, **__: object) -> None:
        if waiting:
            waiting.pop().release()

    try:
        state = await reason.with_options(on_running=[is_running])(campaign, method, shard, return_state=True)
    finally:
        await is_running()
    await only_incomplete([state])
