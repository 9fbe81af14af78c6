import pytest

from tasks.graders import Verdict
from tasks.graders.choice import final_letter, grade


@pytest.mark.parametrize(
    "message",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "B)",
        "**B**",
        "[B]",
        "(B) 17",
        "B) 17 m/s",
        "B. It falls",
        "B: It falls",
        r"\boxed{B}",
        r"\boxed{\text{B}}",
        r"\boxed{\text{(B)}}",
        r"\boxed{\textbf{(B)}\ 17}",
        r"\boxed{B. 17}",
        r"\boxed{(B)}",
        r"$\boxed{\mathrm{B}}$",
        "Option A is wrong, C too.\nAnswer: B",
        "Answer: (B)",
        "ANSWER: B",
        "**Answer:** B",
        "**Answer: B**",
        "Answer: **B**",
        "Answer: **B.** It falls",
        "Answer: $B$",
        "Answer: B. The force is 3 N.",
        "Answer: B because A is impossible",
        "The answer is B.",
        "The answer is (B).",
        "The correct answer is **(B) 17**.",
        "Therefore, the correct answer is option B.",
        "The correct option is B",
        "So the final answer is: B",
        "The best choice is (B) 17.",
        "I first thought the answer is A. No: the answer is B.",
        "答案是 B。",
        "答案：B",
        "Ａ is wrong. Answer: Ｂ",
    ],
)
def test_a_letter_is_found_in_the_forms_that_models_use(message: str) -> None:
    assert grade("B", message) == Verdict("correct", "B", "the right letter")


@pytest.mark.parametrize(
    "message",
    ["", "I do not know.", r"\boxed{A} or \boxed{B}", "A or B", "Answer: A or B", r"\boxed{17}", "Because", "K"],
)
def test_none_or_two_letters_are_no_answer(message: str) -> None:
    assert grade("B", message) == Verdict("wrong", None, "no letter found")


def test_another_letter_is_wrong() -> None:
    assert grade("B", "Answer: C") == Verdict("wrong", "C", "another letter")


@pytest.mark.parametrize("letter", "ABCDEFGHIJ")
def test_ten_letters_are_known(letter: str) -> None:
    assert final_letter(rf"\boxed{{{letter}}}") == letter


def test_a_ground_truth_may_stand_in_brackets() -> None:
    assert grade("(B)", "Answer: B").outcome == "correct"
