import tracemalloc
from itertools import combinations

import numpy as np
import pytest

from tasks.statistics import bootstrap_interval, pass_at_k


@pytest.mark.parametrize(("n", "c", "k"), [(5, 2, 1), (5, 2, 3), (6, 1, 5), (6, 3, 2), (4, 0, 2), (4, 4, 1), (4, 3, 2)])
def test_pass_at_k_is_the_share_of_subsets_that_hold_a_right_draw(n: int, c: int, k: int) -> None:
    subsets = list(combinations([1] * c + [0] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_1_is_the_mean() -> None:
    assert pass_at_k(512, 37, 1) == pytest.approx(37 / 512)


def test_pass_at_k_of_a_large_pool_neither_overflows_nor_cancels() -> None:
    assert pass_at_k(1_000_000, 1, 1000) == pytest.approx(0.001)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0), (0, 0, 1)])
def test_pass_at_k_of_numbers_that_do_not_fit_is_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="must hold"):
        pass_at_k(n, c, k)


def test_the_interval_is_that_of_the_normal_law_for_many_problems() -> None:
    values = np.random.default_rng(1).random(2000)
    lower, upper = bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert (lower, upper) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.001)


def test_a_lower_level_gives_a_narrower_interval() -> None:
    values = np.arange(30.0)
    wide, narrow = bootstrap_interval(values), bootstrap_interval(values, level=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_problems_that_all_agree_leave_no_width() -> None:
    assert bootstrap_interval(np.zeros(30)) == (0.0, 0.0)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).random(20)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_memory_does_not_grow_with_the_number_of_problems() -> None:
    tracemalloc.start()
    bootstrap_interval(np.zeros(20_000), resamples=500)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [[0.5], [1.0]]])
def test_what_is_not_one_number_a_problem_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="one number for each problem"):
        bootstrap_interval(np.array(values))
