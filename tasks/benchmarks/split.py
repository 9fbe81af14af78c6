"""Which problems a model may be trained on, and which are held out."""

import hashlib
from collections.abc import Callable
from typing import Literal

from tasks.problem import Problem

Split = Literal["train", "validation", "test"]

DRAWS = 10_000
"""So many draws in a row without a new problem, and there are no more."""


def split_of(canonical: str) -> Split:
    """The one split that a problem belongs to: 80 % train, 10 % validation, 10 % test.

    It is a property of the canonical problem, not of a seed or a wording: a problem that is generated twice, by anyone,
    falls on the same side.
    """
    bucket = hashlib.sha256(canonical.encode()).digest()[0] % 10
    return "train" if bucket < 8 else "validation" if bucket == 8 else "test"


def distinct_problems(draw: Callable[[int], Problem], split: Split, count: int) -> list[Problem]:
    """`count` distinct problems of a split; `draw` is told how many there are already.

    Raises:
        ValueError: there are not so many.
    """
    found: dict[str, Problem] = {}
    while len(found) < count:
        drawn = (draw(len(found)) for _ in range(DRAWS))
        new = next((new for new in drawn if split_of(new.id) == split and new.id not in found), None)
        if new is None:
            raise ValueError(
                f"{count:,} problems asked for, but split {split} has some {len(found):,}; lower the limit"
            )
        found[new.id] = new
    return list(found.values())
