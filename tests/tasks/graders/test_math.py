import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tasks.graders import Verdict
from tasks.graders.answer_text import chinese_number, last_boxes
from tasks.graders.grading_pool import GradingPool
from tasks.graders.math import final_answer, final_answers, grade
from tests.benchmarks.grading import hostile_pairs

DATA = Path(os.environ.get("PACORE_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))

TABLE = [
    row for rows in yaml.safe_load(Path(__file__).with_name("math_answers.yaml").read_text()).values() for row in rows
]


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len({(gold, answer) for gold, answer, _ in TABLE}) >= 300


@pytest.mark.parametrize(("gold", "answer", "outcome"), TABLE)
def test_a_bare_answer_gets_the_right_verdict(gold: str, answer: str, outcome: str) -> None:
    assert grade(gold, answer).outcome == outcome


@pytest.mark.parametrize(("gold", "answer", "outcome"), [row for row in TABLE if row[2] != "ungraded"])
def test_a_boxed_answer_gets_the_same_verdict(gold: str, answer: str, outcome: str) -> None:
    assert grade(gold, rf"So 2 + 3 = 5, and thus $\boxed{{{answer}}}$.").outcome == outcome


@pytest.mark.parametrize(
    "forms",
    [
        [r"\frac12", "0.5", r"\dfrac{1}{2}", "1/2", r"x=\frac12", "0.50"],
        ["16", "016", "16.0", "2^4", r"16\text{ cm}", r"16\%", "１６", "n = 16"],
        [r"2\sqrt3", r"\sqrt{12}", r"\frac{6}{\sqrt3}"],
        [r"(x-1)(x+1)", "x^2-1", "-1+x^2"],
        ["1,2,3", "3, 2, 1", r"\{2,1,3\}"],
        ["(1,2)", r"\left(1, \frac{4}{2}\right)"],
        ["2^{100}", "1267650600228229401496703205376"],
        [r"\text{(B)}", "B", "(B)"],
        [r"\text{Even}", "even"],
    ],
)
def test_equal_answers_of_different_forms_vote_together(forms: list[str]) -> None:
    assert len({grade("7", rf"\boxed{{{form}}}").answer for form in forms}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("16", "-16"), ("(1,2)", "(2,1)"), ("1/2004!", "1/2006!"), (r"\frac13", "0.33"), ("x", "y")],
)
def test_different_answers_do_not_vote_together(one: str, other: str) -> None:
    assert grade("7", rf"\boxed{{{one}}}").answer != grade("7", rf"\boxed{{{other}}}").answer


def test_the_last_box_is_the_answer() -> None:
    assert final_answer(r"First \boxed{3}, no: \boxed{4}. Thus 5.") == "4"


def test_a_box_that_is_never_closed_does_not_hide_an_earlier_one() -> None:
    assert last_boxes(r"\boxed{\frac{1}{2}} and \boxed{\frac{1}{3}") == [r"\frac{1}{2}"]


def test_braces_inside_a_box_may_be_nested_and_escaped() -> None:
    assert last_boxes(r"\boxed{\{1, \frac{1}{2}\}}") == [r"\{1, \frac{1}{2}\}"]


@pytest.mark.parametrize(
    ("gold", "outcome"), [("1,2", "correct"), ("2,1", "correct"), ("2", "correct"), ("1", "wrong"), ("1,2,3", "wrong")]
)
@pytest.mark.parametrize(
    "message",
    [r"$x = \boxed{1}$ or $x = \boxed{2}$.", r"So \boxed{1}, \boxed{2}", r"$\boxed{1} \text{ and } \boxed{2}$"],
)
def test_boxes_side_by_side_are_a_list_and_the_last_of_them_counts_alone(gold: str, outcome: str, message: str) -> None:
    assert grade(gold, message).outcome == outcome


@pytest.mark.parametrize(
    ("gold", "box"),
    [("(3,4)", r"\text{The point } (3,4)"), (r"\text{Yes}", r"\text{Yes, because } 2>1"), ("5", r"\text{at last } 5")],
)
def test_words_around_an_answer_in_a_box_are_passed_over(gold: str, box: str) -> None:
    assert grade(gold, rf"\boxed{{{box}}}").outcome == "correct"


def test_boxes_apart_are_not_a_list() -> None:
    assert final_answers(r"First $\boxed{1}$. Then, with the other root, $\boxed{2}$.") == ["2"]


@pytest.mark.parametrize(
    ("number", "value"),
    [("十六", 16), ("一百零三", 103), ("二〇二五", 2025), ("三万五千", 35_000), ("两亿零二十", 200_000_020)],
)
def test_chinese_numbers_are_read(number: str, value: int) -> None:
    assert chinese_number(number) == value


@pytest.mark.parametrize("gold", ["16", "(1,2)", "1,2", r"\frac12", "x", "B", "yes"])
@pytest.mark.parametrize("answer", ["16.00001", "(2,1)", "1,2,3", r"\frac13", "y", "C", "no"])
def test_what_is_near_is_not_equal(gold: str, answer: str) -> None:
    assert grade(gold, rf"\boxed{{{answer}}}").outcome == "wrong"


@pytest.mark.parametrize(
    "message",
    [
        "The answer is 1/2.",
        r"The final answer is $\frac12$.",
        "Work.\nAnswer: 0.5",
        "**Answer:** 1/2",
        r"\frac12",
        "1/2",
        "Therefore the final answer is: **1/2**",
        "So it is.\n#### 1/2",
        "A: 1/2",
        "The answer to the question is $0.5$ dollars. I hope it is correct.",
        "答案是 1/2。",
        "答案：0.5",
        "The probability is $\\frac{1}{2}$.",
    ],
)
def test_an_answer_without_a_box_is_found(message: str) -> None:
    assert grade(r"\frac{1}{2}", message).outcome == "correct"


@pytest.mark.parametrize("message", ["", " ", ".", "I do not know", r"\boxed{}", r"\boxed{ }"])
def test_a_message_without_an_answer_is_wrong_and_has_no_vote(message: str) -> None:
    assert grade("16", message) == Verdict("wrong", None, "no answer found")


def test_an_answer_too_long_to_read_is_ungraded() -> None:
    assert grade("16", r"\boxed{" + "1" * 10_000 + "}").outcome == "ungraded"


def test_every_solution_of_math500_is_correct() -> None:
    path = DATA / "math500" / "math500_test.jsonl"
    if not path.exists():
        pytest.skip(f"no test data at {path}: set PACORE_TEST_DATA to the folder that holds math500/")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["problem"] for row in rows if grade(row["answer"], row["solution"]).outcome != "correct"] == []


@pytest.fixture(scope="module")
def pool() -> Iterator[GradingPool]:
    with GradingPool("math", workers=2, seconds=2) as pool:
        yield pool


@pytest.mark.parametrize("tower", ["2^{3^{4^{5^6}}}", "9^{9^{9^{9}}}", "((((5)!)!)!)!", "10^{10^{10}}-10^{10^{10}}+5"])
def test_a_tower_of_powers_is_never_called_correct_and_never_hangs(pool: GradingPool, tower: str) -> None:
    assert pool.grade([("5", rf"\boxed{{{tower}}}")])[0].outcome != "correct"


@pytest.mark.parametrize(
    "message",
    [
        "1" * 1_000_000,
        "$" * 1_000_000,
        "{" * 1_000_000,
        r"\boxed{" * 100_000,
        r"\boxed{" + "(" * 1_900 + "}",
        r"\boxed{" + r"\frac{" * 300 + "1" + "}{2}" * 300 + "}",
        r"\boxed{\left(\right]}}}}{{",
        "(1+" * 300 + "1" + ")" * 300,
        r"\boxed{\begin{matrix}}",
        r"\boxed{²³½∑∞٪}",
        "\x00\ud800\u202e",
        r"\boxed{\sum_{n=1}^{10^{9}} n^n}",
    ],
)
def test_a_hostile_message_never_hangs(pool: GradingPool, message: str) -> None:
    assert pool.grade([("16", message)])[0].outcome != "correct"


def test_hostile_answers_all_end_in_a_verdict(pool: GradingPool) -> None:
    pairs = hostile_pairs(150, seed=1)
    started = time.monotonic()
    verdicts = pool.grade(pairs)
    assert len(verdicts) == 150
    assert time.monotonic() - started < 150 * 2 / 2 + 120, "no grade takes longer than it may"
