"""Every figure is worked out by hand from a store of two problems, four pooled draws each."""

from collections.abc import Callable
from typing import Any

import pytest

from tasks.report.report import Line, selected
from tasks.report.status import status
from tests.tasks.ledger import POOL, PRODUCT, SUM, Ledger, Made, with_pool

# --- from the pool --------------------------------------------------------------------------------


def test_pass_at_1_is_the_mean_over_problems_of_the_mean_over_the_pool(ledger: Callable[..., Ledger]) -> None:
    here, _ = with_pool(ledger())
    line = here.lines()["pass@1"]
    assert line.accuracy == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert line.ci95 == pytest.approx((0.25, 0.5))
    assert line.ttc_tokens == pytest.approx((25 + 100) / 2)
    assert line.spent_tokens == pytest.approx((100 + 400) / 2)
    assert (line.problems, line.runs, line.ungraded, line.failed) == (2, 1, 0, 0)


def test_groups_that_are_scored_apart_weigh_alike(ledger: Callable[..., Ledger]) -> None:
    problems = [{"id": str(n), "problem": str(n), "answer": "2"} for n in range(3)]
    here = ledger(problems=problems)
    for problem, group in zip(here.plan.problems, "aab", strict=True):
        object.__setattr__(problem, "group", group)
    for problem, outcomes in enumerate([["correct"] * 4, ["correct"] * 4, ["wrong"] * 4]):
        here.pool(problem, [(outcome, "2", 10) for outcome in outcomes])
    line = here.lines()["pass@1"]
    assert (line.accuracy, line.ci95) == (0.5, (0.5, 0.5))


def test_pass_at_the_pool_asks_whether_any_draw_is_right(ledger: Callable[..., Ledger]) -> None:
    here, _ = with_pool(ledger())
    line = here.lines()["pass@4"]
    assert (line.accuracy, line.ttc_tokens) == (1.0, 250)


def test_pass_at_2_is_the_share_of_pairs_with_a_right_draw(ledger: Callable[..., Ledger]) -> None:
    here, _ = with_pool(ledger(methods=["pass@2"]))
    assert here.lines()["pass@2"].accuracy == pytest.approx((5 / 6 + 3 / 6) / 2)


def test_sc_at_the_pool_is_the_vote_of_all(ledger: Callable[..., Ledger]) -> None:
    here, _ = with_pool(ledger(methods=["sc@4"]))
    line = here.lines()["sc@4"]
    assert line.accuracy == pytest.approx((1 + 0) / 2)
    assert (line.runs, line.ttc_tokens, line.spent_tokens) == (64, 250, 250)


def test_sc_at_less_is_estimated_over_64_votes(ledger: Callable[..., Ledger]) -> None:
    here, _ = with_pool(ledger(methods=["sc@1", "sc@2"]))
    lines = here.lines()
    assert lines["sc@1"].accuracy == pytest.approx((2 / 4 + 1 / 4) / 2, abs=0.1)
    assert lines["sc@2"].ttc_tokens == pytest.approx((2 * 25 + 2 * 100) / 2)
    assert round(128 * (lines["sc@2"].accuracy or 0.5), 6).is_integer()  # two problems, 64 votes each


def test_a_failed_draw_is_counted_and_is_neither_right_nor_wrong(ledger: Callable[..., Ledger]) -> None:
    here = ledger()
    here.pool(SUM, [("correct", "2", 10), ("wrong", "3", 30), ("failed", None, 0), ("failed", None, 0)])
    here.pool(PRODUCT, POOL[PRODUCT])
    line = here.lines()["pass@1"]
    assert line.accuracy == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert (line.failed, line.ungraded) == (2, 0)
    assert line.ttc_tokens == pytest.approx((20 + 100) / 2)


@pytest.mark.parametrize("undecided", ["ungraded", "owed"])
def test_an_ungraded_draw_is_counted_and_is_neither_right_nor_wrong(
    ledger: Callable[..., Ledger], undecided: str
) -> None:
    here = ledger()
    here.pool(SUM, [("correct", "2", 10), ("wrong", "3", 20), (undecided, None, 30), (undecided, None, 40)])
    here.pool(PRODUCT, POOL[PRODUCT])
    line = here.lines()["pass@1"]
    assert line.accuracy == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert (line.failed, line.ungraded) == (0, 2)
    assert line.ttc_tokens == pytest.approx((25 + 100) / 2)


def test_with_nothing_graded_there_is_no_accuracy_rather_than_zero(ledger: Callable[..., Ledger]) -> None:
    lines = ledger(methods=["low", "sc@4"]).lines()
    assert {(line.accuracy, line.ci95, line.ttc_tokens, line.spent_tokens) for line in lines.values()} == {
        (None, None, 0.0, 0.0)
    }
    assert [line.failed for line in lines.values()] == [8, 2, 8, 8]


def test_a_verdict_on_another_ground_truth_or_by_another_grader_does_not_count(ledger: Callable[..., Ledger]) -> None:
    here, _ = with_pool(ledger())
    for verdict in here.verdicts:
        verdict.update({"grader": "math"} if verdict["outcome"] == "wrong" else {"truth": "other"})
    assert here.lines()["pass@1"].accuracy is None


# --- from runs ------------------------------------------------------------------------------------


def of_low(ledger: Callable[..., Ledger], answers: dict[int, list[Made]], **keys: Any) -> Line:
    """The line of `low` with these answers for its runs."""
    here, pool = with_pool(ledger(runs=2, **keys))
    for problem, made in answers.items():
        for run, answer in enumerate(made):
            here.round("low", problem, run, 1, pool[problem])
            here.later("low", problem, run, 2, [answer])
    return here.lines()["low"]


def test_a_methods_accuracy_is_the_mean_over_problems_of_the_mean_over_runs(ledger: Callable[..., Ledger]) -> None:
    answers = [("correct", "2", 1), ("wrong", "3", 3)], [("correct", "6", 5), ("correct", "6", 7)]
    line = of_low(ledger, dict(enumerate(answers)))
    assert line.accuracy == pytest.approx((1 / 2 + 1) / 2)
    assert line.ci95 == pytest.approx((0.5, 1.0))
    assert (line.problems, line.runs, line.ungraded, line.failed) == (2, 2, 0, 0)


def test_a_run_costs_all_trajectories_it_used_and_a_shared_one_is_spent_once(ledger: Callable[..., Ledger]) -> None:
    answers = [("correct", "2", 1), ("wrong", "3", 3)], [("correct", "6", 5), ("correct", "6", 7)]
    line = of_low(ledger, dict(enumerate(answers)))
    assert line.ttc_tokens == pytest.approx(((101 + 103) / 2 + (405 + 407) / 2) / 2)
    assert line.spent_tokens == pytest.approx((104 + 412) / 2)


def test_the_percentiles_of_the_cost_are_over_problems_and_runs(ledger: Callable[..., Ledger]) -> None:
    answers = [("correct", "2", 1), ("wrong", "3", 3)], [("correct", "6", 5), ("correct", "6", 7)]
    line = of_low(ledger, dict(enumerate(answers)))
    assert line.ttc_p50 == pytest.approx((103 + 405) / 2)
    assert line.ttc_p95 == pytest.approx(407 - 0.15 * 2)


def test_what_was_spent_costs_what_the_price_says_and_nothing_is_said_without_one(
    ledger: Callable[..., Ledger],
) -> None:
    answers = {SUM: [("correct", "2", 1), ("wrong", "3", 3)], PRODUCT: [("correct", "6", 5), ("correct", "6", 7)]}
    assert of_low(ledger, answers, price={"per_million_tokens": 1000}).cost == pytest.approx((104 + 412) / 1000)
    assert of_low(ledger, answers).cost is None


@pytest.mark.parametrize("undecided", ["ungraded", "owed"])
def test_a_run_whose_answer_is_not_graded_does_not_enter_the_accuracy(
    ledger: Callable[..., Ledger], undecided: str
) -> None:
    answers = [("correct", "2", 1), (undecided, None, 3)], [("wrong", "5", 5), ("wrong", "5", 7)]
    line = of_low(ledger, dict(enumerate(answers)))
    assert (line.accuracy, line.ungraded, line.failed) == (pytest.approx(1 / 2), 1, 0)


def test_a_run_that_did_not_reach_its_end_is_failed_and_does_not_enter_the_accuracy(
    ledger: Callable[..., Ledger],
) -> None:
    line = of_low(ledger, {SUM: [("correct", "2", 1)], PRODUCT: [("wrong", "5", 5), ("correct", "6", 7)]})
    assert (line.accuracy, line.ungraded, line.failed) == (pytest.approx((1 + 1 / 2) / 2), 0, 1)


def test_a_problem_without_any_finished_run_does_not_enter_the_accuracy(ledger: Callable[..., Ledger]) -> None:
    line = of_low(ledger, {SUM: [("correct", "2", 1), ("correct", "2", 1)]})
    assert (line.accuracy, line.problems, line.failed) == (1.0, 2, 2)


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ("Best: 2", 1),
        ("Response 1 errs.\n**Best: Response 2**", 1),
        ("best: 1. No:\nBEST:  3.", 2),
        ("Best: 4", None),
        ("Best: 0", None),
        ("Best: ²", None),
        ("The best is the second.", None),
        ("", None),
    ],
)
def test_the_best_message_is_named_by_its_number_in_the_prompt(message: str, place: int | None) -> None:
    references = ["a", "b", "c"]
    assert selected(message, references) == (None if place is None else references[place])


def test_best_of_n_is_right_where_the_message_that_was_named_is(ledger: Callable[..., Ledger]) -> None:
    here, pool = with_pool(ledger(methods=["best@4"], runs=2))
    named = {SUM: ["Best: 1", "Best: 3"], PRODUCT: ["Best: 1", "none"]}
    for problem, messages in named.items():
        for run, message in enumerate(messages):
            here.round("best@4", problem, run, 1, pool[problem])
            here.later("best@4", problem, run, 2, [("wrong", message, 7)], list(reversed(pool[problem])))
    line = here.lines()["best@4"]
    assert (line.accuracy, line.ungraded, line.failed) == ((1 / 2 + 0) / 2, 1, 0)
    assert line.ttc_tokens == pytest.approx((107 + 407) / 2)


def test_under_a_quorum_a_run_costs_and_counts_what_was_there(ledger: Callable[..., Ledger]) -> None:
    here, pool = with_pool(ledger(quorum=0.5, pool=4))
    for problem, tokens in [(SUM, 1), (PRODUCT, 5)]:
        here.round("low", problem, 0, 1, pool[problem][:2], missing=2)
        here.later("low", problem, 0, 2, [("correct", "2", tokens)])
    line = here.lines()["low"]
    assert (line.accuracy, line.failed) == (1.0, 0)
    assert line.ttc_tokens == pytest.approx((31 + 205) / 2)


@pytest.mark.parametrize(
    ("read_out", "made", "accuracy"),
    [
        ("vote", [("wrong", "3", 1), ("correct", "2", 1), ("correct", "2", 1)], 1.0),
        ("vote", [("correct", "2", 1), ("wrong", "3", 1), ("wrong", "3", 1)], 0.0),
        ("vote", [("wrong", "3", 1), ("correct", "2", 1), ("ungraded", None, 1)], 0.0),
        ("vote", [("wrong", None, 1), ("wrong", None, 1), ("ungraded", None, 1)], 0.0),
        ("vote", [("ungraded", None, 1)] * 3, None),
        ("any", [("wrong", "3", 1), ("wrong", "3", 1), ("correct", "2", 1)], 1.0),
        ("any", [("wrong", "3", 1), ("wrong", "3", 1), ("wrong", "4", 1)], 0.0),
        ("any", [("wrong", "3", 1), ("wrong", "3", 1), ("ungraded", None, 1)], None),
    ],
)
def test_several_answers_of_a_last_round_are_read_out_as_one(
    ledger: Callable[..., Ledger], read_out: str, made: list[Made], accuracy: float | None
) -> None:
    here = ledger(methods=[{"name": "own", "rounds": [4, 3], "read_out": read_out}])
    here.round("own", SUM, 0, 1, here.pool(SUM, POOL[SUM]))
    here.later("own", SUM, 0, 2, made)
    line = here.lines()["own"]
    assert line.accuracy == accuracy
    assert line.ungraded == (accuracy is None)


def test_runs_beyond_those_asked_for_do_not_count(ledger: Callable[..., Ledger]) -> None:
    here, pool = with_pool(ledger(runs=1))
    for run, outcome in enumerate(["wrong", "correct"]):
        here.round("low", SUM, run, 1, pool[SUM])
        here.later("low", SUM, run, 2, [(outcome, "2", 1)])
    assert here.lines()["low"].accuracy == 0.0


# --- what is missing ------------------------------------------------------------------------------


def test_a_campaign_is_complete_when_every_stage_has_its_quorum_and_every_answer_a_verdict(
    ledger: Callable[..., Ledger],
) -> None:
    here, pool = with_pool(ledger())
    for problem in (SUM, PRODUCT):
        here.round("low", problem, 0, 1, pool[problem])
        here.later("low", problem, 0, 2, [("correct", "2", 1)])
    assert status(here.books()).complete


def test_what_is_missing_is_told_by_stage(ledger: Callable[..., Ledger]) -> None:
    here = ledger()
    pool = here.pool(SUM, POOL[SUM])
    here.pool(PRODUCT, [("correct", "6", 1), ("owed", "6", 1), ("failed", None, 0)])
    here.round("low", SUM, 0, 1, pool)
    state = status(here.books())
    told = {(stage.method, stage.round): (stage.done, stage.total, stage.failed) for stage in state.stages}
    assert told == {("pool", 1): (6, 8, 1), ("low", 1): (1, 2, 0), ("low", 2): (0, 2, 0)}
    assert not state.complete
    expected = "pool round 1: 2 of 8; low round 1: 1 of 2; low round 2: 2 of 2; 1 answers wait for a verdict"
    assert expected in state.what_is_missing()
