"""What the shipped model is taught to write."""

import random
import re
from collections import Counter

import pytest

from tasks.benchmarks import arithmetic, countdown
from tasks.graders import load_grader
from tasks.training.teacher import (
    SLIP,
    Claim,
    Hand,
    arithmetic_reference,
    arithmetic_turn,
    countdown_message,
    countdown_turn,
    text_of,
)

NUMBERS = (3, 5, 12)


def answer_of(text: str) -> int:
    return int(text.rsplit("Answer: ", 1)[1])


@pytest.mark.parametrize("operation", arithmetic.OPERATIONS)
def test_arithmetic_without_a_slip_is_right(operation: str) -> None:
    chooser = random.Random(0)
    for _ in range(300):
        question = arithmetic.draw(chooser, operation=operation)
        text = text_of(arithmetic_turn(question, Hand(chooser, slip=0)))
        assert answer_of(text) == question.answer, text


def test_steps_slip_at_random_so_that_draws_err_differently() -> None:
    chooser = random.Random(0)
    question = arithmetic.Question("*", 47, 38, 31)
    steps: list[tuple[int, ...]] = []
    for _ in range(2000):
        values, _ = arithmetic_reference(chooser, question, SLIP)
        steps.append(tuple(values))
    common = Counter(steps).most_common()
    assert common[0] == ((56, 37, 21, 14, 8, 7, 1), pytest.approx(2000 * (1 - SLIP) ** 7, rel=0.1))
    assert all(times < 0.1 * common[0][1] for _, times in common[1:])
    assert all(len(values) == 7 and max(values) <= 99 for values in steps)


def test_the_conclusion_carries_every_step_s_value() -> None:
    values, message = arithmetic_reference(random.Random(0), arithmetic.Question("+", 4712, 3355, 31), 0.0)
    assert values == [7, 6, 10, 8]
    assert message == "Steps = a7 b6 c10 d8.\nAnswer: 8067"


def test_a_step_takes_what_most_references_say_and_else_is_computed_with_the_same_slips() -> None:
    question = arithmetic.Question("+", 4712, 3355, 31)

    def worked(references: list[list[int]], slip: float) -> list[int]:
        hand = Hand(random.Random(0), references, slip)
        arithmetic_turn(question, hand)
        return hand.values

    right, other, third = [7, 6, 10, 8], [8, 6, 10, 9], [8, 7, 0, 7]
    assert worked([right, right, other], slip=1.0) == right
    assert worked([other, other, right], slip=0.0) == other
    assert worked([right, other, third], slip=0.0) == [8, 6, 10, 8]
    assert worked([right, right, other, other], slip=0.0) == right
    tied = worked([right, right, other, other], slip=1.0)
    assert tied[1:3] == right[1:3]
    assert tied[0] != 7
    assert tied[3] != 8


def searches(references: list[list[Claim]], draws: int = 300) -> list[str]:
    chooser = random.Random(0)
    return [text_of(countdown_turn(chooser, NUMBERS, 9, references)) for _ in range(draws)]


def test_a_countdown_search_evaluates_what_it_tries_and_knows_no_solution() -> None:
    own = countdown.expressions(NUMBERS)
    tries = Counter[str]()
    for text in searches([]):
        working, message = text.split("</think>")
        lines = working.splitlines()[1:]
        assert 1 <= len(lines) <= 2
        for line in lines:
            expression, _, value, verdict = re.split("[= ]", line)
            assert own[expression] == int(value)
            assert verdict == ("yes" if value == "9" else "no")
            tries[expression] += 1
        *_, last = lines
        assert message.rsplit("Answer: ", 1)[1] == "{2}={0}".format(*re.split("[= ]", last))
    assert set(tries) == set(own)
    assert max(tries.values()) < 4 * min(tries.values())


def test_a_countdown_conclusion_is_one_that_the_grader_reads() -> None:
    grade = load_grader("countdown")
    truth = countdown.problem(NUMBERS, 9).ground_truth
    assert grade(truth, countdown_message([Claim("5+3+12", 20), Claim("12/3+5", 9)])).outcome == "correct"
    assert grade(truth, countdown_message([Claim("12/3+5", 9), Claim("5+3+12", 20)])).outcome == "wrong"


def test_a_reference_that_claims_the_target_is_evaluated_again() -> None:
    good, false, foreign = [Claim("12/3+5", 9)], [Claim("5+3+12", 9)], [Claim("4+6-1", 9)]
    assert all("\n9=12/3+5=4+5=9 yes, reference 2\n" in text for text in searches([[Claim("3*5-12", 3)], good]))
    assert all("\n9=5+3+12=8+12=20 no\n" in text for text in searches([false]))
    assert all("\n9=4+6-1 other numbers\n" in text for text in searches([foreign]))
    assert all("</think>Answer: 9=12/3+5" in text for text in searches([good]))


def test_what_a_reference_tried_is_passed_over_not_tried_again() -> None:
    seen = [Claim("5+3+12", 20)]
    texts = searches([seen], draws=2000)
    assert any("\n5+3+12 seen\n" in text for text in texts)
    assert not any("\n5+3+12=" in text for text in texts)
