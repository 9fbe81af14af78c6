"""What the steps of one campaign share in one process: problems, engine, tables, places in flight, progress."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import pyarrow.compute as pc

from infra.engine import Engine
from infra.engines import make_engine
from infra.filesystem import PATIENT_SECONDS
from infra.table import Row
from tasks.campaign.campaign_file import Campaign
from tasks.campaign.method import Method
from tasks.campaign.plan import Plan, calls, make_plan
from tasks.campaign.record import write_record, write_window
from tasks.fingerprint import trajectory_id
from tasks.graders.grading_pool import GradingPool
from tasks.graders.judge import Judge
from tasks.problem import Problem
from tasks.reasoning.progress import Progress
from tasks.reasoning.prompt_writer import PromptWriter
from tasks.reasoning.slots import Slots
from tasks.store.reruns import Reruns
from tasks.store.rounds import Rounds
from tasks.store.tables import judgements_table, rounds_table, trajectories_table, verdicts_table
from tasks.store.trajectories import Trajectories

T = TypeVar("T")

CROWD = 100
"""Small parts of a table that are merged before it is read: a campaign that is killed again and again leaves many."""


class Workbench:
    """One process's tools for one campaign. Open it with `open_workbench`."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        campaign = plan.campaign
        self.plan = replace(plan, shards=[_shuffled(problems) for problems in plan.shards])
        self.turns = _shuffled(range(len(plan.shards)))
        """When which shard's turn comes. Each process has an order of its own, so two at once seldom do the same."""
        self.campaign = campaign
        self.engine = engine
        self.reruns = Reruns(campaign.store, plan.partition)
        self.trajectories = Trajectories(
            trajectories_table(campaign.store),
            plan.partition,
            [problem.fingerprint for problem in plan.problems],
            campaign.commit_seconds,
            self.reruns,
        )
        self.rounds = Rounds(
            rounds_table(campaign.store),
            plan.partition,
            plan.recipes.values(),
            self.reruns,
            self.trajectories.finished,
        )
        self.verdicts = verdicts_table(campaign.store)
        self.judgements = judgements_table(campaign.store)
        self.graders = GradingPool(campaign.grader) if isinstance(campaign.grader, str) else Judge(campaign.grader)
        self.slots = Slots(campaign.engine.in_flight)
        self.in_flight: dict[str, asyncio.Event] = {}
        self.given_up: dict[str, str] = {}
        self.progress = Progress(planned=1, before=0)
        self.graded: set[tuple[str, str]] = set()
        self.prompts = PromptWriter(engine, campaign.sampler, plan.template, campaign.overflow)
        self.too_long: dict[str, str] = {}

    async def open(self) -> None:
        """Leave the store a record of the campaign and ask it for what is there; ask the engine for its window.

        The engine is asked only where something is to be generated.

        Raises:
            CampaignError: the room asked for is more than the window.
            EngineError: the engine can not be used.
            StoreError: the store can not be used.
        """
        await asyncio.to_thread(write_record, self.plan)
        await asyncio.to_thread(self.consolidate, CROWD)
        await asyncio.to_thread(self.trajectories.refresh)
        await asyncio.to_thread(self.reruns.refresh)
        await asyncio.to_thread(self.rounds.refresh)
        await asyncio.to_thread(self._read_graded)
        self.progress = Progress(sum(line.calls for line in calls(self.plan)), self._generated_before())
        if not self._all_generated():
            await self._ask_engine()
        for table in (self.trajectories.table, self.rounds.table, self.verdicts, self.judgements):
            table.patience_seconds = PATIENT_SECONDS

    async def _ask_engine(self) -> None:
        campaign = self.campaign
        await self.engine.check(campaign.sampler)
        window = await self.engine.window(campaign.sampler)
        await asyncio.to_thread(write_window, self.plan, window)
        self.prompts.keep_room(window)
        for problem in self.plan.problems:
            if error := await self.prompts.too_long(problem.chat):
                self.too_long[problem.fingerprint] = error

    def committed(self, method: Method, problem: Problem, run: int, number: int) -> Row | None:
        """A run's committed round."""
        return self.rounds.get((self.plan.recipes[method.name], problem.fingerprint, run, number))

    def all_committed(self, method: Method, problems: Iterable[Problem]) -> bool:
        """Whether every run of a method on these problems is at its end."""
        last, runs = len(method.rounds), range(self.campaign.runs)
        return all(self.committed(method, problem, run, last) for problem in problems for run in runs)

    def consolidate(self, crowd: int = 2) -> None:
        """Merge small parts of the tables, of each that has a crowd of them."""
        for table in (self.trajectories.table, self.rounds.table, self.verdicts, self.judgements, self.reruns.table):
            table.consolidate(self.plan.partition, crowd)

    async def close(self) -> None:
        """Store what is finished, abort what is not."""
        try:
            await self.trajectories.close()
        finally:
            if isinstance(self.graders, Judge):
                await self.graders.close()
            else:
                self.graders.close()
            await self.engine.close()

    async def add(self, row: Row) -> None:
        """Count a trajectory and hand it to the store. One that failed is not tried again in this process."""
        self.progress.finished += row["error"] is None
        self.progress.failed += row["error"] is not None
        self.progress.tokens += row["completion_tokens"]
        if row["error"]:
            self.given_up[row["id"]] = row["error"]
        await self.trajectories.add(row)

    def _read_graded(self) -> None:
        """Which (trajectory, ground truth) have a verdict; what could not be graded is tried again."""
        decided = (pc.field("grader") == self.campaign.grader_name) & (pc.field("outcome") != "ungraded")
        rows = self.verdicts.read(self.plan.partition, ["id", "truth", "generation"], decided).to_pylist()
        there = self.trajectories
        self.graded.update(
            (row["id"], row["truth"])
            for row in rows
            if there.finished(row["id"]) and row["generation"] == there.generation(row["id"])
        )

    def _all_generated(self) -> bool:
        plan, draws = self.plan, range(self.campaign.pool)
        return all(self.all_committed(method, plan.problems) for method in plan.reasoning) and all(
            self.trajectories.finished(trajectory_id(plan.sampler, problem.fingerprint, draw))
            for problem in plan.problems
            for draw in draws
        )

    def _generated_before(self) -> int:
        """Planned trajectories that the store holds already: the pool's, and those of committed later rounds."""
        plan, finished = self.plan, self.trajectories.finished
        draws = range(self.campaign.pool)
        pool = sum(
            finished(trajectory_id(plan.sampler, problem.fingerprint, draw))
            for problem in plan.problems
            for draw in draws
        )
        later = (row for problem in plan.problems for row in self.rounds.of(problem.fingerprint) if row["round"] > 1)
        return pool + sum(int(row["width"]) for row in later)


def _shuffled(values: Sequence[T]) -> list[T]:
    return random.sample(values, len(values))


_open: dict[tuple[int, str], tuple[Workbench, int]] = {}


@asynccontextmanager
async def open_workbench(campaign: Campaign) -> AsyncIterator[Workbench]:
    """The workbench of a campaign; all who ask within one event loop get the same, and the last to leave closes it."""
    key = (id(asyncio.get_running_loop()), campaign.model_dump_json())
    if key not in _open:
        bench = Workbench(make_plan(campaign), make_engine(campaign.engine))
        _open[key] = (bench, 0)
        try:
            await bench.open()
        except BaseException:
            del _open[key]
            await bench.engine.close()
            raise
    bench, users = _open[key]
    _open[key] = (bench, users + 1)
    try:
        yield bench
    finally:
        bench, users = _open[key]
        _open[key] = (bench, users - 1)
        if users == 1:
            del _open[key]
            await bench.close()


async def store_now(campaign: Campaign) -> None:
    """Store what is finished, where the campaign's workbench is open. Raises `StoreError`."""
    key = (id(asyncio.get_running_loop()), campaign.model_dump_json())
    if key in _open:
        await _open[key][0].trajectories.commit()
