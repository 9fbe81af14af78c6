"""Generate trajectories that the store does not hold yet."""

import asyncio
import time
from collections.abc import AsyncIterable, Callable
from dataclasses import asdict
from datetime import UTC, datetime

from infra.engine import Away, Completion, EngineError, TooLong
from infra.table import Row
from tasks.compaction import conclusion
from tasks.fingerprint import seed_of
from tasks.reasoning.draw import Draw
from tasks.reasoning.round_in_flight import Asked
from tasks.reasoning.workbench import Workbench


class IncompleteError(RuntimeError):
    """Some trajectories failed; they are recorded with their errors and owed again in the next run."""


async def generate(bench: Workbench, asked: AsyncIterable[Asked], priority: tuple[int, ...]) -> int:
    """Generate what is owed of the trajectories asked for, as they come, and return how many that was.

    One at a time waits for a place in flight, so memory does not grow with what is asked.

    Args:
        bench: the campaign's workbench.
        asked: what the store holds, or another caller is generating, is not sent again.
        priority: who goes first when all places are taken, see `Slots`.

    Raises:
        IncompleteError: some failed when their tries were used up.
        Away: no engine answers, and none did for long.
        StoreError: what was generated can not be stored.
    """
    owed: list[str] = []
    try:
        async with asyncio.TaskGroup() as group:
            async for draw, ended in asked:
                if bench.trajectories.finished(draw.id) or draw.id in bench.given_up:
                    ended()
                    continue
                owed.append(draw.id)
                running = bench.in_flight.get(draw.id)
                if not running:
                    running = bench.in_flight[draw.id] = asyncio.Event()
                    await _place(bench, draw, priority)
                    group.create_task(_generate_one(bench, draw))
                group.create_task(_tell(running, ended))
    except* Exception as errors:
        raise errors.exceptions[0] from None
    failed = [bench.given_up[id] for id in owed if id in bench.given_up]
    if failed:
        raise IncompleteError(f"{len(failed)} of {len(owed)} trajectories failed, the first with: {failed[0]}")
    return len(owed)


async def _place(bench: Workbench, draw: Draw, priority: tuple[int, ...]) -> None:
    """Wait for a place in flight; cancelled, let go whoever waits for the draw."""
    try:
        await bench.slots.acquire(priority)
    except asyncio.CancelledError:
        bench.in_flight.pop(draw.id).set()
        raise


async def _tell(running: asyncio.Event, ended: Callable[[], None]) -> None:
    await running.wait()
    ended()


async def _generate_one(bench: Workbench, draw: Draw) -> None:
    """Generate one trajectory in a place that the caller acquired."""
    try:
        if not bench.trajectories.finished(draw.id):  # by another process, while this one waited for the place
            await bench.add(await _trajectory(bench, draw))
    finally:
        bench.slots.release()
        bench.in_flight.pop(draw.id).set()


async def _trajectory(bench: Workbench, draw: Draw) -> Row:
    model, generation, started = bench.campaign.sampler.model, bench.reruns.generation(draw.id), datetime.now(UTC)
    began = time.monotonic()
    try:
        if error := draw.error or bench.too_long.get(draw.prompt):
            raise TooLong(error)
        completion = await bench.engine.complete(draw.chat, bench.campaign.sampler, seed_of(draw.id))
    except Away:
        raise
    except EngineError as error:
        seconds = time.monotonic() - began
        nothing = Completion(None, None, "error", 0, 0, 0, 0, "", started, seconds, error.attempts)
        return trajectory_row(model, draw, nothing, f"{type(error).__name__}: {error}", generation)
    return trajectory_row(model, draw, completion, None, generation)


def trajectory_row(model: str, draw: Draw, completion: Completion, error: str | None, generation: int = 0) -> Row:
    """The row of the trajectories table; compaction happens here."""
    return {
        "id": draw.id,
        "problem": draw.problem,
        "prompt": draw.prompt,
        "round": draw.round,
        "draw": draw.number,
        "seed": seed_of(draw.id),
        "model": model,
        "message": None if error else conclusion(completion.content),
        "references": list(draw.references),
        "overflow": draw.overflow,
        "error": error,
        "generation": generation,
        **asdict(completion),
    }
