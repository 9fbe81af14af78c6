from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.campaign.campaign_file import CampaignError
from tasks.campaign.plan import SUBFLOW_RUNS, TASK_RUNS, Plan, calls, token_bound

MakePlan = Callable[..., Plan]


def problems(number: int) -> list[dict[str, Any]]:
    return [{"id": str(n), "problem": f"{n} + {n}?", "answer": str(2 * n)} for n in range(number)]


def by_round(plan: Plan) -> list[tuple[str, int, int, int]]:
    return [(call.method, call.round, call.prompts, call.calls) for call in calls(plan)]


def test_the_pool_serves_round_1_of_all_methods_and_later_rounds_are_called_for_each_run(plan: MakePlan) -> None:
    planned = plan(problems(3), pool=32, runs=2, methods=["low", "medium", "high", "sc@16"])
    assert by_round(planned) == [
        ("pool", 1, 3, 96),
        ("low", 2, 6, 6),
        ("medium", 2, 6, 6),
        ("high", 2, 6, 24),
        ("high", 3, 6, 6),
    ]


def test_a_round_that_sees_subsets_has_a_prompt_for_each_trajectory(plan: MakePlan) -> None:
    planned = plan(problems(3), pool=8, runs=2, methods=["rsa@8,2,3"])
    assert by_round(planned) == [("pool", 1, 3, 24), ("rsa@8,2,3", 2, 48, 48), ("rsa@8,2,3", 3, 48, 48)]


def test_votes_over_the_pool_call_for_nothing_more(plan: MakePlan) -> None:
    assert by_round(plan(problems(3), pool=8, runs=64, methods=["sc@8", "pass@4"])) == [("pool", 1, 3, 24)]


def test_tokens_are_bounded_by_max_tokens_or_by_the_stated_window(plan: MakePlan) -> None:
    engine = {"urls": ["http://h/v1"], "window": 1000}
    sampler = {"model": "sim", "max_tokens": 100}
    assert token_bound(plan(problems(2), sampler=sampler, engine=engine)) == 100 * (2 * 4 + 2)
    assert token_bound(plan(problems(2), engine=engine)) == 1000 * (2 * 4 + 2)
    assert token_bound(plan(problems(2))) is None


# --- shards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 30, 500])
@pytest.mark.parametrize(
    ("pool", "runs", "methods"),
    [
        (4, 1, ["low"]),
        (32, 64, ["low", "medium", "high", "sc@16"]),
        (512, 64, ["low", "medium", "high", "sequential@16", "rsa@16,4,10", [8, 4], [32, 8], "full@16"]),
        (512, 1, ["sc@256"]),
    ],
)
def test_shards_keep_task_runs_and_subflow_runs_within_their_targets(
    plan: MakePlan, number: int, pool: int, runs: int, methods: list[Any]
) -> None:
    planned = plan(problems(number), pool=pool, runs=runs, methods=methods)
    shards = len(planned.shards)
    rounds = sum(len(method.rounds) for method in planned.reasoning)
    generators = sum(sum(method.widths) for method in planned.reasoning)
    if shards > 1:
        assert shards * (generators + rounds) <= TASK_RUNS
        assert shards * len(planned.reasoning) <= SUBFLOW_RUNS
    assert [problem for shard in planned.shards for problem in shard] == planned.problems


def test_a_large_campaign_has_shards_that_overlap(plan: MakePlan) -> None:
    assert len(plan(problems(500), pool=32, runs=8, methods=["low", "medium", "high"]).shards) > 1


def test_a_shard_size_that_is_given_is_kept(plan: MakePlan) -> None:
    assert [len(shard) for shard in plan(problems(7), shard_size=3).shards] == [3, 3, 1]


# --- what identifies the work ---------------------------------------------------------------------


def test_the_same_file_gives_the_same_plan(plan: MakePlan) -> None:
    one, other = plan(), plan()
    assert (one.sampler, one.recipes) == (other.sampler, other.recipes)


@pytest.mark.parametrize("keys", [{"name": "other"}, {"runs": 9}, {"store": "elsewhere"}, {"grader": "math"}])
def test_what_changes_no_prompt_keeps_the_work_done(plan: MakePlan, keys: dict[str, Any]) -> None:
    assert plan(**keys).recipes == plan().recipes


@pytest.mark.parametrize("keys", [{"pool": 5}, {"overflow": {"policy": "drop_longest"}}, {"quorum": 0.5}])
def test_what_may_change_a_prompt_is_other_work(plan: MakePlan, keys: dict[str, Any]) -> None:
    assert plan(**keys).recipes["low"] != plan().recipes["low"]


def test_another_template_is_other_work(plan: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text("{{ original_prompt }} {{ ref_responses }}")
    assert plan(template="own.jinja").recipes["low"] != plan().recipes["low"]


# --- what a campaign names ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"a\n{% for %}", ["line 2", "correct the Jinja"]),
        (b"{{ question }}", ["'question' is undefined", "original_prompt", "ref_responses"]),
        (b"\xff", ["can not be read", "give a Jinja file"]),
        (None, ["can not be read", "give a Jinja file"]),
    ],
)
def test_a_template_that_does_not_work_is_refused_before_anything_runs(
    plan: MakePlan, tmp_path: Path, source: bytes | None, said: list[str]
) -> None:
    if source is not None:
        (tmp_path / "own.jinja").write_bytes(source)
    with pytest.raises(CampaignError) as refused:
        plan(template="own.jinja")
    text = str(refused.value)
    assert all(part in text for part in ["template", "own.jinja", *said]), text
    assert "\n" not in text


@pytest.mark.parametrize("grader", ["guess", "no.such.module:grade", "json:nothing"])
def test_a_grader_that_is_not_there_is_refused(plan: MakePlan, grader: str) -> None:
    with pytest.raises(CampaignError, match=rf"^grader: .*{grader!r}.*use .*patch, or module:function"):
        plan(grader=grader)
