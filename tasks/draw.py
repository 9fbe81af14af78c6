"""Which trajectories a round asks for: prompts written, draws numbered, before anything is generated."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from infra.engine import Chat
from tasks.fingerprint import draw_number, prompt_fingerprint, trajectory_id
from tasks.fit import DoesNotFitError, fit
from tasks.method import Method
from tasks.plan import Plan
from tasks.problem import Problem
from tasks.prompt import in_prompt_order
from tasks.workbench import Workbench

Pair = tuple[Problem, int]
"""A problem and a run (from 0)."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One trajectory asked for. `error`: why its prompt can not be sent."""

    id: str
    problem: str
    prompt: str
    round: int
    number: int
    chat: Chat
    references: tuple[str, ...] = ()
    overflow: str | None = None
    error: str | None = None


def pool_draw(plan: Plan, problem: Problem, number: int) -> Draw:
    """First-round trajectory `number` of the problem: the bare problem is its prompt."""
    id = trajectory_id(plan.sampler, problem.fingerprint, number)
    return Draw(id, problem.fingerprint, problem.fingerprint, 1, number, problem.chat)


def chosen_from_pool(problem: str, run: int, width: int, pool: int) -> list[int]:
    """The draws that a run takes from the pool: a random choice that depends on problem and run (Section 3.2).

    A narrower method takes the first of a wider one's, so methods are compared on shared draws.
    """
    order = list(range(pool))
    random.Random(f"{problem}/{run}").shuffle(order)
    return order[:width]


async def round_draws(bench: Workbench, method: Method, number: int, pair: Pair, last: Sequence[str]) -> list[Draw]:
    """Round `number` (from 1) of one run: its draws 0 … K-1.

    Args:
        bench: the campaign's workbench.
        method: the method.
        number: the round.
        pair: the problem and the run.
        last: ids of the last round's trajectories in the order of their draws; empty in round 1.
    """
    problem, run = pair
    width = method.widths[number - 1]
    if number == 1:
        chosen = chosen_from_pool(problem.fingerprint, run, width, bench.campaign.pool)
        return [pool_draw(bench.plan, problem, draw) for draw in chosen]
    messages = await bench.trajectories.messages(last, method.rounds[number - 2].compaction)
    seen = [_seen_by(method, number, pair, k, last) for k in range(width)]
    prompts = {group: await _prompt(bench, problem, group, messages) for group in dict.fromkeys(seen)}
    return [_number(bench, number, pair, width, k, prompts[group]) for k, group in enumerate(seen)]


def _seen_by(method: Method, number: int, pair: Pair, k: int, trajectories: Sequence[str]) -> tuple[str, ...]:
    sees = method.rounds[number - 1].sees
    if sees == "all" or sees >= len(trajectories):
        return tuple(trajectories)
    chosen = random.Random(f"{pair[0].fingerprint}/{pair[1]}/{number}/{k}")
    return tuple(chosen.sample(trajectories, sees))


async def _prompt(bench: Workbench, problem: Problem, trajectories: Sequence[str], messages: dict[str, str]) -> Draw:
    """A draw that lacks its number: everything that the trajectories with one prompt share."""
    ordered = in_prompt_order(trajectories, [messages[id] for id in trajectories])

    async def tokens(kept: Sequence[str]) -> int:
        return await bench.prompt_tokens(bench.plan.template.write(problem.chat, kept))

    try:
        fitted = await fit(
            [message for _, message in ordered], tokens, bench.prompt_limit, bench.campaign.overflow.policy
        )
    except DoesNotFitError as error:
        chat = bench.plan.template.write(problem.chat, [message for _, message in ordered])
        return Draw(
            "",
            problem.fingerprint,
            prompt_fingerprint(chat),
            0,
            0,
            chat,
            tuple(id for id, _ in ordered),
            error=str(error),
        )
    chat = bench.plan.template.write(problem.chat, fitted.messages)
    references = tuple(ordered[index][0] for index in fitted.kept)
    return Draw("", problem.fingerprint, prompt_fingerprint(chat), 0, 0, chat, references, fitted.overflow)


def _number(bench: Workbench, number: int, pair: Pair, width: int, k: int, prompt: Draw) -> Draw:
    draw = draw_number(number, pair[1], width, k)
    id = trajectory_id(bench.plan.sampler, prompt.prompt, draw)
    return Draw(
        id,
        prompt.problem,
        prompt.prompt,
        number,
        draw,
        prompt.chat,
        prompt.references,
        prompt.overflow,
        prompt.error,
    )
