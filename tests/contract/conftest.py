"""The real servers that the contract tests speak to: vLLM, moto and Ceph, each started once a test session.

A server that is not installed skips its tests and says how to have it; with PACORE_REQUIRE_CONTRACT=1 it
fails them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import pytest
import s3fs

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
VLLM_VENV = Path(os.environ.get("PACORE_VLLM_VENV", CHECKOUT / ".venv-vllm"))
MOTO_VENV = Path(os.environ.get("PACORE_MOTO_VENV", CHECKOUT / ".venv-moto"))

LOG_LINES = 20
LOGS = pytest.StashKey[dict[str, Path]]()


@dataclass(frozen=True)
class S3:
    """An S3 server on loopback and the keys that it knows."""

    endpoint_url: str
    key: str = "testkey"
    secret: str = "testsecret"

    @property
    def environment(self) -> dict[str, str]:
        """What s3fs, boto and pyarrow read to find this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",  # Ceph 16 knows no trailers
        }

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make this server the S3 of the process until the test ends."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.delenv(name, raising=False)

    def filesystem(self) -> s3fs.S3FileSystem:
        """A client of its own, with no listings cache."""
        return s3fs.S3FileSystem(
            endpoint_url=self.endpoint_url,
            key=self.key,
            secret=self.secret,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def make_bucket(self) -> str:
        """Create an empty bucket and return its name."""
        bucket = f"pacore-{uuid4().hex[:12]}"
        self.filesystem().mkdir(bucket)
        return bucket


@pytest.fixture(scope="session")
def vllm_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The base URL of a vLLM server with a tiny random Qwen3, called `tiny-qwen3` there.

    PACORE_TEST_VLLM_URL names a server that already runs (`serve_vllm.sh`), which saves the start.
    """
    if running_already := os.environ.get("PACORE_TEST_VLLM_URL"):
        yield running_already.rstrip("/")
        return
    if not (VLLM_VENV / "bin/vllm").exists():
        absent("vLLM", "tests/contract/setup_vllm.sh")
    with tempfile.TemporaryDirectory(prefix="pacore-vllm-") as folder:
        model, log, port = Path(folder, "model"), Path(folder, "log"), free_port()
        show_on_failure(request.config, "vLLM", log)
        run_to_end([VLLM_VENV / "bin/python", HERE / "tiny_qwen3.py", model], log)
        base = f"http://127.0.0.1:{port}"
        with server([HERE / "serve_vllm.sh", model, port], f"{base}/health", log, seconds=240):
            yield f"{base}/v1"


@pytest.fixture(scope="session")
def moto(request: pytest.FixtureRequest) -> Iterator[S3]:
    """Moto's S3 server: in memory, two seconds to start."""
    if not (MOTO_VENV / "bin/moto_server").exists():
        absent("moto", "tests/contract/setup_moto.sh")
    with tempfile.TemporaryDirectory(prefix="pacore-moto-") as folder:
        log, port = Path(folder, "log"), free_port()
        show_on_failure(request.config, "moto", log)
        url = f"http://127.0.0.1:{port}"
        with server([MOTO_VENV / "bin/moto_server", "-H", "127.0.0.1", "-p", port], url, log, seconds=60):
            yield S3(url)


@pytest.fixture(scope="session")
def ceph(request: pytest.FixtureRequest) -> Iterator[S3]:
    """Ceph's S3 gateway with a one-node Ceph behind it: on disk, twenty seconds to start."""
    with tempfile.TemporaryDirectory(prefix="pacore-ceph-") as folder:
        state, log, port = Path(folder, "state"), Path(folder, "log"), free_port()
        show_on_failure(request.config, "Ceph", log)
        script = HERE / "start_ceph.sh"
        try:
            run_to_end([script, state, port], log, packages_missing=3)
            yield S3(f"http://127.0.0.1:{port}")
        finally:
            if state.exists():
                run_to_end([script, "--stop", state], log)


@pytest.fixture(params=["moto", "ceph"])
def s3(request: pytest.FixtureRequest) -> S3:
    """Each of the two S3 servers in turn."""
    server: S3 = request.getfixturevalue(request.param)
    return server


def absent(what: str, remedy: str) -> NoReturn:
    """Skip the test, or fail it where the contract tests are required."""
    message = f"{what} is not installed; to have it: {remedy}"
    if os.environ.get("PACORE_REQUIRE_CONTRACT") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def run_to_end(command: Sequence[object], log: Path, packages_missing: int | None = None) -> None:
    """Run a command; its output goes to the log. Fail the test when it fails, with the log's last lines."""
    with log.open("ab") as out:
        done = subprocess.run([str(word) for word in command], stdout=out, stderr=out, check=False)
    if packages_missing is not None and done.returncode == packages_missing:
        what, remedy = tail(log).splitlines()[-1].split(": ", 1)
        absent(what.removesuffix(" is missing"), remedy)
    if done.returncode:
        pytest.fail(f"{command[0]} ended with {done.returncode}:\n{tail(log)}", pytrace=False)


@contextmanager
def server(command: Sequence[object], ready_url: str, log: Path, *, seconds: float) -> Iterator[None]:
    """Run a server in a process group of its own, from the moment that it answers to the end of the block."""
    with log.open("ab") as out:
        words = [str(word) for word in command]
        process = subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_until_ready(process, ready_url, log, seconds)
        yield
    finally:
        stop_group(process)


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float) -> None:
    """Return when the URL answers; fail the test when the process ends or the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    state = "did not answer in time" if process.poll() is None else f"ended with {process.returncode}"
    pytest.fail(f"{process.args!r} {state}:\n{tail(log)}", pytrace=False)


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Ask a process group to end; kill what is left of it after 30 seconds."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def show_on_failure(config: pytest.Config, name: str, log: Path) -> None:
    """From now on, a failed test's report holds the last lines of this log."""
    config.stash.setdefault(LOGS, {})[name] = log


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the servers' logs to the report of a failed test in this folder."""
    report = yield
    if report.failed and item.path.parent == HERE:
        for name, log in item.config.stash.get(LOGS, {}).items():
            if log.exists():
                report.sections.append((f"log of {name}", tail(log)))
    return report
