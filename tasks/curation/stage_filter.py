"""Stages 1 and 2: problems on which naive aggregation fails, by what a store holds of them (Section 3.1)."""

import numpy as np

from tasks.campaign.method import Method
from tasks.curation.sift import Drop
from tasks.report.books import Books
from tasks.report.report import accuracies

BOUND, CODE_BOUND = 9 / 24, 15 / 24
"""Of the mean message accuracy in stage 1: for problems with an answer, and for code."""
UNKNOWN = "no verdict yet"
ABSENT = "not in the campaign"


def stage_1(books: Books) -> Drop:
    """Keep 0 < mean(message accuracy) < 9/24, for code < 15/24, over the graded messages of a problem's pool."""
    bound = CODE_BOUND if books.plan.campaign.grader_name == "code" else BOUND
    means = {}
    for problem in books.plan.problems:
        outcomes = [books.outcome(id, problem) for id in books.pool(problem)]
        decided = [outcome == "correct" for outcome in outcomes if outcome in ("correct", "wrong")]
        means[problem.id] = float(np.mean(decided)) if decided else None
    return _between(means, bound)


def stage_2(books: Books, method: Method) -> Drop:
    """Keep 0 < synthesis accuracy < 1, over the runs of a method."""
    found = accuracies(books, method).tolist()
    ids = [problem.id for problem in books.plan.problems]
    return _between({id: None if np.isnan(mean) else mean for id, mean in zip(ids, found, strict=True)}, 1.0)


def _between(means: dict[str, float | None], bound: float) -> Drop:
    reasons = {id: _reason(mean, bound) for id, mean in means.items()}
    return lambda candidate: reasons.get(candidate.id, ABSENT)


def _reason(mean: float | None, bound: float) -> str | None:
    if mean is None:
        return UNKNOWN
    return "never right" if mean == 0 else "right too often" if mean >= bound else None
