import pytest

from tasks.report.vote import sc_accuracy, vote


def test_the_answer_of_most_draws_wins() -> None:
    assert vote(["7", "8", "8", None]) == "8"


def test_a_tie_goes_to_the_answer_drawn_first() -> None:
    assert vote(["9", "8", "8", "9", "7"]) == "9"


def test_draws_without_an_answer_do_not_win_even_as_the_majority() -> None:
    assert vote([None, None, None, "8"]) == "8"


@pytest.mark.parametrize("answers", [[], [None, None]])
def test_a_vote_without_answers_has_no_winner(answers: list[str | None]) -> None:
    assert vote(answers) is None


def test_with_the_whole_pool_all_resamples_are_the_one_vote_in_draw_order() -> None:
    assert sc_accuracy(["1", "2", "2", "1"], [True, False, False, True], n=4) == 1.0
    assert sc_accuracy(["2", "1", "1", "2"], [False, True, True, False], n=4) == 0.0


def test_one_draw_estimates_the_mean() -> None:
    estimate = sc_accuracy(["1", "2", "3", "4"], [True, False, False, False], n=1, resamples=4000)
    assert estimate == pytest.approx(0.25, abs=0.03)


def test_draws_are_taken_without_replacement() -> None:
    answers = ["1", "1", "2"]  # any two of three hold a "1" that wins: alone, or as the earlier one of a tie
    assert sc_accuracy(answers, [True, True, False], n=2) == 1.0


def test_a_vote_without_answers_is_wrong() -> None:
    assert sc_accuracy([None, None], [False, False], n=2) == 0.0


def test_the_same_seed_gives_the_same_estimate_and_another_seed_another() -> None:
    answers, correct = [str(draw % 3) for draw in range(30)], [draw % 3 == 0 for draw in range(30)]
    estimates = [sc_accuracy(answers, correct, n=5, seed=seed) for seed in (1, 1, 2, 3, 4)]
    assert estimates[0] == estimates[1]
    assert len(set(estimates)) > 1


@pytest.mark.parametrize("n", [0, 4])
def test_more_draws_than_the_pool_has_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"sc@{n} needs a pool"):
        sc_accuracy(["1", "2", "3"], [True, False, False], n=n)


def test_answers_and_verdicts_of_different_number_are_refused() -> None:
    with pytest.raises(ValueError, match="3 answers and 2 verdicts"):
        sc_accuracy(["1", "2", "3"], [True, False], n=1)
