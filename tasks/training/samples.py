"""Training samples: a prompt and what the model is taught to answer, from the train split alone."""

from __future__ import annotations

import random

from tasks.benchmarks import arithmetic, countdown
from tasks.benchmarks.split import Split, split_of
from tasks.training.prompts import synthesis_prompt
from tasks.training.teacher import (
    SLIP,
    Claim,
    Hand,
    Span,
    arithmetic_reference,
    arithmetic_turn,
    countdown_message,
    countdown_reference,
    countdown_turn,
)

FOREIGN = 0.08  # share of countdown's synthesis samples whose references belong to another problem

Sample = tuple[str, list[Span]]


def draw_countdown(chooser: random.Random, split: Split) -> tuple[countdown.Numbers, int, str]:
    """Numbers, target and text of a random problem of a split."""
    while True:
        numbers, target = countdown.draw(chooser)
        problem = countdown.problem(numbers, target)
        if split_of(problem.id) == split:
            return numbers, target, problem.chat[-1]["content"]


def countdown_bare(chooser: random.Random, split: Split = "train", drill: float = 0.0, choice: float = 1.0) -> Sample:
    """A bare problem and a random search, or, with chance `drill`, a drill of it."""
    numbers, target, text = draw_countdown(chooser, split)
    drilled = chooser.random() < drill
    return text, countdown_turn(chooser, numbers, target, choice=choice, drill=drilled)


def countdown_synthesis(chooser: random.Random, count: int, split: Split = "train", choice: float = 1.0) -> Sample:
    """A problem with `count` references: as they come, all wrong, one right, or another problem's."""
    numbers, target, text = draw_countdown(chooser, split)
    source, goal = numbers, target
    outcomes: list[bool | None] = [None] * count
    kind = chooser.random()
    if kind < FOREIGN:
        source, goal, _ = draw_countdown(chooser, split)
    elif kind < 0.45:
        outcomes = [False] * count
    elif kind < 0.80:
        outcomes = [False] * count
        outcomes[chooser.randrange(count)] = True
    references: list[list[Claim]] = [countdown_reference(chooser, source, goal, outcome) for outcome in outcomes]
    prompt = synthesis_prompt(text, [countdown_message(claims) for claims in references])
    return prompt, countdown_turn(chooser, numbers, target, references, choice)


def draw_arithmetic(chooser: random.Random, split: Split) -> tuple[arithmetic.Question, str]:
    """A random question of a split and its text; the longer kinds come more often."""
    while True:
        question = arithmetic.draw(chooser, operation=chooser.choice("+-**^^^"))
        problem = arithmetic.problem(question, chooser.randrange(2))
        if split_of(problem.id) == split:
            return question, problem.chat[-1]["content"]


def arithmetic_bare(chooser: random.Random, split: Split = "train") -> Sample:
    """A question and its working."""
    question, text = draw_arithmetic(chooser, split)
    return text, arithmetic_turn(question, Hand(chooser))


def arithmetic_synthesis(chooser: random.Random, count: int, split: Split = "train") -> Sample:
    """A question with `count` references from hands that slip as often as the bare working's, or more often."""
    question, text = draw_arithmetic(chooser, split)
    slip = SLIP * chooser.choice((1, 1, 2, 4))
    values, messages = zip(*(arithmetic_reference(chooser, question, slip) for _ in range(count)), strict=True)
    return synthesis_prompt(text, messages), arithmetic_turn(question, Hand(chooser, values))
