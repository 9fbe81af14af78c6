"""Graders: what decides whether an answer is right. One grader, one file.

A grader is any function that takes the ground truth and a message and returns a `Verdict`; it need not defend
itself against hanging or dying, `tasks.graders.grading_pool.GradingPool` does.
"""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

Outcome = Literal["correct", "wrong", "ungraded"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a grader said of an answer.

    `ungraded` means that the grader could not decide; a message without an answer is `wrong`.
    """

    outcome: Outcome
    """`correct`, `wrong` or `ungraded`."""
    answer: str | None
    """The answer in a normal form that votes are counted over; None when none was found."""
    reason: str
    """One line that says why."""

    def __post_init__(self) -> None:
        if self.outcome not in get_args(Outcome):
            raise ValueError(f"a verdict is one of {', '.join(get_args(Outcome))}, not {self.outcome!r}")
        if not (self.answer is None or isinstance(self.answer, str)):
            raise ValueError(f"a verdict's answer is text or None, not {self.answer!r}")


Grader = Callable[[str, str], Verdict]
"""Takes the ground truth and the message, in this order."""

BUILT_IN = {
    "choice": "tasks.graders.choice:grade",
    "code": "tasks.graders.code:grade",
    "countdown": "tasks.graders.countdown:grade",
    "exact": "tasks.graders.exact:grade",
    "game24": "tasks.graders.game24:grade",
    "math": "tasks.graders.math:grade",
    "patch": "tasks.graders.patch:grade",
}


def load_grader(name: str) -> Grader:
    """Find a grader by its name.

    Args:
        name: a built-in name, or `module:function` for one's own; the module may lie in the working folder.

    Raises:
        ValueError: there is no such grader; the text says which there are.
    """
    remedy = f"use {', '.join(BUILT_IN)}, or module:function for your own"
    module_name, colon, function_name = BUILT_IN.get(name, name).partition(":")
    if not (module_name and colon and function_name):
        raise ValueError(f"unknown grader {name!r}: {remedy}")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        grader: Any = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:
        raise ValueError(f"cannot load the grader {name!r} ({type(error).__name__}: {error}): {remedy}") from error
    if not callable(grader):
        raise ValueError(f"the grader {name!r} is not a function: {remedy}")
    return grader  # type: ignore[no-any-return]
