"""The `game24` grader: an expression that uses each given number once and equals 24.

The form is that of Tree of Thoughts (arXiv 2305.10601): the message ends with `Answer: (13 - 9) * (10 - 4) =
24`.
"""

import ast
import re
from collections.abc import Callable
from fractions import Fraction
from operator import add, mul, sub, truediv

from tasks.graders import Verdict
from tasks.graders.exact import answer_line

LONGEST_EXPRESSION = 200
"""Characters. Four numbers take about 30; the bound keeps the parser from deep nesting and huge integers."""

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: truediv,
}
_CHARACTERS = re.compile(r"[0-9+\-*/() ]+")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-"})


def grade(ground_truth: str, message: str) -> Verdict:
    """Check the expression after the last `Answer:`, up to the equals sign: what follows is but a claim.

    Answers that differ only in spaces or needless parentheses are one answer in a vote.

    Args:
        ground_truth: the numbers, e.g. `4 5 6 10`.
        message: the text to grade. Numbers are integers; the operators are `+ - * /`, also written `× ÷`.
    """
    line = answer_line(message)
    if line is None:
        return Verdict("wrong", None, "no line with Answer:")
    text = line.split("=")[0].translate(_SIGNS).strip(" \t\r$`*.")
    if len(text) > LONGEST_EXPRESSION or not _CHARACTERS.fullmatch(text):
        return Verdict("wrong", None, "the answer is not an expression of integers and + - * / ( )")
    try:
        expression = ast.parse(text, mode="eval").body
        numbers, value = _numbers(expression), _value(expression)
    except (SyntaxError, ValueError):
        return Verdict("wrong", None, "the answer is not an expression of integers and + - * / ( )")
    except ZeroDivisionError:
        return Verdict("wrong", ast.unparse(expression), "the expression divides by zero")
    answer = ast.unparse(expression)
    if sorted(numbers) != sorted(map(int, re.findall(r"\d+", ground_truth))):
        return Verdict("wrong", answer, f"the expression does not use each of {ground_truth} once")
    if value != 24:
        return Verdict("wrong", answer, f"the expression equals {value}")
    return Verdict("correct", answer, "uses each number once and equals 24")


def _numbers(expression: ast.expr) -> list[int]:
    return [node.value for node in ast.walk(expression) if isinstance(node, ast.Constant) and type(node.value) is int]


def _value(expression: ast.expr) -> Fraction:
    """Evaluate exactly; `ValueError` for anything but integers and the four operators."""
    match expression:
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _OPERATORS[type(operator)](_value(left), _value(right))
    raise ValueError(f"{type(expression).__name__} is not arithmetic")
