"""A Prefect server for one command, where none is set: it ends with the command, however that ends.

Prefect starts such a server by itself, too; that one outlives a SIGKILL of its parent, dies of the Ctrl-C that its
parent handles, and stays away when it dies.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from prefect.context import refresh_global_settings_context
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    get_current_settings,
)

from flows import PrefectError

WATCH_SECONDS = 1.0

_own: "_Server | None" = None


@asynccontextmanager
async def prefect_server() -> AsyncIterator[None]:
    """Nothing where PREFECT_API_URL is set; else a server of our own, started again at the same place when it dies.

    It stays until the process ends, because Prefect sends its last events and logs when the interpreter exits.

    Raises:
        PrefectError: the one that is set does not answer, or ours does not start.
    """
    global _own
    if not _own and (url := PREFECT_API_URL.value()):
        if not await asyncio.to_thread(_answers, url):
            raise PrefectError(f"Prefect's API at {url} does not answer; start it, or unset PREFECT_API_URL")
        yield
        return
    if not _own:
        _own = _Server()
        await asyncio.to_thread(_own.start)
        os.environ["PREFECT_API_URL"] = _own.url
        refresh_global_settings_context()
    watch = asyncio.create_task(_keep(_own))
    try:
        yield
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _keep(server: "_Server") -> None:
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        if server.process.poll() is not None:
            with contextlib.suppress(PrefectError):  # then the next time
                await asyncio.to_thread(server.start)


class _Server:
    """The server's process. It reads its end from a pipe whose other end dies with us."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        """Return when it answers."""
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "flows.prefect_server", str(self.port)],
            env={
                **os.environ,
                **get_current_settings().to_environment_variables(exclude_unset=True),
                "PREFECT_UI_ENABLED": "0",
                "PREFECT__SERVER_EPHEMERAL": "1",
                "PREFECT__SERVER_FINAL": "1",
            },
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        while time.monotonic() < deadline and self.process.poll() is None:
            if _answers(self.url):
                return
            time.sleep(0.1)
        self.process.kill()
        self.process.wait()
        raise PrefectError("Prefect's server does not start; see `prefect server start`, or set PREFECT_API_URL")


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx2.HTTPError, ValueError):
        return httpx2.get(f"{url}/health", timeout=10).is_success
    return False


def _serve(port: int) -> None:
    import uvicorn

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, daemon=True).start()
    create_app = "prefect.server.api.server:create_app"
    uvicorn.run(create_app, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on")


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
