from collections.abc import Callable

import pytest

from tasks.campaign.campaign_file import CampaignError
from tasks.campaign.method import parse_method
from tasks.report.walk import Walk, find_problem, turning, walks
from tasks.report.walk_text import as_text
from tests.tasks.ledger import PRODUCT, SUM, Ledger, Made, with_pool

Make = Callable[..., Ledger]
LOW = parse_method("low")


def walked(ledger: Make, answer: Made, shown: list[int], problem: int = SUM) -> Walk:
    """The walk of a run of `low` that was shown these draws of its pool."""
    here, pool = with_pool(ledger())
    here.reasoning = "first\nthen"
    here.round("low", problem, 0, 1, pool[problem])
    here.later("low", problem, 0, 2, [answer], [pool[problem][draw] for draw in shown])
    books = here.books()
    return walks(books, [(LOW, books.plan.problems[problem], 0)])[0]


def test_a_walk_tells_every_message_which_of_them_was_right_and_in_which_place(ledger: Make) -> None:
    one = walked(ledger, ("correct", "2", 7), [2, 0])
    assert [[told.message for told in round] for round in one.rounds] == [["2", "2", "3", "4"], ["2"]]
    assert [told.outcome for told in one.rounds[0]] == ["correct", "correct", "wrong", "wrong"]
    last = one.rounds[1][0]
    assert [(seen.number, seen.trajectory, seen.outcome) for seen in last.seen] == [(1, 3, "wrong"), (2, 1, "correct")]
    assert (last.completion_tokens, last.prompt_tokens, last.reasoning) == (7, 201, "first\nthen")


@pytest.mark.parametrize(
    ("answer", "shown", "turn"),
    [
        (("correct", "2", 1), [2, 3], "all wrong to right"),
        (("correct", "2", 1), [2, 0], "wrong to right"),
        (("wrong", "3", 1), [0, 1, 2], "right to wrong"),
        (("correct", "2", 1), [0, 1, 2], None),
        (("wrong", "3", 1), [2, 3], None),
        (("ungraded", None, 1), [0, 1], None),
        (("correct", "2", 1), [], None),
    ],
)
def test_an_answer_turns_where_it_leaves_the_vote_over_what_it_was_shown(
    ledger: Make, answer: Made, shown: list[int], turn: str | None
) -> None:
    assert walked(ledger, answer, shown).turn == turn


def test_the_first_problems_of_every_turn_are_found_each_once(ledger: Make) -> None:
    here, pool = with_pool(ledger(runs=2))
    for problem, outcome, shown in [(SUM, "wrong", [0, 1]), (PRODUCT, "correct", [0, 1])]:
        for run in range(2):
            here.round("low", problem, run, 1, pool[problem])
            here.later("low", problem, run, 2, [(outcome, "9", 1)], [pool[problem][draw] for draw in shown])
    found = turning(here.books(), each=2)
    assert [(method.name, problem.id, run) for method, problem, run in found] == [
        ("low", "product", 0),
        ("low", "sum", 0),
    ]


def test_what_is_not_there_is_said_with_what_is(ledger: Make) -> None:
    here, _ = with_pool(ledger())
    books = here.books()
    with pytest.raises(CampaignError, match=r"no problem 'none' in .*; there are sum, product"):
        find_problem(books, "none")
    with pytest.raises(CampaignError, match="no round of low, run 3, on 'sum' is stored"):
        walks(books, [(LOW, books.plan.problems[SUM], 3)])


def test_on_a_terminal_reasoning_is_folded_until_it_is_asked_for(ledger: Make) -> None:
    one = walked(ledger, ("correct", "2", 7), [2, 0])
    text = as_text(one)
    assert text.startswith("sum, low, run 0: wrong to right\nuser │ What is 1 + 1?\ntruth │ 2\n")
    assert "Round 1: 4 trajectories, 2 right" in text
    assert "was shown 1✗ 2✓ → wrong to right" in text
    assert "reasoning of 10 characters" in text
    assert "reasoning │ then" not in text
    assert "    reasoning │ first\n    reasoning │ then\n" in as_text(one, reasoning=True)


def test_what_a_model_wrote_moves_no_cursor_and_reverses_no_line(ledger: Make) -> None:
    one = walked(ledger, ("wrong", "\x1b[2J\x1b]0;x\x07\u202egnorw\r[bold]x[/bold]", 1), [0])
    text = as_text(one)
    assert not set(text) & {"\x1b", "\x07", "\r", "\u202e"}
    assert "␛[2J␛]0;x␇�gnorw␍[bold]x[/bold]" in text
