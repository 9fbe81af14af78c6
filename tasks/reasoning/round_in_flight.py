"""A round of a shard while it runs: runs enter it one by one, its trajectories go to the K that generate them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial

from tasks.reasoning.draw import Draw, Pair

Asked = tuple[Draw, Callable[[], None]]
"""A trajectory asked for, and what to call when it is there or has failed."""


class RoundInFlight:
    """Run by run: a (problem, run) enters as soon as its own last round is complete and waits for no stranger.

    Generator k takes the k-th draw of every run, and ends when all runs have entered or were left out.
    """

    def __init__(self, pairs: Iterable[Pair], width: int) -> None:
        self.draws: dict[Pair, list[Draw]] = {}
        self._expected = set(pairs)
        self._queues: list[asyncio.Queue[Asked | None]] = [asyncio.Queue() for _ in range(width)]
        self._owed: dict[Pair, int] = {}
        self._complete: dict[Pair, asyncio.Event] = {}

    async def enter(self, pair: Pair, draws: list[Draw]) -> None:
        """Hand a run's K draws to the generators; return when each is there or has failed."""
        self.draws[pair] = draws
        self._owed[pair] = len(draws)
        self._complete[pair] = asyncio.Event()
        for queue, draw in zip(self._queues, draws, strict=True):
            queue.put_nowait((draw, partial(self._ended, pair)))
        self.leave_out(pair)
        await self._complete[pair].wait()

    def leave_out(self, pair: Pair) -> None:
        """Expect nothing more of a run."""
        self._expected.discard(pair)
        if not self._expected:
            for queue in self._queues:
                queue.put_nowait(None)

    async def asked(self, k: int) -> AsyncIterator[Asked]:
        """Draw k of every run, as the runs enter."""
        while asked := await self._queues[k].get():
            yield asked

    def _ended(self, pair: Pair) -> None:
        self._owed[pair] -= 1
        if not self._owed[pair]:
            self._complete[pair].set()
