"""Self-consistency: the majority vote over normalised answers (the paper's SC@N, Section 3.2)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np


def vote(answers: Sequence[str | None]) -> str | None:
    """Return the answer that most draws gave; a tie goes to the answer that was drawn first.

    A draw without an answer has no vote. None is returned only when no draw has an answer; that vote counts
    as wrong.

    Args:
        answers: normalised answers in the order of their draw numbers.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    return max(votes, key=votes.__getitem__) if votes else None


def sc_accuracy(
    answers: Sequence[str | None],
    correct: Sequence[bool],
    n: int,
    resamples: int = 64,
    seed: int | Sequence[int] = 0,
) -> float:
    """Estimate SC@N for one problem: the share of votes over n draws from the pool that come out right.

    Each resample takes n draws without replacement, in the order of their draw numbers, and is right when the
    earliest draw with the winning answer is. With n the size of the pool all resamples are the same, so one
    is taken.

    Args:
        answers: normalised answers of the problem's pool, in the order of their draw numbers.
        correct: whether each draw was graded correct; ungraded is not.
        n: how many draws vote.
        resamples: how many votes are held.
        seed: give each problem its own, so that problems are resampled independently.

    Raises:
        ValueError: n is not between 1 and the size of the pool.
    """
    if len(answers) != len(correct):
        raise ValueError(f"{len(answers)} answers and {len(correct)} verdicts: there must be one of each for a draw")
    if not 1 <= n <= len(answers):
        raise ValueError(f"sc@{n} needs a pool of {n} draws or more (at least 1), this one has {len(answers)}")
    generator = np.random.default_rng(seed)
    rights = []
    for _ in range(1 if n == len(answers) else resamples):
        drawn = np.sort(generator.choice(len(answers), size=n, replace=False)).tolist()
        winner = vote([answers[draw] for draw in drawn])
        rights.append(winner is not None and next(correct[draw] for draw in drawn if answers[draw] == winner))
    return float(np.mean(rights))
