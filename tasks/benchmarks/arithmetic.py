"""Arithmetic with one exact whole-number answer: the paper's own synthetic family (Appendix C.1).

Addition, subtraction, multiplication and modular exponentiation, in a few wordings. `SMALL` fits
the model that ships with this project; `PAPER` is the paper's size, for real models.
"""

import random
from dataclasses import dataclass

from tasks.benchmarks.split import Split, distinct_problems
from tasks.problem import Problem

OPERATIONS = ("+", "-", "*", "^")

_WORDINGS = {
    "+": ("What is {a} + {b}?", "Compute {a} + {b}."),
    "-": ("What is {a} - {b}?", "Compute {a} - {b}."),
    "*": ("What is {a} * {b}?", "Compute {a} * {b}."),
    "^": ("What is {a}^{b} mod {p}?", "Compute {a}^{b} mod {p}."),
}


@dataclass(frozen=True)
class Size:
    """Ranges (both ends included) of the operands, and the fixed prime of the exponentiation."""

    name: str
    terms: tuple[int, int]
    factors: tuple[tuple[int, int], tuple[int, int]]
    bases: tuple[int, int]
    exponents: tuple[int, int]
    prime: int


SMALL = Size("arithmetic", (1000, 9999), ((10, 99), (10, 99)), (2, 30), (2, 63), 31)
_WIDE = (10**11, 10**13)
PAPER = Size("arithmetic-paper", _WIDE, (_WIDE, _WIDE), _WIDE, _WIDE, 1_000_000_007)


@dataclass(frozen=True)
class Question:
    """One calculation. `a` is never smaller than `b` where it is a difference."""

    operation: str
    a: int
    b: int
    prime: int

    @property
    def answer(self) -> int:
        """The exact value."""
        match self.operation:
            case "+":
                return self.a + self.b
            case "-":
                return self.a - self.b
            case "*":
                return self.a * self.b
        return pow(self.a, self.b, self.prime)

    @property
    def canonical(self) -> str:
        """One name for all wordings and for both orders of a sum or a product."""
        a, b = sorted((self.a, self.b)) if self.operation in "+*" else (self.a, self.b)
        return f"{a}{self.operation}{b}"


def draw(chooser: random.Random, size: Size = SMALL, operation: str | None = None) -> Question:
    """A question with operands uniform in the size's ranges."""
    operation = operation or chooser.choice(OPERATIONS)
    ranges = {"*": size.factors, "^": (size.bases, size.exponents)}.get(operation, (size.terms, size.terms))
    a, b = (chooser.randint(*bounds) for bounds in ranges)
    if operation == "-":
        a, b = max(a, b), min(a, b)
    return Question(operation, a, b, size.prime)


def problem(question: Question, wording: int = 0, name: str = SMALL.name) -> Problem:
    """The question as a user would put it."""
    form = _WORDINGS[question.operation][wording % 2]
    text = form.format(a=question.a, b=question.b, p=question.prime)
    return Problem(
        id=f"{name}-{question.canonical}",
        chat=[{"role": "user", "content": f'{text} End with "Answer:" and the number.'}],
        ground_truth=str(question.answer),
    )


def problems(split: Split, count: int, seed: int = 0, size: Size = SMALL) -> list[Problem]:
    """`count` distinct problems of a split, the operations in turn; repeatable. Raises ValueError."""
    chooser = random.Random(f"{size.name}/{split}/{seed}")

    def drawn(number: int) -> Problem:
        question = draw(chooser, size, OPERATIONS[number % len(OPERATIONS)])
        return problem(question, chooser.randrange(2), size.name)

    return distinct_problems(drawn, split, count)
