"""Who generates next when more trajectories wait than may be in flight."""

import asyncio
import heapq
from itertools import count


class Slots:
    """A bounded number of places, given to the lowest priority first and to the first come within one.

    Rounds that have the longest chain of rounds after them go first: what remains at the end then runs side by side.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: list[tuple[tuple[int, ...], int, asyncio.Future[None]]] = []
        self._arrival = count()

    async def acquire(self, priority: tuple[int, ...]) -> None:
        """Wait for a place; give it back with `release`."""
        if self._free > 0:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._arrival), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Hand the place to the next in line."""
        while self._waiting:
            turn = heapq.heappop(self._waiting)[-1]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
