"""Run the campaign flow in this process and show how far it is."""

import asyncio
import contextlib

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from flows import InterruptedRunError
from flows.campaign import campaign as campaign_flow
from flows.interruption import INTERRUPTED, cancel_at_signal
from flows.prefect_server import prefect_server
from flows.steps import expected
from tasks.campaign.plan import Plan
from tasks.reasoning.workbench import Workbench, open_workbench

PLAIN_SECONDS = 30.0
"""Between two lines of progress where there is no terminal."""


async def run_campaign(plan: Plan, console: Console) -> str | None:
    """Run the flow to its end; progress goes to the console: a bar on a terminal, plain lines elsewhere.

    SIGTERM, SIGUSR1 and Ctrl-C interrupt it: what finished is stored first.

    Returns:
        None when the campaign is complete, else what is missing and why.

    Raises:
        InterruptedRunError: a signal ended it.
        CampaignError: the file asks for what the model can not do; nothing was started.
        EngineError: the engine can not be used; nothing was started.
        StoreError: the store can not be used; nothing was started.
    """
    if this := asyncio.current_task():
        cancel_at_signal(this, plan.campaign.grace_seconds)
    started = False
    try:
        async with open_workbench(plan.campaign) as bench, prefect_server():
            started = True
            showing = asyncio.create_task(_show(bench, console))
            try:
                state = await campaign_flow(plan.campaign, return_state=True)
                if state.name == INTERRUPTED:
                    raise InterruptedRunError(state.message)
                await state.aresult()
            finally:
                showing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await showing
    except Exception as error:
        if started and (failure := expected(error)):
            return str(failure)
        raise
    return None


async def _show(bench: Workbench, console: Console) -> None:
    if not console.is_terminal:
        while True:
            await asyncio.sleep(PLAIN_SECONDS)
            console.print(bench.progress.line(), soft_wrap=True)
    columns = BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[line]}")
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=100, line="")
        while True:
            bar.update(task, completed=bench.progress.percent, line=bench.progress.line())
            await asyncio.sleep(0.5)
