"""The faults: what is done to a campaign, when, and what comes of it."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from tests.chaos.night import COMPLETE, LOOK_SECONDS, RUNS_AT_MOST, Engine, Found, Night, running
from tests.chaos.servers import Server, ceph, fault_proxy, moto, prefect, simulator
from tests.contract.conftest import S3

GRACE_SECONDS = 10.0
SECONDS_PER_TOKEN = 0.0025
LAST = 0.95
"""Faults strike before this share of the undisturbed campaign's tokens is generated."""


@dataclass(frozen=True)
class Size:
    """How much work a campaign is, and how much of it is at stake when it dies: half of what is in flight, and what
    finished since the last commit. Over a whole campaign that is a share of
    kills · (seconds of a generation + commit_seconds) / 2 / seconds of the campaign, however many are in flight."""

    problems: int
    local: bool = False
    in_flight: int = field(default=8, compare=False)
    commit_seconds: float = field(default=0.1, compare=False)

    def keys(self, folder: Path, engine_url: str, store: str) -> dict[str, Any]:
        """The campaign file. Each problem has a pool of 12, and 2 runs of [8] and [6, 2]: 12 + 2 · (1 + 3) calls."""
        common = {"name": "night", "commit_seconds": self.commit_seconds, "runs": 2, "store": store}
        if self.local:
            return {
                **common,
                "benchmark": {"path": "countdown", "limit": self.problems},
                "grader": "countdown",
                "sampler": {"model": "pacore-tiny", "max_tokens": 512},
                "engine": {"kind": "local", "in_flight": self.in_flight},
                "pool": 12,
                "methods": ["low", "sc@4"],
            }
        rows = [{"id": str(n), "problem": f"What is {n} + {n}?", "answer": str(n % 10)} for n in range(self.problems)]
        benchmark = folder / f"{self.problems}-problems.jsonl"
        benchmark.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {
            **common,
            "benchmark": str(benchmark),
            "grader": "math",
            "sampler": {"model": "sim"},
            "engine": {"urls": [engine_url], "in_flight": self.in_flight},
            "pool": 12,
            "methods": [[8], [6, 2], "sc@4"],
            "shard_size": max(1, self.problems // 3),
        }


LARGE, SMALL, TINY = Size(280, in_flight=2), Size(30), Size(8, in_flight=16)
SHIPPED = Size(16, local=True)


@dataclass
class Outcome:
    """One line of the table. `extra_tokens`: a share of the undisturbed campaign's; None where none are counted."""

    fault: str
    times: int
    lost: int
    duplicated: int
    differing: int
    extra_tokens: float | None
    seconds_to_recover: float | None
    runs: int
    kills: int = 0
    tracebacks: list[str] = field(default_factory=list)
    slowest_exit: float | None = None


@dataclass
class Stage:
    """What all scenarios share: a folder, a Prefect server, S3 servers, and the undisturbed campaigns."""

    folder: Path
    seed: int
    servers: ExitStack = field(default_factory=ExitStack)
    _calm: dict[Size, tuple[Found, int]] = field(default_factory=dict)
    _prefect: Server | None = None
    _s3: dict[str, S3] = field(default_factory=dict)

    @property
    def prefect_url(self) -> str:
        """The API of a Prefect server that runs as long as the stage stands."""
        if not self._prefect:
            self._prefect = self.servers.enter_context(prefect(self.folder))
        return self._prefect.url.removesuffix("/health")

    def s3(self, kind: str) -> S3:
        """The S3 server of that kind, started when it is first asked for."""
        if kind not in self._s3:
            start = {"moto": moto, "ceph": ceph}[kind]
            self._s3[kind] = self.servers.enter_context(start(self.folder))
        return self._s3[kind]

    @contextmanager
    def engine(self, size: Size) -> Iterator[Engine]:
        """An engine for one night."""
        if size.local:
            yield Engine(None)
            return
        options = ("--slots", 64, "--seconds-per-token", SECONDS_PER_TOKEN, "--median-tokens", 64, "--sigma", 0.5)
        with simulator(self.folder, *options) as server:
            yield Engine(server)

    @contextmanager
    def night(self, name: str, size: Size, store: str = "store", **environment: str) -> Iterator[Night]:
        """A campaign that has not begun."""
        with self.engine(size) as engine:
            url = engine.server.url.replace("/health", "/v1") if engine.server else ""
            folder = self.folder / name
            yield Night(
                folder,
                engine,
                size.keys(self.folder, url, store),
                {"PREFECT_API_URL": self.prefect_url, **environment},
            )

    def calm(self, size: Size) -> tuple[Found, int]:
        """What the undisturbed campaign of that size leaves, and the tokens that it takes."""
        if size not in self._calm:
            fast = replace(size, in_flight=32, commit_seconds=1)
            with self.night(f"calm{len(self._calm)}", fast) as night:
                night.finish()
                self._calm[size] = night.found(), night.tokens
        return self._calm[size]

    def outcome(self, fault: str, times: int, night: Night, size: Size) -> Outcome:
        """Compare a night with the undisturbed one."""
        calm, tokens = self.calm(size)
        found = night.found()
        return Outcome(
            fault,
            times,
            night.lost(found),
            found.duplicated,
            found.differing(calm),
            night.tokens / tokens - 1 if tokens else None,
            night.seconds_to_recover,
            night.runs,
            night.kills,
            night.tracebacks,
        )

    def moments(self, fault: str, size: Size, times: int) -> tuple[random.Random, list[int]]:
        """Seeded random moments of a campaign, told by the tokens generated up to them."""
        dice = random.Random(f"{self.seed}/{fault}")
        return dice, sorted(dice.randrange(int(LAST * max(1, self.calm(size)[1]))) for _ in range(times))


# --- the flow process dies ------------------------------------------------------------------------


def killed(stage: Stage, size: Size, times: int, store: str = "", ephemeral: bool = False) -> Outcome:
    """SIGKILL at random moments of the work, or of a start where that moment has passed; and `run` again."""
    fault = f"run killed, {stored(store)}" + (", ephemeral Prefect" if ephemeral else "")
    dice, moments = stage.moments(fault, size, times)
    with on_store(stage, store) as (uri, environment), stage.night(slug(fault), size, uri, **environment) as night:
        if ephemeral:
            night.environment.pop("PREFECT_API_URL")
        for moment in moments:
            night.recovering()
            with running(night) as flow:
                if night.tokens >= moment:
                    night.wait_for(flow, night.seconds_from_now(dice.uniform(0, 3)))
                else:
                    night.wait_for(flow, night.tokens_from(moment))
                    time.sleep(dice.uniform(0, LOOK_SECONDS))
                night.kill(flow, dice)
                night.ended(flow)
        night.recovering()
        night.finish()
        return stage.outcome(fault, times, night, size)


def killed_on_the_shipped_model(stage: Stage, size: Size, times: int) -> Outcome:
    """As `killed`, some seconds after each start: the model is in the process and counts for nobody."""
    fault = "run killed, shipped model"
    calm = stage.calm(size)[0]
    dice = random.Random(f"{stage.seed}/{fault}")
    share = 1 / (times + 1)
    with stage.night(slug(fault), size) as night:
        for number in range(times):
            enough = (number + dice.random()) * share * LAST * len(calm.rows["trajectories"])
            night.recovering()
            with running(night) as flow:
                night.wait_for(flow, night.committed_from(enough))
                time.sleep(dice.uniform(0, LOOK_SECONDS))
                night.kill(flow, dice)
                night.ended(flow)
        night.recovering()
        night.finish()
        return stage.outcome(fault, times, night, size)


def terminated(stage: Stage, size: Size, times: int) -> Outcome:
    """SIGTERM: out within the grace period, and what the engine had finished is stored."""
    fault = "SIGTERM"
    dice, moments = stage.moments(fault, size, times)
    slowest = 0.0
    with stage.night(slug(fault), size) as night:
        for moment in moments:
            night.recovering()
            with running(night) as flow:
                night.wait_for(flow, night.seconds_from_now(dice.uniform(0, 3)))
                night.wait_for(flow, night.tokens_from(moment))
                flow.terminate()
                asked = time.monotonic()
                night.wait(flow)
                slowest = max(slowest, time.monotonic() - asked)
                night.ended(flow)
        night.recovering()
        night.finish()
        outcome = stage.outcome(f"{fault}, slowest exit {slowest:.1f} s", times, night, size)
    outcome.slowest_exit = slowest
    return outcome


def frozen(stage: Stage, size: Size, times: int) -> Outcome:
    """Some runs are frozen by SIGSTOP one after the other, another one does the rest; then the zombies wake."""
    fault = "zombies wake"
    _, moments = stage.moments(fault, size, times)
    with stage.night(slug(fault), size) as night, ExitStack() as stack:
        zombies = []
        for moment in moments:
            flow = stack.enter_context(running(night))
            night.wait_for(flow, night.tokens_from(moment))
            os.killpg(flow.pid, signal.SIGSTOP)
            zombies.append(flow)
        night.finish()
        for zombie in zombies:
            os.killpg(zombie.pid, signal.SIGCONT)
            night.wait(zombie)
            night.ended(zombie)
        return stage.outcome(fault, times, night, size)


def two_at_once(stage: Stage, size: Size, times: int) -> Outcome:
    """Two processes on one campaign from its beginning."""
    with stage.night("two-at-once", size) as night:
        with running(night) as first, running(night) as second:
            night.wait(first)
            night.wait(second)
            codes = night.ended(first), night.ended(second)
        if COMPLETE not in codes:
            night.finish()
        return stage.outcome("two runs at once", times, night, size)


# --- what lies outside fails ----------------------------------------------------------------------


def engine_killed(stage: Stage, size: Size, times: int) -> Outcome:
    """The engine dies and is back after seconds."""
    fault = "engine killed"
    dice, moments = stage.moments(fault, size, times)
    with stage.night(slug(fault), size) as night:

        def strike() -> None:
            night.engine.kill()
            time.sleep(dice.uniform(0.5, 3))
            night.engine.start()

        strike_at(night, moments, strike)
        return stage.outcome(fault, times, night, size)


def prefect_killed(stage: Stage, size: Size, times: int) -> Outcome:
    """The Prefect server dies and is back after seconds, with the same database."""
    fault = "Prefect killed"
    dice, moments = stage.moments(fault, size, times)
    folder = stage.folder / "prefect-that-dies"
    folder.mkdir()
    with prefect(folder) as server:
        url = server.url.removesuffix("/health")
        with stage.night(slug(fault), size, PREFECT_API_URL=url) as night:

            def strike() -> None:
                server.kill()
                time.sleep(dice.uniform(0.5, 3))
                server.start()

            strike_at(night, moments, strike)
            return stage.outcome(fault, times, night, size)


def strike_at(night: Night, moments: list[int], strike: Callable[[], None]) -> None:
    """Do something to a campaign at each of some moments, while it runs; and run it to its end."""
    left = list(moments)
    complete = False
    while left or not complete:
        if night.runs == RUNS_AT_MOST:
            raise RuntimeError(f"{night.file}: not complete, see run{night.runs}.log")
        with running(night) as flow:
            while left and night.wait(flow, night.tokens_from(left[0])):
                del left[0]
                strike()
                night.recovering()
            night.wait(flow)
            complete = night.ended(flow) == COMPLETE
        if complete and left:
            raise RuntimeError(f"{night.file}: complete before all of it was done to it")


def store_at_fault(stage: Stage, size: Size, times: int, store: str) -> Outcome:
    """Errors, slow answers and broken connections between the campaign and its store."""
    s3 = stage.s3(store)
    with fault_proxy(stage.folder, s3.endpoint_url, stage.seed) as proxy:
        environment = {**s3.environment, "AWS_ENDPOINT_URL": proxy.url.removesuffix("/control")}
        with (
            on_store(stage, store) as (uri, _),
            stage.night(f"store-at-fault-{store}", size, uri, **environment) as night,
        ):
            night.finish()
            seen = proxy.control()
            fates = sum(count for fate, count in seen.items() if fate != "passed")
            return stage.outcome(f"store at fault, {stored(store)}", fates, night, size)


@contextmanager
def on_store(stage: Stage, kind: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Where a campaign is stored, and the environment to reach it: in a folder of its own, or on an S3 server."""
    if not kind:
        yield "store", {}
        return
    s3 = stage.s3(kind)
    with mock.patch.dict(os.environ, s3.environment):
        yield f"s3://{s3.make_bucket()}/store", s3.environment


def stored(kind: str) -> str:
    return {"": "local store", "moto": "S3 (moto)", "ceph": "S3 (Ceph)"}[kind]


def slug(fault: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in fault).lower()


@dataclass(frozen=True)
class Scenario:
    """A fault, and how often it strikes a campaign of what size."""

    run: Callable[..., Outcome]
    size: Size
    times: int
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, stage: Stage) -> Outcome:
        """Let it happen."""
        return self.run(stage, self.size, self.times, **self.options)


S3_SERVER = "ceph" if shutil.which("radosgw") else "moto"
FULL = [
    Scenario(killed, LARGE, 50),
    Scenario(killed, SMALL, 4, {"ephemeral": True}),
    Scenario(killed, SMALL, 5, {"store": S3_SERVER}),
    Scenario(killed_on_the_shipped_model, SHIPPED, 5),
    Scenario(terminated, SMALL, 5),
    Scenario(two_at_once, SMALL, 1),
    Scenario(frozen, SMALL, 2),
    Scenario(engine_killed, SMALL, 5),
    Scenario(prefect_killed, SMALL, 3),
    Scenario(store_at_fault, replace(SMALL, commit_seconds=1), 1, {"store": S3_SERVER}),
]
QUICK = [
    Scenario(killed, TINY, 2),
    Scenario(engine_killed, TINY, 1),
    Scenario(store_at_fault, replace(TINY, commit_seconds=1), 1, {"store": "moto"}),
]
