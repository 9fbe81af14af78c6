"""The reward file, loaded by its path as verl does."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tasks.curation
from infra.sandbox import SandboxError, run_program
from tasks.graders import load_grader


@pytest.fixture(scope="module")
def compute_score() -> Iterator[Callable[..., float]]:
    path = Path(tasks.curation.__path__[0]) / "verl_reward.py"
    spec = importlib.util.spec_from_file_location("custom_module", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.compute_score
    for name in ("exact", "math", "code"):
        module._pool(name).close()


def test_it_scores_what_follows_the_thinking(compute_score: Callable[..., float]) -> None:
    said = {"grader": "exact"}
    assert compute_score("s", "<think>Answer: 3</think>Answer: 2", "2", said) == 1.0
    assert compute_score("s", "<think>Answer: 2</think>Answer: 3", "2", said) == 0.0


def test_it_takes_the_arguments_by_the_names_that_verl_gives(compute_score: Callable[..., float]) -> None:
    given = {"data_source": "s", "solution_str": "Answer: 2", "ground_truth": "2", "extra_info": {"grader": "exact"}}
    assert compute_score(**given) == 1.0


def test_it_scores_as_the_grader_does(compute_score: Callable[..., float]) -> None:
    answers = [rf"<think>hm</think>It is $\boxed{{{n}/{m}}}$" for n in range(1, 6) for m in range(1, 6)]
    grade = load_grader("math")
    expected = [float(grade(r"\frac{1}{2}", answer).outcome == "correct") for answer in answers]
    assert [compute_score("s", answer, r"\frac{1}{2}", {"grader": "math"}) for answer in answers] == expected
    assert sum(expected) == 2


def test_of_code_the_reward_is_the_share_of_tests_passed(compute_score: Callable[..., float]) -> None:
    try:
        run_program("print(1)")
    except SandboxError as error:
        pytest.skip(str(error))
    truth = json.dumps({"tests": [{"input": f"{n}\n", "output": f"{n * n}\n"} for n in range(4)]})
    assert compute_score("s", "```python\nprint(2 * int(input()))\n```", truth, {"grader": "code"}) == 0.5


def test_without_a_grader_it_says_what_to_do(compute_score: Callable[..., float]) -> None:
    with pytest.raises(ValueError, match="extra_info names no grader; export the Parquet with `pacore curate`"):
        compute_score("s", "2", "2", {"index": 0})
