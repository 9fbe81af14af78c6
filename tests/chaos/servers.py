"""Servers in process groups of their own, which die by SIGKILL and come back on the same port."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from flows import EPHEMERAL_SERVER
from tests.contract.conftest import CHECKOUT, MOTO_VENV, S3, free_port, tail

START_SECONDS = 90.0


class AbsentError(Exception):
    """A server that is not installed here, and how to have it."""


class Server:
    """A command that serves `url`; inside the `with` block it runs, but for the time between `kill` and `start`."""

    def __init__(self, command: Sequence[object], url: str, log: Path, **environment: str) -> None:
        self.url = url
        self.log = log
        self._command = [str(word) for word in command]
        self._environment = {**os.environ, **environment}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Return when it answers."""
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command, stdout=out, stderr=out, start_new_session=True, cwd=CHECKOUT, env=self._environment
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(self.url, timeout=5):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self._command} does not answer:\n{tail(self.log)}")

    def kill(self) -> None:
        """SIGKILL, to the whole group."""
        kill_group(self._process, signal.SIGKILL)

    def control(self) -> dict[str, Any]:
        """What a simulator or a fault proxy counted since it started."""
        with urllib.request.urlopen(self.url.replace("/health", "/control"), timeout=30) as answer:
            counts: dict[str, Any] = json.load(answer)
        return counts


def kill_group(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Send a signal to a process and all that it started, and wait for it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    process.wait()


def simulator(folder: Path, *options: object) -> Server:
    """The simulated engine; its `url` is that of its health."""
    port = free_port()
    command = [sys.executable, "-m", "tests.simulator", "--port", port, *options]
    return Server(command, f"http://127.0.0.1:{port}/health", folder / "simulator.log")


def prefect(folder: Path) -> Server:
    """A Prefect server of this run's own: its database outlives it."""
    port = free_port()
    command = [Path(sys.executable).with_name("prefect"), "server", "start", "--port", port]
    home = str(folder / "prefect-server")
    return Server(
        command,
        f"http://127.0.0.1:{port}/api/health",
        folder / "prefect.log",
        **{**EPHEMERAL_SERVER, "PREFECT_HOME": home},
    )


@contextmanager
def moto(folder: Path) -> Iterator[S3]:
    """Moto's S3 server, in memory."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    if not (MOTO_VENV / "bin/moto_server").exists():
        raise AbsentError("moto is not installed; to have it: make contract")
    with Server([MOTO_VENV / "bin/moto_server", "-H", "127.0.0.1", "-p", port], url, folder / "moto.log"):
        yield S3(url)


@contextmanager
def ceph(folder: Path) -> Iterator[S3]:
    """Ceph's S3 gateway with a one-node Ceph behind it."""
    script, state, port = CHECKOUT / "tests/contract/start_ceph.sh", folder / "ceph", free_port()
    if not shutil.which("radosgw"):
        raise AbsentError("Ceph is not installed; to have it: apt-get install radosgw ceph-mon ceph-osd")
    try:
        subprocess.run([script, state, str(port)], check=True, stdout=subprocess.DEVNULL)
        yield S3(f"http://127.0.0.1:{port}")
    finally:
        subprocess.run([script, "--stop", state], check=False, stdout=subprocess.DEVNULL)


def fault_proxy(folder: Path, upstream: str, seed: int) -> Server:
    """A proxy that spoils requests to `upstream`; its `url` is that of its counts."""
    port = free_port()
    command = [sys.executable, "-m", "tests.chaos.fault_proxy", upstream, "--port", port, "--seed", seed]
    return Server(command, f"http://127.0.0.1:{port}/control", folder / "proxy.log")
