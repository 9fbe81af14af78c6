"""A campaign's night: `pacore run` as users run it, again and again until it is complete, and what came of it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from infra.table import Row, Table
from tasks.campaign.campaign_file import load_campaign
from tasks.campaign.plan import make_plan
from tasks.store.tables import rounds_table, trajectories_table, verdicts_table
from tests.chaos.servers import Server, kill_group

TIMES = {"started", "seconds", "committed", "engine", "attempts", "cached_tokens"}
"""Columns that say when, where and how often, and what the server had cached: they differ from night to night."""
LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 600.0
RUNS_AT_MOST = 10
COMPLETE = 0

Key = tuple[Any, ...]
Rows = dict[str, dict[Key, str]]
"""Of each table: key → digest of the rest of its row, but for `TIMES`."""


@dataclass
class Found:
    """What stands in the store at the end, by the rule that all readers follow."""

    rows: Rows
    duplicated: int

    def differing(self, other: "Found") -> int:
        """Rows that only one of two has, or that are not the same in both."""
        return sum(
            mine.get(key) != theirs.get(key)
            for mine, theirs in ((self.rows[table], other.rows[table]) for table in self.rows)
            for key in mine.keys() | theirs.keys()
        )


@dataclass
class Engine:
    """The server that generates; its counts outlive it. None: the shipped model, in the flow's own process."""

    server: Server | None
    tokens_before: int = 0

    @property
    def tokens(self) -> int:
        """Tokens generated so far, wanted or not."""
        return self.tokens_before + (self.server.control()["tokens"] if self.server else 0)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.server
        self.tokens_before = self.tokens
        self.server.kill()

    def start(self) -> None:
        """Return when it answers again."""
        assert self.server
        self.server.start()


@dataclass
class Night:
    """One campaign in a folder of its own, on an engine, a store and a Prefect server that may fail.

    `environment` is that of the runs; the store is watched with this process's own, past any fault.
    """

    folder: Path
    engine: Engine
    keys: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)
    runs: int = 0
    kills: int = 0
    recoveries: list[float] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    seen: dict[Key, str] = field(default_factory=dict)
    """Committed trajectories, as they were when they were first seen."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "campaign.yaml"
        self.file.write_text(yaml.safe_dump(self.keys))
        plan = make_plan(load_campaign(self.file))
        store, self.partition = plan.campaign.store, plan.partition
        self.trajectories = trajectories_table(store)
        self._tables = [self.trajectories, rounds_table(store), verdicts_table(store)]
        self._logs: dict[int, Path] = {}
        self._looked_into: set[str] = set()
        self._recovering: tuple[float, int] | None = None
        self._tokens_at_first = self.engine.tokens

    @property
    def tokens(self) -> int:
        """Tokens that the engine generated for this campaign."""
        return self.engine.tokens - self._tokens_at_first

    @property
    def seconds_to_recover(self) -> float | None:
        """Mean, from a restart to the first row committed after it, or to the end where none was missing."""
        return fmean(self.recoveries) if self.recoveries else None

    # --- runs ----------------------------------------------------------------------------------------

    def start(self) -> subprocess.Popen[bytes]:
        """Start `pacore run`, in a process group of its own."""
        self.runs += 1
        command = [str(Path(sys.executable).with_name("pacore")), "run", str(self.file)]
        here = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        with (self.folder / f"run{self.runs}.log").open("wb") as log:
            flow = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=here | {"PREFECT_HOME": str(self.folder / "prefect")} | self.environment,
            )
        self._logs[flow.pid] = Path(log.name)
        return flow

    def wait(self, flow: subprocess.Popen[bytes], until: Callable[[], bool] = lambda: False) -> bool:
        """Wait for a moment, and say whether the flow still runs then."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while flow.poll() is None and not until():
            if time.monotonic() > deadline:
                kill_group(flow, signal.SIGKILL)
                raise RuntimeError(f"{self.file}: run {self.runs} hangs")
            self._note_recovery()
            time.sleep(LOOK_SECONDS)
        return flow.poll() is None

    def wait_for(self, flow: subprocess.Popen[bytes], moment: Callable[[], bool]) -> None:
        """Wait for a moment that has to come before the flow ends."""
        if not self.wait(flow, moment):
            raise RuntimeError(f"{self.file}: it ended before its time, see run{self.runs}.log")

    def seconds_from_now(self, seconds: float) -> Callable[[], bool]:
        """The moment that lies so far ahead."""
        then = time.monotonic() + seconds
        return lambda: time.monotonic() >= then

    def tokens_from(self, tokens: int) -> Callable[[], bool]:
        """The moment at which so many tokens are generated."""
        return lambda: self.tokens >= tokens

    def committed_from(self, trajectories: float) -> Callable[[], bool]:
        """The moment at which so many trajectories are committed."""
        return lambda: self.look() >= trajectories

    def finish(self) -> None:
        """Run until the campaign is complete."""
        for _ in range(RUNS_AT_MOST):
            flow = self.start()
            self.wait(flow)
            if self.ended(flow) == COMPLETE:
                return
        raise RuntimeError(f"{self.file}: not complete after {RUNS_AT_MOST} undisturbed runs, see run{self.runs}.log")

    def kill(self, flow: subprocess.Popen[bytes], dice: random.Random) -> None:
        """SIGKILL to the whole process group, or to the flow alone."""
        self.kills += 1
        if dice.random() < 0.5:
            kill_group(flow, signal.SIGKILL)
        else:
            flow.kill()
            flow.wait()

    def ended(self, flow: subprocess.Popen[bytes]) -> int:
        """Wait for the end of a run and look at what it leaves: its exit status, what it said, what it stored."""
        code = flow.wait()
        kill_group(flow, signal.SIGKILL)  # Prefect's own server and grading processes outlive a SIGKILL of the flow
        said = self._logs[flow.pid].read_text(errors="replace")
        if "Traceback (most recent call last)" in said:
            self.tracebacks.append(said)
        if self._recovering and code == COMPLETE:
            self.recoveries.append(time.monotonic() - self._recovering[0])
        self._recovering = None
        self.look()
        return code

    def recovering(self) -> None:
        """From now on, count the seconds to the next committed row."""
        self._recovering = time.monotonic(), self.look()

    def _note_recovery(self) -> None:
        if self._recovering and self.look() > self._recovering[1]:
            self.recoveries.append(time.monotonic() - self._recovering[0])
            self._recovering = None

    # --- what is in the store ------------------------------------------------------------------------

    def look(self) -> int:
        """Note which trajectories are committed, once and for all, and return how many were so far."""
        table = self.trajectories
        for _ in range(10):
            new = [part for part in table.parts(self.partition) if part.path not in self._looked_into]
            try:
                scanned = list(table.scan(new, table.schema.names))
            except FileNotFoundError:
                continue  # consolidated since it was listed
            for part, rows in scanned:
                for row in rows.to_pylist():
                    if row["error"] is None:
                        self.seen.setdefault(_key(table, row), _digest(table, row))
                self._looked_into.add(part.path)
            return len(self.seen)
        raise RuntimeError(f"{self.file}: parts keep vanishing")

    def found(self) -> Found:
        """What every reader finds."""
        rows: Rows = {}
        duplicated = 0
        for table in self._tables:
            name = table.folder.rsplit("/", 1)[-1]
            read = table.read(self.partition, table.schema.names).to_pylist()
            rows[name] = {_key(table, row): _digest(table, row) for row in read}
            duplicated += len(read) - len(rows[name])
        return Found(rows, duplicated)

    def lost(self, found: Found) -> int:
        """Trajectories that were seen committed and are not there, or not as they were."""
        now = found.rows["trajectories"]
        return sum(now.get(key) != digest for key, digest in self.seen.items())


def _key(table: Table, row: Row) -> Key:
    return tuple(row[name] for name in table.key)


def _digest(table: Table, row: Row) -> str:
    rest = {name: row[name] for name in table.schema.names if name not in TIMES}
    return blake2b(repr(rest).encode(), digest_size=16).hexdigest()


@contextmanager
def running(night: Night) -> Iterator[subprocess.Popen[bytes]]:
    """A run that does not outlive the block."""
    flow = night.start()
    try:
        yield flow
    finally:
        if flow.poll() is None:
            kill_group(flow, signal.SIGKILL)
