"""The thread that steps the batch while there is anything in it."""

import asyncio
import logging
import threading
from collections import deque
from contextlib import AbstractContextManager, suppress

from threadpoolctl import threadpool_limits

from infra.engine import Unreachable
from infra.local.batch import Batch, Request

log = logging.getLogger(__name__)


def one_blas_thread() -> AbstractContextManager[object]:
    """Keep matrix products to the thread that asks for them, in the whole process, until the block ends.

    These matrices are too small to share out: waiting for BLAS's other threads costs more than they bring, ten times
    as much where the cores are busy. One thread also rounds alike on any number of cores.
    """
    limits: AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits


class LocalLoop:
    """Runs requests, at most `in_flight` at once and the others in turn. Belongs to one event loop."""

    def __init__(self, batch: Batch, in_flight: int) -> None:
        self._batch, self._in_flight = batch, in_flight
        self._waiting: deque[Request] = deque()
        self._futures: dict[Request, asyncio.Future[None]] = {}  # the event loop's alone
        self._changed = threading.Condition()
        self._end: Unreachable | None = None
        self._event_loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="local engine", daemon=True)
        self._thread.start()

    async def run(self, request: Request) -> None:
        """Return when the request is finished; when cancelled, it leaves the batch at the next step."""
        with self._changed:
            if self._end:
                raise self._end
            self._waiting.append(request)
            self._changed.notify()
        try:
            future = self._futures[request] = self._event_loop.create_future()
            await future
        finally:
            request.cancelled = True
            self._futures.pop(request, None)

    async def close(self) -> None:
        """End the thread. Callers still waiting get `Unreachable`."""
        with self._changed:
            self._end = self._end or Unreachable("the engine was closed")
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)
        self._fail()

    def _run(self) -> None:
        try:
            with one_blas_thread():
                while self._turn():
                    pass
        except Exception as error:
            log.exception("the local engine broke")
            self._end = Unreachable(f"the local engine broke: {error!r}; see the log")
            with suppress(RuntimeError):  # the event loop has ended
                self._event_loop.call_soon_threadsafe(self._fail)

    def _turn(self) -> bool:
        """Let requests join, and step once; wait while there is nothing to do. False when the end has come."""
        with self._changed:
            self._changed.wait_for(lambda: self._end or self._waiting or len(self._batch))
            if self._end:
                return False
            joining = self._admitted()
        finished = self._batch.join(joining) if joining else []
        finished += self._batch.step()
        if finished:
            try:
                self._event_loop.call_soon_threadsafe(self._resolve, finished)
            except RuntimeError:  # the event loop has ended
                return False
        return True

    def _admitted(self) -> list[Request]:
        admitted: list[Request] = []
        while self._waiting and len(self._batch) + len(admitted) < self._in_flight:
            request = self._waiting.popleft()
            if not request.cancelled:
                admitted.append(request)
        return admitted

    def _resolve(self, finished: list[Request]) -> None:
        for request in finished:
            future = self._futures.get(request)
            if future and not future.done():
                future.set_result(None)

    def _fail(self) -> None:
        for future in self._futures.values():
            if self._end and not future.done():
                future.set_exception(self._end)
