"""The command in this process, on one Prefect server for all tests, and simulators in threads of their own."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import flows  # noqa: F401  (sets how Prefect's server is started)
from tests.simulator import Simulator

Simulate = Callable[..., AbstractContextManager[Simulator]]


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    """Run a simulator beside the test: `with simulate(slots=4) as server`."""

    @contextmanager
    def run(**options: Any) -> Iterator[Simulator]:
        loop, server = asyncio.new_event_loop(), Simulator(**options)
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    return run


@dataclass
class Ended:
    """What a command printed, and its exit status."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on standard error."""
        (line,) = self.err.splitlines()
        return line


Pacore = Callable[..., Ended]


@pytest.fixture
def pacore(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pacore:
    """Run a `pacore` command in this process."""
    from flows.cli import main

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr("sys.argv", ["pacore", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run
