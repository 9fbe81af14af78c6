"""Run the campaign flow in this process and show how far it is."""

import asyncio
import contextlib
import signal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from flows.campaign import campaign as campaign_flow
from infra.engine import EngineError
from infra.filesystem import StoreError
from tasks.generate import IncompleteError
from tasks.plan import Plan
from tasks.workbench import Workbench, open_workbench

PLAIN_SECONDS = 30.0
"""Between two lines of progress where there is no terminal."""


async def run_campaign(plan: Plan, console: Console) -> str | None:
    """Run the flow to its end; progress goes to the console: a bar on a terminal, plain lines elsewhere.

    SIGTERM stops it as Ctrl-C does: what finished is stored first.

    Returns:
        None when the campaign is complete, else what is missing and why.

    Raises:
        CampaignError: the file asks for what the model can not do; nothing was started.
        EngineError: the engine can not be used; nothing was started.
        StoreError: the store can not be used; nothing was started.
    """
    if this := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    started = False
    try:
        async with open_workbench(plan.campaign) as bench:
            started = True
            showing = asyncio.create_task(_show(bench, console))
            try:
                await campaign_flow(plan.campaign)
            finally:
                showing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await showing
    except Exception as error:
        if started and (expected := _expected(error)):
            return str(expected)
        raise
    return None


def _expected(error: Exception) -> Exception | None:
    """The expected failure that an error is, or that a group of tasks' errors holds."""
    if isinstance(error, ExceptionGroup):
        return next(filter(None, map(_expected, error.exceptions)), None)
    return error if isinstance(error, IncompleteError | EngineError | StoreError) else None


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
