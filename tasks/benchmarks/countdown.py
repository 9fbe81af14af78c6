"""Countdown: reach a target from three small numbers with + - * /.

An answer is easy to check and hard to find, so a synthesizer that checks its references can beat a vote. Model text is
parsed, never evaluated.
"""

import ast
import json
import operator
import random
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import permutations

from tasks.benchmarks.split import Split, distinct_problems
from tasks.problem import Problem

SMALLEST, LARGEST, LIMIT = 2, 15, 99  # the numbers given; every value on the way is 0..LIMIT

Numbers = tuple[int, int, int]


@lru_cache(maxsize=4096)
def expressions(numbers: Numbers) -> dict[str, int]:
    """The ways to combine the three numbers with + - * /, in one spelling each, with their values.

    Kept are those whose values, the one in between included, are whole and within 0..99. Of divisions
    only those of one given number by another: to foresee that (4+8)/6 comes out even is beyond a tiny
    model, and no target needs it; an answer may hold it. `a+b+c` and `b+c+a` are one way
    (`canonical`); the spelling that comes first is kept.
    """
    found: dict[str, tuple[str, int]] = {}
    for a, b, c in permutations(numbers):
        for text in _spellings(a, b, c):
            steps = evaluation(text)
            if steps is not None:
                found.setdefault(canonical(text), (text, steps[-1][1]))
    return dict(sorted(found.values()))


def _spellings(a: int, b: int, c: int) -> Iterator[str]:
    for op in "+-":
        if op == "-" or a >= b:
            yield from (f"{a}{op}{b}{other}{c}" for other in "+-")
            yield f"({a}{op}{b})*{c}"
    if a >= b:
        yield from (f"{a}*{b}{other}{c}" for other in "*+-")
        yield f"{c}-{a}*{b}"
    if a % b == 0:
        yield from (f"{a}/{b}{other}{c}" for other in "*+-")
        yield f"{c}-{a}/{b}"


_FIRST = [re.compile(pattern) for pattern in (r"\((\d+[-+]\d+)\)", r"(\d+[*/]\d+)", r"(\d+[-+]\d+)")]


@lru_cache(maxsize=65536)
def evaluation(text: str) -> tuple[tuple[str, int], ...] | None:
    """The two steps of an expression of three numbers: what remains after each, and its value.

    `(7+5)*2` gives `(("12*2", 12), ("24", 24))`. None where a value is not whole or leaves 0..99.
    """
    steps: list[tuple[str, int]] = []
    while (inner := next(filter(None, (first.search(text) for first in _FIRST)), None)) is not None:
        left, op, right = re.split(r"([-+*/])", inner.group(1))
        value = _apply(op, int(left), int(right))
        if value is None:
            return None
        text = text[: inner.start()] + str(value) + text[inner.end() :]
        steps.append((text, value))
    return tuple(steps)


def _apply(op: str, left: int, right: int) -> int | None:
    if op == "/":
        value, rest = divmod(left, right) if right else (0, 1)
    else:
        value, rest = _OPERATORS[op](left, right), 0
    return int(value) if not rest and 0 <= value <= LIMIT else None


_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def canonical(text: str) -> str:
    """One spelling for all orders of a sum's or a product's parts: `5+7` and `7+5` are alike.

    Raises:
        ValueError: the text is not an expression of whole numbers with + - * / and brackets.
    """
    return spelling(parse(text))


def parse(text: str) -> ast.expr:
    """The syntax tree of an expression. Raises ValueError; what it holds is not checked."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError("not an expression") from error


_FAMILY: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "+", ast.Mult: "*", ast.Div: "*"}


def spelling(node: ast.expr) -> str:
    """What `canonical` makes of a parsed expression. Raises ValueError."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return str(node.value)
    if not isinstance(node, ast.BinOp) or type(node.op) not in _FAMILY:
        raise ValueError("only whole numbers, + - * / and brackets may stand in an answer")
    family = _FAMILY[type(node.op)]
    return "(" + "".join(sorted(sign + spelling(part) for sign, part in _parts(node, family))) + ")"


def _parts(node: ast.expr, family: str, inverse: bool = False) -> Iterator[tuple[str, ast.expr]]:
    """The signed parts of a chain of one family, brackets undone: a-(b-c) is +a -b +c."""
    if isinstance(node, ast.BinOp) and _FAMILY.get(type(node.op)) == family:
        flips = isinstance(node.op, ast.Sub | ast.Div)
        yield from _parts(node.left, family, inverse)
        yield from _parts(node.right, family, inverse != flips)
    else:
        yield {"+": "+-", "*": "*/"}[family][inverse], node


def problems(split: Split, count: int, seed: int = 0) -> list[Problem]:
    """`count` distinct problems of a split; the same arguments give the same problems. Raises ValueError."""
    chooser = random.Random(f"countdown/{split}/{seed}")
    return distinct_problems(lambda _: problem(*draw(chooser)), split, count)


def draw(chooser: random.Random) -> tuple[Numbers, int]:
    """Three distinct numbers in order, and a target that some expression of them reaches."""
    a, b, c = sorted(chooser.sample(range(SMALLEST, LARGEST + 1), 3))
    reachable = sorted({value for value in expressions((a, b, c)).values() if value > 0})
    return (a, b, c), chooser.choice(reachable)


def problem(numbers: Numbers, target: int) -> Problem:
    """The problem as a user would put it."""
    a, b, c = numbers
    return Problem(
        id=f"countdown-{a}-{b}-{c}-{target}",
        chat=[
            {
                "role": "user",
                "content": f"Use {a}, {b} and {c}, each exactly once, with + - * / and brackets "
                f'to make {target}. End with "Answer:" and your expression.',
            }
        ],
        ground_truth=json.dumps({"numbers": list(numbers), "target": target}),
    )
