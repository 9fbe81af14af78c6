"""Read by lm-evaluation-harness in its own environment: what it makes of an answer to a countdown problem.

Written apart from the project's own grader, so that the two check each other.
"""

import ast
import json
import operator
from fractions import Fraction

SIGNS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def process_results(doc, results):  # noqa: ANN001, ANN201
    """1 where the expression after the last "Answer:" uses each number once and makes the target."""
    goal = json.loads(doc["answer"])
    line = results[0].rpartition("Answer:")[2].strip().split("\n")[0].strip(" .`$")
    expression = max(line.split("="), key=len)  # "24=3*8" or "3*8=24"
    numbers = []

    def value(node):  # noqa: ANN001, ANN202
        if isinstance(node, ast.BinOp):
            return SIGNS[type(node.op)](value(node.left), value(node.right))
        numbers.append(node.value)
        return Fraction(node.value)

    try:
        right = value(ast.parse(expression, mode="eval").body) == goal["target"]
    except (SyntaxError, AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError):
        right = False
    return {"acc": float(right and sorted(numbers) == sorted(goal["numbers"]))}
