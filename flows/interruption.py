"""Preemption: a signal ends a flow run in this process; what finished is stored, and the run is marked Interrupted."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import prefect.utilities.engine
from prefect._internal.control_listener import get_intent
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Crashed

from infra.filesystem import StoreError
from tasks.campaign.campaign_file import Campaign
from tasks.reasoning.workbench import store_now

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""SIGUSR1 is the one that Slurm is usually asked to send ahead of time."""
INTERRUPTED = "Interrupted"
"""Name of the state, of type CRASHED: whoever starts crashed runs again starts these."""

told = threading.Event()
"""Set once nothing is left to be stored, and the command itself says what happened."""
_guarding = False
_early: list[signal.Signals] = []


def _leave_to_the_event_loop(number: int, *_: object) -> None:
    """In place of Prefect's handler of SIGTERM, which raises wherever the process just is, in our tasks too."""
    _early.append(signal.Signals(number))


prefect.utilities.engine._prefect_sigterm_handler = _leave_to_the_event_loop  # type: ignore[assignment]


async def until_interrupted(work: Coroutine[Any, Any, None], campaign: Campaign) -> State[None] | None:
    """Await the work of a flow run; the outermost in a process ends at a signal, within the campaign's grace.

    Returns:
        None when the work ended by itself, else the state to end in.
    """
    global _guarding
    if _guarding:
        await work
        return None
    _guarding = True
    task = asyncio.create_task(work)
    try:
        with _signalled() as signalled:
            first: set[asyncio.Future[Any]] = {task, signalled}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return None
            return await _interrupt(task, campaign, signalled.result())
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    finally:
        _guarding = False


async def _interrupt(task: asyncio.Task[None], campaign: Campaign, signal_name: str) -> State[None]:
    """Store what is finished, abort what is not. What does not end in time is left behind with the process."""
    storing = asyncio.create_task(store_now(campaign))
    end_process_after(campaign.grace_seconds, storing)
    task.cancel()
    await asyncio.wait({task, storing}, timeout=0.6 * campaign.grace_seconds)
    lost = not _went_well(storing) or (
        task.done() and not task.cancelled() and isinstance(task.exception(), StoreError)
    )
    stored = "what finished is stored" if not lost else "the store did not take all that finished"
    said = f"interrupted by {signal_name}: {stored}; run the campaign again to go on"
    if get_intent() == "cancel":
        return Cancelled(message=said)
    if get_intent() == "reschedule":  # in a pod: whoever told us has set the state already
        raise TerminationSignal(signal.SIGTERM)
    return Crashed(name=INTERRUPTED, message=said)


def _went_well(storing: asyncio.Task[None]) -> bool:
    return storing.done() and not storing.cancelled() and storing.exception() is None


def cancel_at_signal(task: asyncio.Task[Any], seconds: float) -> None:
    """While no flow runs yet: a signal cancels what leads up to it, and ends the process after so many seconds."""

    def cancel() -> None:
        end_process_after(seconds)
        task.cancel()

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, cancel)


@contextmanager
def _signalled() -> Iterator[asyncio.Future[str]]:
    """The name of the first signal, once it is there."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[str] = loop.create_future()

    def note(number: signal.Signals) -> Callable[[], None]:
        return lambda: None if first.done() else first.set_result(number.name)

    if threading.current_thread() is not threading.main_thread():  # no signal arrives here
        yield first
        return
    for number in SIGNALS:
        loop.add_signal_handler(number, note(number))
    if _early:  # between Prefect's start of the run and this moment
        note(_early[0])()
    try:
        yield first
    finally:
        if not first.done():
            for number in SIGNALS:
                loop.remove_signal_handler(number)


def end_process_after(seconds: float, storing: asyncio.Task[None] | None = None) -> None:
    """Exit with status 1 unless the process ends before, whatever hangs."""

    def end() -> None:
        if not told.is_set():
            stored = (
                "what finished is stored" if not storing or _went_well(storing) else "not all that finished is stored"
            )
            sys.stderr.write(f"pacore: interrupted; {stored}; run the campaign again to go on\n")
            sys.stderr.flush()
        os._exit(1)

    timer = threading.Timer(0.9 * seconds, end)
    timer.daemon = True
    timer.start()
