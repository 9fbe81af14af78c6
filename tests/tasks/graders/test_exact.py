import pytest

from tasks.graders import BUILT_IN, Verdict, load_grader
from tasks.graders.exact import grade


def test_white_space_around_the_answer_is_ignored() -> None:
    assert grade(" Paris\n", "\n  Paris ") == Verdict("correct", "Paris", "equal to the ground truth")


@pytest.mark.parametrize("message", ["paris", "Pa ris", "Paris.", r"\boxed{Paris}"])
def test_any_other_difference_is_wrong(message: str) -> None:
    assert grade("Paris", message).outcome == "wrong"


def test_the_last_answer_line_is_the_answer() -> None:
    assert grade("Paris", "Answer: London\nno,\nanswer: Paris\nbecause").outcome == "correct"


@pytest.mark.parametrize("message", ["", " \n", "Paris\nAnswer:  "])
def test_an_empty_answer_is_wrong_and_has_no_vote(message: str) -> None:
    assert grade("Paris", message) == Verdict("wrong", None, "no answer")


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_a_built_in_grader_is_found_by_its_name(name: str) -> None:
    assert load_grader(name)("7", "no idea at all").outcome == "wrong"


def test_an_own_grader_is_found_by_module_and_function() -> None:
    assert load_grader("tasks.graders.exact:grade") is grade


@pytest.mark.parametrize(
    "name",
    ["exakt", "", ":", "math:", "no_such_module:grade", "tasks.graders:no_such", "tasks.graders:BUILT_IN"],
)
def test_an_unknown_grader_gets_one_line_that_lists_the_built_in_ones(name: str) -> None:
    with pytest.raises(ValueError, match="exact, game24, math, patch, or module:function") as raised:
        load_grader(name)
    assert "\n" not in str(raised.value)


def test_a_verdict_has_one_of_three_outcomes() -> None:
    with pytest.raises(ValueError, match="correct, wrong, ungraded"):
        Verdict("right", None, "")  # type: ignore[arg-type]
