import json
from typing import get_args

import pytest

from tasks.benchmarks import BUILT_IN, countdown
from tasks.benchmarks.split import Split
from tasks.campaign.benchmark import load_benchmark
from tasks.campaign.campaign_file import BenchmarkSource, CampaignError
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


def test_countdown_divides_where_one_given_number_divides_another() -> None:
    ways = countdown.expressions((3, 5, 12))
    assert ways["12/3+5"] == 9
    assert not any("12/5" in text or ")/" in text for text in ways)
    assert any(
        all(
            "/" in text
            for text, value in countdown.expressions(tuple(goal["numbers"])).items()
            if value == goal["target"]
        )
        for goal in (json.loads(problem.ground_truth) for problem in countdown.problems("test", 100))
    )


@pytest.mark.parametrize("name", ["arithmetic", "countdown"])
def test_more_problems_than_there_are_is_refused_with_how_many_there_are(name: str) -> None:
    with pytest.raises(CampaignError, match=rf"benchmark {name}: 100,000 problems asked for, but split test has some"):
        load_benchmark(BenchmarkSource(path=name, limit=100_000))
