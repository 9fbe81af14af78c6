from typing import get_args

import pytest

from tasks.benchmark import load_benchmark
from tasks.benchmarks import BUILT_IN
from tasks.benchmarks.split import Split
from tasks.campaign_file import BenchmarkSource
from tasks.graders import load_grader


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_benchmark_is_the_same_each_time(name: str) -> None:
    first, second = (load_benchmark(BenchmarkSource(path=name, limit=30)) for _ in range(2))
    assert [problem.fingerprint for problem in first] == [problem.fingerprint for problem in second]
    assert len({problem.id for problem in first}) == 30


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_problem_stands_in_two_splits(name: str) -> None:
    splits = [{problem.id for problem in BUILT_IN[name](split, 300)} for split in get_args(Split)]
    assert len(set.union(*splits)) == sum(map(len, splits))


@pytest.mark.parametrize("name", ["arithmetic", "arithmetic-paper"])
def test_arithmetic_states_its_answer_as_the_exact_grader_takes_it(name: str) -> None:
    for problem in BUILT_IN[name]("test", 40):
        message = f"Some digits.\nAnswer: {problem.ground_truth}"
        assert load_grader("exact")(problem.ground_truth, message).outcome == "correct"


def test_the_paper_s_arithmetic_has_the_paper_s_operands() -> None:
    questions = [problem.chat[0]["content"] for problem in BUILT_IN["arithmetic-paper"]("test", 40)]
    assert all(any(len(word.strip("?.")) >= 12 for word in question.split()) for question in questions)
