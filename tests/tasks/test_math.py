import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.graders import Verdict
from tasks.graders.math import final_answer, grade, last_boxed
from tasks.grading_pool import GradingPool

DATA = Path(os.environ.get("PACORE_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))

TABLE = [
    # integers first
    ("16", "16", "correct"),
    ("016", "16", "correct"),
    ("16", "016", "correct"),
    ("16", "+16", "correct"),
    ("-3", "−3", "correct"),
    ("16", "17", "wrong"),
    ("16", "-16", "wrong"),
    ("16", "160", "wrong"),
    ("1234", "1,234", "correct"),
    ("1,234", r"1{,}234", "correct"),
    (r"11,\! 111,\! 111,\! 100", "11111111100", "correct"),
    ("16", "１６", "correct"),
    ("16", "١٦", "correct"),
    ("123456789012345678901234567890", "123456789012345678901234567891", "wrong"),
    ("16", "16.0", "correct"),
    ("16", "16.", "correct"),
    ("16", "$16$", "correct"),
    ("16", r"\(16\)", "correct"),
    ("16", r"16\text{ cm}", "correct"),
    ("16", r"16\%", "correct"),
    ("30", r"30^\circ", "correct"),
    ("5", r"\$5", "correct"),
    ("16", "2^4", "correct"),
    ("120", "5!", "correct"),
    ("10", r"\binom{5}{2}", "correct"),
    ("3", r"\log_2 8", "correct"),
    # fractions and decimals
    (r"\frac{1}{2}", "0.5", "correct"),
    (r"\frac{1}{2}", "1/2", "correct"),
    (r"\frac12", r"\dfrac{1}{2}", "correct"),
    (r"\frac12", r"\tfrac{2}{4}", "correct"),
    (r"-\frac{3}{4}", r"\frac{-3}{4}", "correct"),
    (r"\frac{1}{2}", r"\frac{1}{3}", "wrong"),
    (r"\frac{1}{2}", "2", "wrong"),
    (r"\frac{1}{3}", "0.333333", "correct"),
    (r"\frac{1}{3}", "0.33", "wrong"),
    (r"\frac{2}{3}", "2:3", "correct"),
    ("1000", r"1.0\times 10^3", "correct"),
    # roots, constants, formulas
    (r"2\sqrt{3}", r"\sqrt{12}", "correct"),
    (r"2\sqrt3", r"\frac{6}{\sqrt{3}}", "correct"),
    (r"1+\sqrt2", r"\sqrt{3+2\sqrt2}", "correct"),
    (r"2\sqrt{3}", r"3\sqrt{2}", "wrong"),
    (r"\frac{\pi}{4}", r"\pi/4", "correct"),
    (r"\pi", "3.14", "wrong"),
    (r"(x-1)(x+1)", "x^2-1", "correct"),
    ("x^2-1", "x^2+1", "wrong"),
    ("2x", "2y", "wrong"),
    (r"\frac{2x}{x^2-1}", r"\frac{1}{x+1}+\frac{1}{x-1}", "correct"),
    ("5", "x=5", "correct"),
    ("x=5", "5", "correct"),
    ("5", "x=6", "wrong"),
    (r"\infty", r"-\infty", "wrong"),
    # order: parentheses keep it, bare lists and braces do not
    ("(1,2,3)", "(1,2,3)", "correct"),
    ("(1,2,3)", "(3,2,1)", "wrong"),
    ("(1,2,3)", "3,2,1", "wrong"),
    ("(3,\\frac{\\pi}{2})", r"\left(3, \pi/2\right)", "correct"),
    ("1,2,3", "3,2,1", "correct"),
    (r"\{1,2,3\}", "3, 2, 1", "correct"),
    ("1,2,3", "1,2", "wrong"),
    ("1,-2", "-2, 1", "correct"),
    (r"3\pm\sqrt2", r"3-\sqrt2, 3+\sqrt2", "correct"),
    # intervals, matrices
    ("[1,2)", "[1,2)", "correct"),
    ("[1,2)", "[1,2]", "wrong"),
    (r"(-\infty,2)\cup(3,\infty)", r"(3,\infty)\cup(-\infty,2)", "correct"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", "correct"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}", "wrong"),
    # factorials and other very small numbers
    (r"\frac{1}{2004!}", "1/2004!", "correct"),
    ("1/2004!", "1/2006!", "wrong"),
    (r"10^{-20}", r"10^{-30}", "wrong"),
    (r"10^{-20}", r"\frac{1}{10^{20}}", "correct"),
    ("0", r"\frac{1}{2004!}", "wrong"),
    ("0", r"\sin 0", "correct"),
    # words
    (r"\text{Monday}", "Monday", "correct"),
    ("Monday", r"\text{Tuesday}", "wrong"),
    ("even", "neve", "wrong"),
    ("B", r"\text{(B)}", "correct"),
    ("B", "C", "wrong"),
    ("16", "sixteen", "wrong"),
    # what cannot be read is not called wrong
    ("16", r"\frac{1}{", "ungraded"),
    (r"p^{\cdots\left\{", "16", "ungraded"),
]


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
    assert last_boxed(r"\boxed{\frac{1}{2}} and \boxed{\frac{1}{3}") == r"\frac{1}{2}"


def test_braces_inside_a_box_may_be_nested_and_escaped() -> None:
    assert last_boxed(r"\boxed{\{1, \frac{1}{2}\}}") == r"\{1, \frac{1}{2}\}"


@pytest.mark.parametrize(
    "message",
    [
        "The answer is 1/2.",
        r"The final answer is $\frac12$.",
        "Work.\nAnswer: 0.5",
        "**Answer:** 1/2",
        r"\frac12",
        "1/2",
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
