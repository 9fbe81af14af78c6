"""Grading: many answers by one grader, in worker processes that may hang or die without taking the run along.

Each worker has a pipe of its own, so nothing that it holds when it is killed can block another. (Pebble and
the standard pools share one locked queue; a worker killed at the wrong moment stops them for good:
github.com/noxdafox/pebble/issues/163.) Workers are started with `python -m tasks.graders.grading_pool`, neither forked
(s3fs would not survive it) nor spawned by multiprocessing (which would import the caller's main module again). They
bound what a model's text can do by accident; they are not a security sandbox.
"""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from tasks.graders import Grader, Verdict, load_grader

Pair = tuple[str, str]
"""A ground truth and a message."""

BOUNDED = {"choice", "countdown", "exact", "game24", "patch"}
"""Graders that cannot hang and are run in this process."""

SECONDS = {"code": 360.0}
"""How long one grade may take by grader, where it is not 10 s. `code` bounds itself below that."""

MEMORY = 4 * 2**30
"""Bytes of memory that a worker may take, on Linux."""

START_SECONDS = 120.0
"""How long a worker may take to import its grader."""

_READY = "ready"
_OUT_OF_MEMORY = 77
"""Exit status of a worker whose grader ran out of memory."""


class GradingPool:
    """Grades with one grader; workers start with the first grade that needs them.

    Calls from several threads take turns.
    """

    def __init__(self, grader: str, workers: int = 2, seconds: float | None = None) -> None:
        """Make a pool.

        Args:
            grader: a built-in name or `module:function`.
            workers: how many processes grade at once.
            seconds: wall time that one grade may take; absent: `SECONDS`.

        Raises:
            ValueError: there is no such grader.
        """
        self._name = grader
        self._grader = load_grader(grader)
        self._size = workers
        self._seconds = seconds or SECONDS.get(grader, 10.0)
        self._workers: list[_Worker] = []
        self._turn = threading.Lock()
        self._closed = False

    def grade(self, pairs: list[Pair]) -> list[Verdict]:
        """Grade ground truths and messages; equal pairs are graded once.

        A grade that takes too long, raises, or kills its worker is `ungraded` with the reason.

        Returns:
            One verdict for each pair, in the same order.

        Raises:
            RuntimeError: a worker cannot start, or the pool was closed.
        """
        unique = dict.fromkeys(pairs)
        if self._name in BOUNDED:
            verdicts = {pair: _judge(self._grader, pair) for pair in unique}
        else:
            with self._turn:
                if self._closed:
                    raise RuntimeError("the grading pool was closed")
                verdicts = self._grade_in_workers(deque(unique))
        return [verdicts[pair] for pair in pairs]

    def close(self) -> None:
        """Kill the workers. A `grade` under way in another thread raises `RuntimeError`."""
        self._closed = True
        for worker in list(self._workers):
            worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _grade_in_workers(self, owed: deque[Pair]) -> dict[Pair, Verdict]:
        verdicts: dict[Pair, Verdict] = {}
        busy: list[_Worker] = []
        try:
            while owed or busy:
                self._hand_out(owed, busy)
                patience = min(worker.deadline for worker in busy) - time.monotonic()
                wait([worker.pipe for worker in busy], timeout=max(0.0, patience))
                for worker in list(busy):
                    if verdict := worker.verdict():
                        verdicts[worker.pair] = verdict
                        busy.remove(worker)
                if self._closed:
                    raise RuntimeError("the grading pool was closed")
        except BaseException:  # whatever a busy worker says now would be taken for the answer to a later pair
            for worker in busy:
                worker.kill()
            raise
        return verdicts

    def _hand_out(self, owed: deque[Pair], busy: list["_Worker"]) -> None:
        """Give an owed pair to every idle worker, and start those that are missing."""
        self._workers = [worker for worker in self._workers if worker.is_alive()]
        while len(self._workers) < min(self._size, len(busy) + len(owed)):
            self._workers.append(_Worker(self._name, self._seconds))
        for worker in self._workers:
            if owed and worker not in busy:
                busy.append(worker)
                worker.give(owed.popleft())


class _Worker:
    """One process that grades one pair at a time."""

    def __init__(self, grader: str, seconds: float) -> None:
        self.pipe, theirs = Pipe()
        self.pair: Pair = ("", "")
        self.deadline = time.monotonic() + START_SECONDS
        self._ready = False
        self._seconds = seconds
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  (our own module; the name was loaded before)
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "tasks.graders.grading_pool",
                    str(theirs.fileno()),
                    grader,
                    str(seconds),
                ],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a grader prints must not mix with the report
                process_group=0,  # Ctrl-C is the pool's to handle
            )

    def give(self, pair: Pair) -> None:
        """Send a pair; the first time, wait until the process has imported its grader."""
        if not self._ready:
            self._await_start()
        self.pair = pair
        self.deadline = time.monotonic() + self._seconds
        with suppress(OSError):  # it died while idle: `verdict` will say so
            self.pipe.send(pair)

    def verdict(self) -> Verdict | None:
        """Return what became of the pair; None while it is being graded in time."""
        try:
            if self.pipe.poll():
                verdict: Verdict = self.pipe.recv()
                return verdict
        except (EOFError, OSError):
            return Verdict("ungraded", None, self._end())
        if time.monotonic() < self.deadline:
            return None
        self.kill()
        return Verdict("ungraded", None, f"timed out after {self._seconds:g} s")

    def is_alive(self) -> bool:
        """Whether the process can take another pair."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process and what it started."""
        if self.is_alive():
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _await_start(self) -> None:
        try:
            self._ready = self.pipe.poll(self.deadline - time.monotonic()) and self.pipe.recv() == _READY
        except (EOFError, OSError):
            self._ready = False
        if not self._ready:
            end = self._end() if not self.is_alive() else f"not ready after {START_SECONDS:g} s"
            self.kill()
            raise RuntimeError(f"a grading worker did not start ({end}): see its error output above")

    def _end(self) -> str:
        """Say how the process ended, in words."""
        status = self._process.wait()
        if status == _OUT_OF_MEMORY:
            return f"the grader needed more than {MEMORY // 2**30} GiB"
        if status < 0:
            return f"the grader's process was killed by {signal.Signals(-status).name}"
        return f"the grader's process ended with status {status}"


def _judge(grader: Grader, pair: Pair) -> Verdict:
    try:
        verdict = grader(*pair)
    except MemoryError:
        raise
    except Exception as error:
        return Verdict("ungraded", None, f"{type(error).__name__}: {error}".partition("\n")[0][:300])
    if not isinstance(verdict, Verdict):
        return Verdict("ungraded", None, f"the grader returned {type(verdict).__name__}, not a Verdict")
    return verdict


def _serve(pipe: "Connection[Any, Any]", name: str, seconds: float) -> None:
    """Grade what comes through the pipe until it closes: the worker's side."""
    _limit(resource.RLIMIT_DATA, MEMORY)
    grader = load_grader(name)
    pipe.send(_READY)
    with suppress(EOFError):
        while True:
            pair = pipe.recv()
            # Should the pool's own process be killed, only this ends a worker that hangs.
            _limit(resource.RLIMIT_CPU, int(time.process_time() + 10 * seconds) + 1)
            pipe.send(_judge(grader, pair))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


if __name__ == "__main__":
    try:
        _serve(Connection(int(sys.argv[1])), sys.argv[2], float(sys.argv[3]))
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
