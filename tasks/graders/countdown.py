"""The `countdown` grader: an expression that uses each given number once and equals the target, in exact fractions."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from tasks.benchmarks.countdown import parse, spelling
from tasks.graders import Verdict

LONGEST_EXPRESSION = 200
_TYPOGRAPHY = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"})
_LATEX = {r"\times": "*", r"\cdot": "*", r"\div": "/", r"\left": "", r"\right": "", r"\boxed": ""}


def grade(ground_truth: str, message: str) -> Verdict:
    """Judge the expression after the last `Answer:` (without one, in the last line), either side of `=`.

    Expressions that differ only in the order of a sum's or a product's parts vote together.

    Args:
        ground_truth: JSON with `numbers` and `target`.
        message: the text to grade.
    """
    goal = json.loads(ground_truth)
    text = answer_text(message)
    if not text:
        return Verdict("wrong", None, "no expression found")
    try:
        tree = parse(text)
        vote, value, used = spelling(tree), _value(tree), Counter(_leaves(tree))
    except (ValueError, ZeroDivisionError, RecursionError) as error:
        return Verdict("wrong", text, f"not a valid expression: {error}")
    if used != Counter(goal["numbers"]):
        return Verdict("wrong", vote, f"uses {sorted(used.elements())}, not {goal['numbers']} once each")
    if value != goal["target"]:
        return Verdict("wrong", vote, f"equals {value}, not {goal['target']}")
    return Verdict("correct", vote, f"equals {value}")


def answer_text(message: str) -> str:
    """The expression that a message ends on, as plain text; empty where there is none."""
    lines = message.rpartition("Answer:")[2].strip().splitlines()
    if not lines:
        return ""
    line = (lines[0] if "Answer:" in message else lines[-1]).translate(_TYPOGRAPHY)
    for latex, plain in _LATEX.items():
        line = line.replace(latex, plain)
    sides = [re.sub(r"[^\d+\-*/()]", "", side) for side in line.strip(" .`$*").split("=")]
    with_operator = [side for side in sides if re.search(r"\d[)]*[-+*/]", side)]
    return with_operator[0][:LONGEST_EXPRESSION] if with_operator else ""


def _leaves(node: ast.expr) -> Iterator[int]:
    if isinstance(node, ast.BinOp):
        yield from _leaves(node.left)
        yield from _leaves(node.right)
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield node.value


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _value(left), _value(right)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.Div():
                    return a / b
    raise ValueError("only whole numbers, + - * / and brackets may stand in an answer")
