"""A run's rounds as text for a terminal."""

from collections.abc import Iterator
from textwrap import indent

from tasks.report.plain_text import printable
from tasks.report.walk import Told, Walk

MARKS = {"correct": "✓", "wrong": "✗", "ungraded": "?", None: "·"}
"""An answer's outcome; · where it was not graded yet."""
NAMES = {"correct": "right", "wrong": "wrong", "ungraded": "ungraded", None: "not graded yet"}


def as_text(walk: Walk, reasoning: bool = False) -> str:
    """The problem and every trajectory, round by round. Reasoning is folded to its length unless asked for."""
    return printable("\n".join(_lines(walk, reasoning)))


def _lines(walk: Walk, reasoning: bool) -> Iterator[str]:
    yield f"{walk.problem.id}, {walk.method}, run {walk.run}" + (f": {walk.turn}" if walk.turn else "")
    for turn in walk.problem.chat:
        yield indent(turn["content"], f"{turn['role']} │ ", lambda line: True)
    yield indent(walk.problem.ground_truth, "truth │ ", lambda line: True)
    for number, round in enumerate(walk.rounds, 1):
        yield ""
        yield round_heading(number, round)
        for told in round:
            yield ""
            yield from _trajectory(told, reasoning)


def round_heading(number: int, round: list[Told]) -> str:
    """How many trajectories a round has and how many of them are right."""
    right = sum(told.outcome == "correct" for told in round)
    return f"Round {number}: {len(round)} {'trajectory' if len(round) == 1 else 'trajectories'}, {right} right"


def shown(told: Told) -> str:
    """The messages that stood in a trajectory's prompt, by their numbers there."""
    return " ".join(f"{seen.number}{MARKS[seen.outcome]}" for seen in told.seen)


def _trajectory(told: Told, reasoning: bool) -> Iterator[str]:
    answer = told.answer if told.answer is not None else "no answer"
    tokens = f"{told.completion_tokens:,} tokens, {told.finish_reason}"
    yield f"  {told.number} {MARKS[told.outcome]} {NAMES[told.outcome]}: {answer} ({told.reason}; {tokens})"
    if told.seen:
        yield f"    was shown {shown(told)}" + (f" → {told.turn}" if told.turn else "")
    if reasoning:
        yield indent(told.reasoning, "    reasoning │ ", lambda line: True)
    elif told.reasoning:
        yield f"    reasoning of {len(told.reasoning):,} characters (--reasoning shows it)"
    yield indent(told.message, "    │ ", lambda line: True)
