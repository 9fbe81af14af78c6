"""Which trajectories a round asks for: prompts written, draws numbered, before anything is generated."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from infra.engine import Chat
from tasks.campaign.method import Method
from tasks.campaign.plan import Plan
from tasks.fingerprint import draw_number, trajectory_id
from tasks.problem import Problem
from tasks.reasoning.prompt_writer import Prompt, PromptWriter
from tasks.reasoning.workbench import Workbench

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
    return first_draw(plan.sampler, problem, number)


def first_draw(sampler: str, problem: Problem, number: int) -> Draw:
    """The same for a sampler by its fingerprint."""
    id = trajectory_id(sampler, problem.fingerprint, number)
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
    if number == 1:
        chosen = chosen_from_pool(problem.fingerprint, run, method.widths[0], bench.campaign.pool)
        return [pool_draw(bench.plan, problem, draw) for draw in chosen]
    messages = await bench.trajectories.messages(last, method.rounds[number - 2].compaction)
    return await later_draws(bench.prompts, method, number, pair, {id: messages[id] for id in last})


async def later_draws(
    prompts: PromptWriter, method: Method, number: int, pair: Pair, messages: dict[str, str]
) -> list[Draw]:
    """The draws of a round after the first. `messages`: by trajectory of the last round, in the order of its draws."""
    width, last = method.widths[number - 1], list(messages)
    seen = [_seen_by(method, number, pair, k, last) for k in range(width)]
    written = {
        group: await prompts.write(
            pair[0].chat, group, [messages[id] for id in group], method.rounds[number - 1].prompt
        )
        for group in dict.fromkeys(seen)
    }
    return [_number(prompts.fingerprint, number, pair, width, k, written[group]) for k, group in enumerate(seen)]


def _seen_by(method: Method, number: int, pair: Pair, k: int, trajectories: Sequence[str]) -> tuple[str, ...]:
    sees = method.rounds[number - 1].sees
    if sees == "all" or (sees != "own" and sees >= len(trajectories)):
        return tuple(trajectories)
    if sees == "own":
        return (trajectories[k % len(trajectories)],)
    chosen = random.Random(f"{pair[0].fingerprint}/{pair[1]}/{number}/{k}")
    return tuple(chosen.sample(trajectories, sees))


def _number(sampler: str, number: int, pair: Pair, width: int, k: int, prompt: Prompt) -> Draw:
    draw = draw_number(number, pair[1], width, k)
    return Draw(
        trajectory_id(sampler, prompt.fingerprint, draw),
        pair[0].fingerprint,
        prompt.fingerprint,
        number,
        draw,
        prompt.chat,
        prompt.references,
        prompt.overflow,
        prompt.error,
    )
