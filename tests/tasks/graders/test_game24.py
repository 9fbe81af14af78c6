import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from tasks.graders import Verdict
from tasks.graders.game24 import grade
from tasks.report.vote import vote

DATA = Path(os.environ.get("PACORE_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))
GPT4 = DATA / "game24" / "gpt-4_0.7_naive_cot_sample_100_start900_end1000.json"


@pytest.mark.parametrize(
    "message",
    [
        "Steps:\n4 * 6 = 24\nAnswer: (5 * 6 - 10) + 4 = 24",
        "Answer: 5*6-10+4",
        "answer: 5 × 6 − 10 + 4 = 24",
        "**Answer:** `5 * 6 - 10 + 4 = 24`",
        "Answer: 4 = 24\nAnswer: 5 * 6 - (10 - 4) = 24",
    ],
)
def test_an_expression_of_all_numbers_that_equals_24_is_correct(message: str) -> None:
    assert grade("4 5 6 10", message).outcome == "correct"


@pytest.mark.parametrize(
    ("numbers", "message", "reason"),
    [
        ("4 5 6 10", "5 * 6 - 10 + 4", "no line with Answer:"),
        ("4 5 6 10", "Answer: None", "not an expression"),
        ("4 5 6 10", "Answer: 4 * 6 = 24", "does not use each"),
        ("4 5 6 10", "Answer: 4 * 6 * (10 - 5 - 4) = 24", "does not use each"),
        ("4 5 6 10", "Answer: (6 - 4) * 5 + 10 = 24", "equals 20"),
        ("3 3 8 8", "Answer: 8 / (3 - 3) + 8", "divides by zero"),
        ("4 5 6 10", "Answer: 4 ** 5", "not an expression"),
        ("4 5 6 10", "Answer: 4 // 5", "not an expression"),
        ("2 4", "Answer: 24", "does not use each"),
        ("24", "Answer: 2_4", "not an expression"),
        ("24", "Answer: ٢٤", "not an expression"),
        ("24", "Answer: __import__('os').getpid()", "not an expression"),
        ("24", "Answer: " + "(" * 90 + "24" + ")" * 89, "not an expression"),
        ("24", "Answer: " + "9" * 1_000_000, "not an expression"),
        ("24", "Answer: " + "(" * 1_000_000, "not an expression"),
        ("24", "answer" * 200_000, "no line with Answer:"),
    ],
)
def test_anything_else_is_wrong_for_a_stated_reason(numbers: str, message: str, reason: str) -> None:
    verdict = grade(numbers, message)
    assert verdict.outcome == "wrong"
    assert reason in verdict.reason


def test_fractions_are_exact() -> None:
    assert grade("3 3 8 8", "Answer: 8 / (3 - 8 / 3) = 24").outcome == "correct"


def test_spaces_needless_parentheses_and_the_claimed_value_make_no_other_answer() -> None:
    one, other = grade("4 5 6 10", "Answer: ((5*6)-10)+4 = 24"), grade("4 5 6 10", "Answer: 5 * 6 - 10 + 4")
    assert one.answer == other.answer == "5 * 6 - 10 + 4"


def test_an_order_of_operations_that_matters_is_another_answer() -> None:
    assert grade("4 5 6 10", "Answer: 5*6-(10-4)").answer != grade("4 5 6 10", "Answer: 5*6-10+4").answer


@pytest.fixture(scope="module")
def gpt4() -> list[tuple[list[Verdict], list[int]]]:
    """For each of 100 problems our verdicts on the 100 texts of GPT-4, and the published ones."""
    if not GPT4.exists():
        pytest.skip(f"no test data at {GPT4}: set PACORE_TEST_DATA to the folder that holds game24/")
    problems = json.loads(GPT4.read_text())
    return [
        (
            [grade(numbers_of(problem["ys"]), text) for text in problem["ys"]],
            [info["r"] for info in problem["infos"]],
        )
        for problem in problems
    ]


def numbers_of(texts: list[str]) -> str:
    """The four numbers, which the data does not state: two of the first step and what it leaves."""
    found: Counter[str] = Counter()
    for text in texts:
        if step := re.search(r"(\d+) [-+*/] (\d+) = (\S+) \(left: (.+?)\)", text):
            left = step[4].split()
            if step[3] in left:
                left.remove(step[3])
                found[" ".join(sorted([step[1], step[2], *left]))] += 1
    return found.most_common(1)[0][0]


def test_every_published_verdict_on_gpt4s_texts_is_met(gpt4: list[tuple[list[Verdict], list[int]]]) -> None:
    for verdicts, published in gpt4:
        assert [verdict.outcome == "correct" for verdict in verdicts] == [r == 1 for r in published]


def test_the_vote_over_gpt4s_texts_is_right_for_9_percent(
    gpt4: list[tuple[list[Verdict], list[int]]],
) -> None:
    winners = [vote([verdict.answer for verdict in verdicts]) for verdicts, _ in gpt4]
    rights = [
        any(verdict.answer == winner and verdict.outcome == "correct" for verdict in verdicts)
        for winner, (verdicts, _) in zip(winners, gpt4, strict=True)
    ]
    assert sum(rights) == 9


def test_any_of_gpt4s_texts_is_right_for_49_percent(
    gpt4: list[tuple[list[Verdict], list[int]]],
) -> None:
    assert sum(any(verdict.outcome == "correct" for verdict in verdicts) for verdicts, _ in gpt4) == 49
