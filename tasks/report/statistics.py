"""Statistics of an evaluation: pass@k, the confidence interval of an accuracy, two methods compared in pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

_CELLS = 1_000_000
"""Indices drawn at once: bounds the bootstrap's memory to about 16 MB."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """Estimate without bias the chance that one of k draws is right (Chen et al. 2021, arXiv 2107.03374).

    It is 1 - C(n-c, k) / C(n, k), as a product that neither overflows nor cancels.

    Args:
        n: draws in the pool.
        c: how many of them are correct.
        k: draws that one may take, at most n.

    Raises:
        ValueError: the three do not fit together.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {c} correct in {n} draws: 0 ≤ correct ≤ draws and 1 ≤ k ≤ draws must hold")
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def bootstrap_interval(
    per_problem: NDArray[np.float64], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap of an accuracy, over problems.

    Problems are what is resampled: the runs of one problem are not independent, so each problem comes with
    the mean over all its runs.

    Args:
        per_problem: shape (P,), the mean over runs for each problem.
        level: how much the interval holds, 0.95 for 95 %.
        resamples: how many times P problems are drawn with replacement.
        seed: the same seed gives the same interval.

    Returns:
        The lower and the upper end, in the units of `per_problem`.

    Raises:
        ValueError: there is no problem, or a value is not a number.
    """
    return _percentiles(_resampled_means(per_problem, resamples, seed), level)


def grouped_interval(
    per_problem: NDArray[np.float64], groups: Sequence[str], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The same of a mean over groups of the mean over each one's problems, which are resampled group by group."""
    places = {group: [place for place, of in enumerate(groups) if of == group] for group in dict.fromkeys(groups)}
    means = [
        _resampled_means(per_problem[of_group], resamples, [seed, number])
        for number, of_group in enumerate(places.values())
    ]
    return _percentiles(np.mean(means, axis=0), level)


def grouped_mean(per_problem: NDArray[np.float64], groups: Sequence[str]) -> float:
    """Mean over groups of the mean over each one's problems; of one group the plain mean."""
    labels = np.array(groups)
    return float(np.mean([per_problem[labels == group].mean() for group in dict.fromkeys(groups)]))


def _percentiles(means: NDArray[np.float64], level: float) -> tuple[float, float]:
    lower, upper = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


def _resampled_means(
    per_problem: NDArray[np.float64], resamples: int, seed: int | Sequence[int]
) -> NDArray[np.float64]:
    values = np.asarray(per_problem, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or np.isnan(values).any():
        raise ValueError("the bootstrap needs one number for each problem, and at least one problem")
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS // values.size)
    return np.concatenate(
        [
            values[generator.integers(values.size, size=(min(rows, resamples - done), values.size))].mean(axis=1)
            for done in range(0, resamples, rows)
        ]
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two methods on the same problems: the mean difference, its 95 % interval, p, and how many problems."""

    difference: float
    interval: tuple[float, float]
    p: float
    problems: int


def paired(
    first: NDArray[np.float64], second: NDArray[np.float64], permutations: int = 10_000, seed: int = 0
) -> Comparison | None:
    """Compare two methods problem by problem; None where they share no problem.

    The interval is a bootstrap over problems. The p value is that of a two-sided permutation test: under the hypothesis
    that the methods do not differ, each problem's difference could as well have the other sign. All sign changes are
    tried where they are no more than `permutations`, else so many are drawn, and the one observed counts among them.

    Args:
        first: shape (P,), each problem's mean over runs; nan where there is none.
        second: the same for the other method, same problems in the same order.
        permutations: how many sign changes are tried.
        seed: the same seed gives the same interval and p.

    Raises:
        ValueError: the two are not of one shape.
    """
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"paired methods have one number each for the same problems: {first.shape}, {second.shape}")
    differences = first - second
    differences = differences[~np.isnan(differences)]
    if not differences.size:
        return None
    return Comparison(
        difference=float(differences.mean()),
        interval=bootstrap_interval(differences, seed=seed),
        p=_sign_flip_p(differences, permutations, seed),
        problems=int(differences.size),
    )


def _sign_flip_p(differences: NDArray[np.float64], permutations: int, seed: int) -> float:
    differences = differences[differences != 0]
    count = differences.size
    threshold = abs(float(differences.sum())) - 1e-9
    if 2**count <= permutations:
        signs = np.array(list(product((-1.0, 1.0), repeat=count))).reshape(2**count, count)
        return float(np.mean(np.abs(signs @ differences) >= threshold))
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS // count)
    extreme = 0
    for done in range(0, permutations, rows):
        signs = generator.choice((-1.0, 1.0), size=(min(rows, permutations - done), count))
        extreme += int(np.sum(np.abs(signs @ differences) >= threshold))
    return (extreme + 1) / (permutations + 1)
