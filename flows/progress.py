"""How far a campaign is: a Prefect artifact, refreshed while it runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from tasks.reasoning.workbench import Workbench

SECONDS = 15


@asynccontextmanager
async def progress_artifact(bench: Workbench) -> AsyncIterator[None]:
    """Keep a progress artifact up to date inside the block."""
    artifact = await acreate_progress_artifact(
        bench.progress.percent, key="progress", description=bench.progress.line()
    )
    watch = asyncio.create_task(_watch(bench, artifact))
    try:
        yield
        bench.progress.settle()
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        await aupdate_progress_artifact(artifact, bench.progress.percent, description=bench.progress.line())


async def _watch(bench: Workbench, artifact: UUID) -> None:
    while True:
        await asyncio.sleep(SECONDS)
        with contextlib.suppress(Exception):  # the campaign does not depend on its progress bar
            await aupdate_progress_artifact(artifact, bench.progress.percent, description=bench.progress.line())
