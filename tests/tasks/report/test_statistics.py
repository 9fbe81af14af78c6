import tracemalloc
from itertools import combinations, product
from random import Random

import numpy as np
import pytest

from tasks.report.statistics import bootstrap_interval, grouped_interval, grouped_mean, paired, pass_at_k


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


def test_the_interval_is_that_of_resampled_problems_with_all_their_runs() -> None:
    """The slow and obvious way: draw problems with replacement, take every run of those drawn."""
    runs = [[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 1, 0]]
    chooser = Random(1)
    means = []
    for _ in range(20_000):
        drawn = [chooser.choice(runs) for _ in runs]
        means.append(sum(map(sum, drawn)) / sum(map(len, drawn)))
    means.sort()
    slow = means[500], means[19_500]
    assert bootstrap_interval(np.array(runs).mean(axis=1)) == pytest.approx(slow, abs=0.03)


def test_a_comparison_is_of_the_same_problems() -> None:
    first, second = np.array([1.0, 0.5, np.nan, 0.0]), np.array([0.0, 0.5, 1.0, np.nan])
    comparison = paired(first, second)
    assert comparison is not None
    assert (comparison.difference, comparison.problems) == (0.5, 2)
    assert comparison.interval == (0.0, 1.0)
    assert paired(np.array([np.nan]), np.array([1.0])) is None


def test_what_is_not_one_number_each_for_the_same_problems_is_not_compared() -> None:
    with pytest.raises(ValueError, match="same problems"):
        paired(np.zeros(3), np.zeros(4))


def test_p_is_the_share_of_sign_changes_that_are_as_extreme() -> None:
    differences = [0.25, 0.5, -0.25, 0.75, 0.0, 0.5, 0.25, -0.5]
    as_extreme = [
        abs(sum(sign * one for sign, one in zip(signs, differences, strict=True))) >= abs(sum(differences))
        for signs in product((-1, 1), repeat=len(differences))
    ]
    comparison = paired(np.array(differences), np.zeros(8))
    assert comparison is not None
    assert comparison.p == pytest.approx(sum(as_extreme) / len(as_extreme))


def test_p_from_drawn_sign_changes_is_near_the_exact_one_and_repeats() -> None:
    differences = np.random.default_rng(2).normal(0.3, 1, 12)
    exact, drawn, again = (paired(differences, np.zeros(12), n) for n in (5000, 4000, 4000))
    assert exact is not None
    assert drawn is not None
    assert drawn == again
    assert drawn.p == pytest.approx(exact.p, abs=0.03)


def test_methods_that_never_differ_have_p_1() -> None:
    comparison = paired(np.ones(30), np.ones(30))
    assert comparison is not None
    assert (comparison.difference, comparison.p) == (0.0, 1.0)


def test_a_difference_on_every_one_of_many_problems_has_a_p_that_is_small_and_not_0() -> None:
    comparison = paired(np.ones(40), np.zeros(40))
    assert comparison is not None
    assert comparison.p == pytest.approx(1 / 10_001)


def test_under_no_difference_p_is_uniform() -> None:
    generator = np.random.default_rng(3)
    ps = [c.p for _ in range(400) if (c := paired(generator.normal(size=10), generator.normal(size=10), 1024))]
    assert np.mean([p <= 0.05 for p in ps]) == pytest.approx(0.05, abs=0.03)


def test_groups_weigh_alike_however_many_problems_they_have() -> None:
    values, groups = np.array([1.0, 1.0, 1.0, 0.0]), ["a", "a", "a", "b"]
    assert grouped_mean(values, groups) == 0.5
    assert grouped_mean(values, [""] * 4) == 0.75


def test_the_interval_over_groups_is_that_of_problems_resampled_group_by_group() -> None:
    of_group = {"a": [1, 0, 1, 1, 0, 1], "b": [0, 0, 1]}
    chooser = Random(1)
    means = []
    for _ in range(20_000):
        scores = [[chooser.choice(values) for _ in values] for values in of_group.values()]
        means.append(sum(sum(drawn) / len(drawn) for drawn in scores) / 2)
    means.sort()
    values = np.array([float(value) for values in of_group.values() for value in values])
    groups = [group for group, values in of_group.items() for _ in values]
    assert grouped_interval(values, groups) == pytest.approx((means[500], means[19_500]), abs=0.03)
