import json

import pytest

from tasks.benchmarks import countdown
from tasks.graders.countdown import grade

TRUTH = json.dumps({"numbers": [5, 7, 13], "target": 56})


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("Answer: (13-5)*7", "correct"),
        ("Answer: 56=(13-5)*7", "correct"),
        ("Tried: 22=7*5-13.\nAnswer: 7 × (13 − 5) = 56.", "correct"),
        ("(13-5)*7", "correct"),
        (r"Answer: $7 \times (13-5)$", "correct"),
        ("Answer: (13-5)*7*1", "wrong"),
        ("Answer: 7*5-13", "wrong"),
        ("Answer: 56", "wrong"),
        ("Answer: 56=56", "wrong"),
        ("Answer: 13/(5-5)", "wrong"),
        ("Answer: __import__('os')", "wrong"),
        ("Answer: " + "(" * 5000, "wrong"),
        ("", "wrong"),
    ],
)
def test_an_answer_uses_each_number_once_and_equals_the_target(message: str, outcome: str) -> None:
    assert grade(TRUTH, message).outcome == outcome


def test_expressions_that_differ_only_in_order_vote_together() -> None:
    assert grade(TRUTH, "Answer: (13-5)*7").answer == grade(TRUTH, "Answer: 7*(13-5)").answer


def test_every_problem_has_a_solution_that_its_grader_accepts() -> None:
    for problem in countdown.problems("validation", 50):
        goal = json.loads(problem.ground_truth)
        ways = countdown.expressions(tuple(goal["numbers"]))
        solution = next(text for text, value in ways.items() if value == goal["target"])
        assert grade(problem.ground_truth, f"Answer: {solution}").outcome == "correct"
