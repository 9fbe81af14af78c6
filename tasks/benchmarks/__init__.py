"""Benchmarks that generate their problems. One benchmark, one file."""

from collections.abc import Callable
from functools import partial

from tasks.benchmarks import arithmetic, countdown
from tasks.benchmarks.split import Split
from tasks.problem import Problem

BUILT_IN: dict[str, Callable[[Split, int], list[Problem]]] = {
    "arithmetic": arithmetic.problems,
    "arithmetic-paper": partial(arithmetic.problems, size=arithmetic.PAPER),
    "countdown": countdown.problems,
}
"""Split and number of problems → problems; the same arguments give the same problems."""
