"""One problem through the rounds of a method, without a campaign: PaCoRe behind the interface of one chat model."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from infra.engine import Engine, EngineError, TooLong
from infra.engines import make_engine
from infra.sampler import Sampler
from infra.table import Row
from tasks.campaign.plan import load_template, recipe
from tasks.compaction import Compaction, full
from tasks.fingerprint import DRAWS_PER_ROUND, draw_number, seed_of
from tasks.problem import Problem
from tasks.reasoning.draw import Draw, chosen_from_pool, first_draw, later_draws
from tasks.reasoning.generate import trajectory_row
from tasks.reasoning.prompt_writer import PromptWriter
from tasks.reasoning.slots import Slots
from tasks.serving.kept_answers import KeptAnswers
from tasks.serving.serving_file import Serving
from tasks.store.tables import partition_of

MOST_RUNS = 1 << 31
"""A run is an int32 in the store."""

Heard = Callable[[Row, int, int], None]
"""Told of every trajectory that finished: its row, how many of its round finished, and of how many."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The last trajectory's row, and tokens: of the problem as asked, and completion tokens of all trajectories."""

    last: Row
    prompt_tokens: int
    spent_tokens: int
    trajectories: int


class Answerer:
    """Answers problems by one method on one engine. Open it with `open_answerer`."""

    def __init__(self, serving: Serving, engine: Engine) -> None:
        self.serving = serving
        self.method = serving.method
        self.engine = engine
        self.template = load_template(serving.template)
        self.recipe = recipe(self.method, serving.pool, self.template, serving.overflow, serving.quorum)
        self.runs = min(MOST_RUNS, DRAWS_PER_ROUND // max(self.method.widths))
        self.kept = KeptAnswers(serving.store) if serving.store else None
        self.window = 0
        self._slots = Slots(serving.engine.in_flight)

    def prompts(self, sampler: Sampler) -> PromptWriter:
        """What writes the prompts of a sampler. Raises `CampaignError`: its answers would leave no room for them."""
        prompts = PromptWriter(self.engine, sampler, self.template, self.serving.overflow)
        prompts.keep_room(self.window)
        return prompts

    async def answer(self, prompts: PromptWriter, problem: Problem, run: int, heard: Heard) -> Answer:
        """Take a problem through the rounds. Cancelled, it aborts what it asked of the engine.

        Args:
            prompts: writes this sampler's prompts.
            problem: what is asked.
            run: which of the method's independent repetitions (from 0, below `runs`); a repeated one repeats.
            heard: told of every trajectory that finished.

        Raises:
            EngineError: a trajectory failed, and the quorum does not allow for it.
        """
        if self.kept:
            partition = partition_of(prompts.fingerprint)
            question = {"problem": problem.fingerprint, "chat": json.dumps(problem.chat, ensure_ascii=False)}
            self.kept.add("questions", partition, [question])
        rows: list[Row] = []
        asked = spent = trajectories = 0
        for number in range(1, len(self.method.rounds) + 1):
            draws = await self._draws(prompts, problem, run, number, rows)
            rows = await self._round(prompts, draws, len(self.method.rounds) - number, heard)
            self._keep_round(prompts, problem, run, draws, rows)
            spent += sum(row["completion_tokens"] for row in rows)
            asked = asked or rows[0]["prompt_tokens"]
            trajectories += len(rows)
        if self.kept:
            await self.kept.commit()
        return Answer(rows[-1], asked, spent, trajectories)

    async def _draws(
        self, prompts: PromptWriter, problem: Problem, run: int, number: int, last: Sequence[Row]
    ) -> list[Draw]:
        width = self.method.widths[number - 1]
        if number > 1:
            compaction = self.method.rounds[number - 2].compaction
            messages = {row["id"]: _message(row, compaction) for row in last}
            return await later_draws(prompts, self.method, number, (problem, run), messages)
        if self.serving.pool:
            drawn = chosen_from_pool(problem.fingerprint, run, width, self.serving.pool)
        else:
            drawn = [draw_number(1, run, width, k) for k in range(width)]
        return [first_draw(prompts.fingerprint, problem, draw) for draw in drawn]

    async def _round(self, prompts: PromptWriter, draws: list[Draw], rounds_left: int, heard: Heard) -> list[Row]:
        """The finished trajectories of a round in the order of their draws. When it fails, the others are aborted."""
        finished: dict[str, Row] = {}
        needed = math.ceil(self.serving.quorum * len(draws))
        failed = 0

        async def generate(draw: Draw) -> None:
            nonlocal failed
            try:
                row = await self._trajectory(prompts, draw, rounds_left)
            except EngineError:
                failed += 1
                if len(draws) - failed < needed:
                    raise
                return
            finished[draw.id] = row
            heard(row, len(finished), len(draws))

        try:
            async with asyncio.TaskGroup() as group:
                for draw in draws:
                    group.create_task(generate(draw))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [finished[draw.id] for draw in draws if draw.id in finished]

    async def _trajectory(self, prompts: PromptWriter, draw: Draw, rounds_left: int) -> Row:
        """One trajectory. Those nearest to an answer go first."""
        if draw.error:
            raise TooLong(draw.error)
        await self._slots.acquire((rounds_left,))
        try:
            completion = await self.engine.complete(draw.chat, prompts.sampler, seed_of(draw.id))
        finally:
            self._slots.release()
        row = trajectory_row(prompts.sampler.model, draw, completion, None)
        if self.kept:
            self.kept.add("trajectories", partition_of(prompts.fingerprint), [row])
        return row

    def _keep_round(
        self, prompts: PromptWriter, problem: Problem, run: int, draws: list[Draw], rows: list[Row]
    ) -> None:
        if not self.kept:
            return
        committed: Row = {
            "recipe": self.recipe,
            "method": self.method.name,
            "problem": problem.fingerprint,
            "problem_id": problem.id,
            "run": run,
            "round": draws[0].round,
            "width": len(draws),
            "trajectories": [row["id"] for row in rows],
            "missing": len(draws) - len(rows),
            "generation": 0,
            "committed": datetime.now(UTC),
        }
        self.kept.add("rounds", partition_of(prompts.fingerprint), [committed])


def _message(row: Row, compaction: Compaction) -> str:
    return full(row["reasoning"], row["content"]) if compaction == "full" else row["message"]


@asynccontextmanager
async def open_answerer(serving: Serving) -> AsyncIterator[Answerer]:
    """An answerer whose engine answers; in the end the engine is closed and answers are stored.

    Raises:
        CampaignError: the template can not be read, or there is no room for an answer.
        EngineError: the engine can not be used.
        StoreError: the store can not be used, or not be written in the end.
    """
    engine = make_engine(serving.engine)
    try:
        answerer = Answerer(serving, engine)
        await engine.check(serving.sampler)
        answerer.window = await engine.window(serving.sampler)
        answerer.prompts(serving.sampler)
        try:
            yield answerer
        finally:
            if answerer.kept:
                await answerer.kept.close()
    finally:
        await engine.close()
