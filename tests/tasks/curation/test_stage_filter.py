"""Stages 1 and 2, over stores written by hand."""

from collections.abc import Callable

import pytest

from tasks.campaign.method import parse_method
from tasks.curation.candidate import Candidate
from tasks.curation.stage_filter import ABSENT, UNKNOWN, stage_1, stage_2
from tests.tasks.ledger import PRODUCT, SUM, Ledger

MakeLedger = Callable[..., Ledger]


def candidate(id: str) -> Candidate:
    return Candidate(id, "s", [], "", [])


def pool_of(ledger: Ledger, right: int, of: int) -> None:
    ledger.pool(SUM, [("correct", "2", 1)] * right + [("wrong", "3", 1)] * (of - right))


@pytest.mark.parametrize(
    ("right", "reason"), [(0, "never right"), (1, None), (8, None), (9, "right too often"), (24, "right too often")]
)
def test_stage_1_keeps_what_is_right_now_and_then_but_less_than_9_times_of_24(
    ledger: MakeLedger, right: int, reason: str | None
) -> None:
    book = ledger(pool=24)
    pool_of(book, right, 24)
    assert stage_1(book.books())(candidate("sum")) == reason


@pytest.mark.parametrize(("right", "reason"), [(0, "never right"), (14, None), (15, "right too often")])
def test_of_code_stage_1_keeps_less_than_15_of_24(ledger: MakeLedger, right: int, reason: str | None) -> None:
    book = ledger(pool=24, grader="code")
    pool_of(book, right, 24)
    for row in book.verdicts:
        row["grader"] = "code"
    assert stage_1(book.books())(candidate("sum")) == reason


def test_only_graded_messages_enter_the_mean(ledger: MakeLedger) -> None:
    book = ledger(pool=8)
    book.pool(SUM, [("correct", "2", 1), ("wrong", "3", 1), ("wrong", "3", 1), *[("ungraded", None, 1)] * 3])
    assert stage_1(book.books())(candidate("sum")) is None


def test_a_problem_without_a_verdict_and_one_that_the_campaign_lacks_are_dropped_as_such(ledger: MakeLedger) -> None:
    book = ledger()
    book.pool(SUM, [("owed", "2", 1)])
    drop = stage_1(book.books())
    assert [drop(candidate(id)) for id in ("sum", "product", "other")] == [UNKNOWN, UNKNOWN, ABSENT]


def test_stage_2_keeps_what_synthesis_gets_right_in_some_runs_but_not_in_all(ledger: MakeLedger) -> None:
    book = ledger(runs=2, methods=[[2]])
    for problem, answers in {SUM: ["correct", "wrong"], PRODUCT: ["correct", "correct"]}.items():
        ids = book.pool(problem, [("wrong", "1", 1), ("wrong", "1", 1)])
        for run, outcome in enumerate(answers):
            book.round("[2]", problem, run, 1, ids)
            book.later("[2]", problem, run, 2, [(outcome, "x", 1)], ids)
    drop = stage_2(book.books(), parse_method([2]))
    assert [drop(candidate(id)) for id in ("sum", "product", "other")] == [None, "right too often", ABSENT]
