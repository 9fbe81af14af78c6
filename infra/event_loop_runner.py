"""A Prefect task runner for async tasks on the flow's own event loop: one connection pool, no thread a task."""

import asyncio
from collections.abc import Iterable
from typing import Any, Self
from uuid import uuid4

from prefect.client.schemas.objects import RunInput, State
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.task_engine import run_task_async
from prefect.task_runners import TaskRunner
from prefect.tasks import Task


class EventLoopTaskRunner(TaskRunner[PrefectFuture[Any]]):
    """`task.submit` and `task.map` start async tasks as coroutines of the running loop.

    The futures' blocking methods would block that loop: wait for them with `finished`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def duplicate(self) -> Self:
        """It has no configuration."""
        return type(self)()

    def submit(
        self,
        task: Task[Any, Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[RunInput]] | None = None,
    ) -> PrefectFuture[Any]:
        """Start a task whose `wait_for` has finished."""
        task_run_id = uuid4()
        run = run_task_async(
            task=task,
            task_run_id=task_run_id,
            parameters=parameters,
            wait_for=wait_for,
            return_type="state",
            dependencies=dependencies,
        )
        return PrefectConcurrentFuture(
            task_run_id=task_run_id,
            wrapped_future=asyncio.run_coroutine_threadsafe(run, asyncio.get_running_loop()),
        )


async def finished(futures: Iterable[PrefectFuture[Any]]) -> list[State[Any]]:
    """The final states of submitted tasks, once all have one. Cancelled, it cancels them."""
    states: list[State[Any]] = await asyncio.gather(
        *(
            asyncio.wrap_future(future.wrapped_future)
            for future in futures
            if isinstance(future, PrefectConcurrentFuture)
        )
    )
    return states
