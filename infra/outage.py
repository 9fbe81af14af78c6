"""Waiting while no server answers: one asks again and again, all others wait for it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from infra.engine import Away, EngineError

log = logging.getLogger("pacore.engine")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
"""Between two probes; every pause is twice the last."""


class Outage:
    """Whether any server answers. Requests that failed ask `passed`; those that come meanwhile wait in `over`.

    Args:
        probe: one cheap request to every server; raises `EngineError` when none answers it.
        patience: seconds without an answer, after which waiting ends with `Away`.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]], patience: float) -> None:
        self._probe = probe
        self._patience = patience
        self._watch: asyncio.Task[bool] | None = None

    async def over(self) -> None:
        """Return at once unless an outage is being waited for. Raises `Away`."""
        if self._watch:
            await asyncio.shield(self._watch)

    async def passed(self) -> bool:
        """Whether servers were away, and one answers again; False at once where one answers. Raises `Away`."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._wait())
            self._watch.add_done_callback(self._ended)
        return await asyncio.shield(self._watch)

    async def close(self) -> None:
        """Stop asking."""
        if self._watch:
            self._watch.cancel()

    async def _wait(self) -> bool:
        since, began, pause = datetime.now(UTC), time.monotonic(), 0.0
        while error := await self._silence():
            away = time.monotonic() - began
            if away >= self._patience:
                raise Away(
                    f"no engine has answered since {since:%Y-%m-%d %H:%M} UTC ({error}); what finished is stored: "
                    "start it, then run the campaign again"
                )
            if not pause:
                log.warning("no engine answers, waiting for up to %.0f s: %s", self._patience, error)
            pause = min(2 * pause or FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(min(pause, self._patience - away))
        if pause:
            log.warning("an engine answers again, after %.0f s", time.monotonic() - began)
        return pause > 0

    async def _silence(self) -> EngineError | None:
        try:
            await self._probe()
        except EngineError as error:
            return error
        return None

    def _ended(self, watch: asyncio.Task[bool]) -> None:
        if watch.cancelled() or watch.exception() is None:
            self._watch = None  # a patience that ran out stays so: who comes later is told at once
