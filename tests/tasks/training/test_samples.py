"""No held-out problem is ever trained on."""

import random
import re
from collections.abc import Callable

import pytest

from tasks.benchmarks import arithmetic, countdown
from tasks.benchmarks.split import split_of
from tasks.training.samples import (
    Sample,
    arithmetic_bare,
    arithmetic_synthesis,
    countdown_bare,
    countdown_synthesis,
)

DRAWS = 400
MAKERS: dict[str, Callable[[random.Random], Sample]] = {
    "countdown": countdown_bare,
    "drill": lambda chooser: countdown_bare(chooser, drill=1.0),
    "arithmetic": arithmetic_bare,
    "countdown, references": lambda chooser: countdown_synthesis(chooser, 6),
    "arithmetic, references": lambda chooser: arithmetic_synthesis(chooser, 6),
}


def asked(prompt: str) -> str:
    """The id of the problem that a prompt asks."""
    if found := re.search(r"Use (\d+), (\d+) and (\d+), .* to make (\d+)\.", prompt):
        a, b, c, target = map(int, found.groups())
        return countdown.problem((a, b, c), target).id
    found = re.search(r"(?:What is|Compute) (\d+) ?([-+*^]) ?(\d+)", prompt)
    assert found
    a, operation, b = found.groups()
    return arithmetic.problem(arithmetic.Question(operation, int(a), int(b), arithmetic.SMALL.prime)).id


@pytest.mark.parametrize("name", MAKERS)
def test_no_held_out_problem_is_trained_on(name: str) -> None:
    chooser = random.Random(0)
    problems = {asked(MAKERS[name](chooser)[0]) for _ in range(DRAWS)}
    assert len(problems) > DRAWS / 2
    assert {split_of(problem) for problem in problems} == {"train"}
