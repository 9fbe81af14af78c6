import asyncio

import pytest

from tasks.reasoning.slots import Slots


async def holder(slots: Slots, priority: tuple[int, ...], order: list[tuple[int, ...]]) -> None:
    await slots.acquire(priority)
    order.append(priority)
    await asyncio.sleep(0)
    slots.release()


async def test_no_more_than_the_places_are_held_at_once() -> None:
    slots, held, most = Slots(3), 0, 0

    async def hold() -> None:
        nonlocal held, most
        await slots.acquire((0,))
        held += 1
        most = max(most, held)
        await asyncio.sleep(0.001)
        held -= 1
        slots.release()

    await asyncio.gather(*(hold() for _ in range(20)))
    assert most == 3


async def test_a_place_that_comes_free_goes_to_the_lowest_priority_and_within_one_to_the_first_come() -> None:
    slots, order = Slots(1), list[tuple[int, ...]]()
    await slots.acquire((0,))
    waiting = [asyncio.create_task(holder(slots, priority, order)) for priority in [(0, 1), (-2, 5), (0, 0), (-2, 5)]]
    await asyncio.sleep(0)
    slots.release()
    await asyncio.gather(*waiting)
    assert order == [(-2, 5), (-2, 5), (0, 0), (0, 1)]


async def test_one_who_gives_up_waiting_takes_no_place() -> None:
    slots = Slots(1)
    await slots.acquire((0,))
    waiting = [asyncio.create_task(slots.acquire((n,))) for n in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    slots.release()
    async with asyncio.timeout(1):
        await waiting[1]


async def test_a_place_given_to_one_who_is_cancelled_at_that_moment_is_passed_on() -> None:
    slots = Slots(1)
    await slots.acquire((0,))
    first = asyncio.create_task(slots.acquire((0,)))
    await asyncio.sleep(0)
    slots.release()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(1):
        await slots.acquire((0,))
