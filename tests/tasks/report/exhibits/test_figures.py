"""Figures 1, 4 and 5: their numbers, worked out by hand."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.campaign.record import write_window
from tasks.report.exhibits import exhibits
from tasks.report.exhibits.exhibit import Exhibit
from tasks.report.exhibits.figure_1 import figure_1
from tasks.report.exhibits.figure_4 import figure_4_left, figure_4_right
from tasks.report.exhibits.figure_5 import figure_5_left, figure_5_right
from tasks.report.exhibits.plot import as_png, as_svg, inline
from tests.tasks.ledger import PRODUCT, SUM, Ledger, with_pool

Make = Callable[..., Ledger]
METHODS = ["low", "sequential@2", "sequential@3", "full@4", "sc@4", "rsa@2,1,2"]


def with_runs(ledger: Make) -> Ledger:
    """A run of every kind of method on both problems: all right on SUM, all wrong on PRODUCT."""
    here, pool = with_pool(ledger(methods=METHODS))
    for problem, outcome in [(SUM, "correct"), (PRODUCT, "wrong")]:
        made = outcome, "7", 10
        for method in ("low", "full@4"):
            here.round(method, problem, 0, 1, pool[problem])
            here.later(method, problem, 0, 2, [made], pool[problem])
        for method, rounds in [("sequential@2", 2), ("sequential@3", 3)]:
            last = pool[problem][:1]
            here.round(method, problem, 0, 1, last)
            for number in range(2, rounds + 1):
                last = here.later(method, problem, 0, number, [made], last)
        here.round("rsa@2,1,2", problem, 0, 1, pool[problem][:2])
        here.later("rsa@2,1,2", problem, 0, 2, [made, made], pool[problem][:1])
    return here


def curves(exhibit: Exhibit | None, panel: int = 0) -> dict[str, list[tuple[float, float]]]:
    assert exhibit
    return {curve.label: [(p.x, round(p.y, 6)) for p in curve.points] for curve in exhibit.panels[panel].curves}


def test_figure_1_sets_accuracy_against_tokens_one_curve_for_each_way_to_spend_them(ledger: Make) -> None:
    assert curves(figure_1([with_runs(ledger).evidence()])) == {
        "vote (sc@N)": [(62.5, 37.5), (250.0, 50.0)],
        "coordinated rounds": [(260.0, 50.0)],
        "sequential": [((10 + 10 + 100 + 10) / 2, 50.0), ((10 + 20 + 100 + 20) / 2, 50.0)],
        "whole trajectories, no compaction": [(260.0, 50.0)],
        "random subsets (RSA)": [((30 + 20 + 200 + 20) / 2, 50.0)],
    }


def test_figure_4_left_counts_the_trajectories_of_a_run(ledger: Make) -> None:
    drawn = curves(figure_4_left([with_runs(ledger).evidence()]))
    assert {label: [x for x, _ in points] for label, points in drawn.items()} == {
        "vote over N": [1, 4],
        "parallel, K⃗ = [N]": [2, 5],
        "sequential, K⃗ = [1, … 1]": [2, 3],
    }


def test_figure_4_right_shows_accuracy_and_the_tokens_of_the_last_prompt_with_the_window(ledger: Make) -> None:
    here = with_runs(ledger)
    write_window(here.plan, 4096)
    exhibit = figure_4_right([here.evidence()])
    assert curves(exhibit, 0) == {"messages": [(1, 50.0), (4, 50.0)], "whole trajectories": [(4, 50.0)]}
    assert curves(exhibit, 1) == {"messages": [(1, 101.0), (4, 401.0)], "whole trajectories": [(4, 401.0)]}
    assert exhibit
    assert exhibit.panels[1].limit == (4096, "the model's window")


def test_without_a_run_that_asked_the_engine_no_window_is_drawn(ledger: Make) -> None:
    exhibit = figure_4_right([with_runs(ledger).evidence()])
    assert exhibit
    assert exhibit.panels[1].limit is None


def test_cross_checking_is_the_share_of_trajectories_with_such_a_word_by_round(ledger: Make) -> None:
    here, pool = with_pool(ledger(runs=3))
    for run, text in enumerate(["as Ref 2 says", "参考 and again 参考", "I prefer 2"]):
        here.round("low", SUM, run, 1, pool[SUM])
        here.reasoning = text
        here.later("low", SUM, run, 2, [("correct", "2", 10)], pool[SUM])
    exhibit = figure_5_left([here.evidence()])
    assert curves(exhibit) == {"with a cross-checking word": [(1, 0.0), (2, pytest.approx(200 / 3))]}
    assert exhibit
    assert exhibit.panels[0].curves[0].points[1].size == "2 of 3 trajectories, 1 words each"
    assert "参考" in exhibit.about


def test_emergence_counts_prompts_whose_messages_are_all_graded_wrong_and_no_others(ledger: Make) -> None:
    here, pool = with_pool(ledger(runs=4))
    wrong, right, undecided = pool[PRODUCT][:2], pool[PRODUCT][2:3], ["a message that was not graded"]
    shown = [(wrong, "correct"), (wrong[:1], "wrong"), (wrong + right, "correct"), (wrong + undecided, "correct")]
    for run, (references, outcome) in enumerate(shown):
        here.round("low", PRODUCT, run, 1, pool[PRODUCT])
        here.later("low", PRODUCT, run, 2, [(outcome, "6", 10)], references)
    exhibit = figure_5_right([here.evidence()])
    assert curves(exhibit) == {"right where all messages were wrong": [(2, 50.0)]}
    assert exhibit
    assert exhibit.panels[0].curves[0].points[0].size == "1 of 2 trajectories, 2 prompts, 1 problems"


def test_a_figure_that_lacks_its_methods_is_left_out(ledger: Make) -> None:
    here, _ = with_pool(ledger(methods=["sc@4"]))
    made = [exhibit.key for exhibit in exhibits([here.evidence()])]
    assert made == ["table-2", "figure-1", "comparisons", "methods"]


def test_with_nothing_stored_there_is_nothing_but_the_table(ledger: Make) -> None:
    assert [exhibit.key for exhibit in exhibits([ledger(methods=METHODS).evidence()])] == ["methods"]


# --- drawn ----------------------------------------------------------------------------------------


def test_a_figure_is_drawn_the_same_way_each_time_and_carries_its_notes(ledger: Make, tmp_path: Path) -> None:
    exhibit = figure_1([with_runs(ledger).evidence()])
    assert exhibit
    assert as_png(exhibit).startswith(b"\x89PNG")
    assert as_svg(exhibit) == as_svg(exhibit)
    text = " ".join(ElementTree.fromstring(as_svg(exhibit)).itertext())
    assert all(part in text for part in ("2 problems", "sampler sim", "2026-01-01", "coordinated rounds"))


def test_a_panel_on_a_page_takes_the_pages_ink_and_its_width(ledger: Make) -> None:
    exhibit = figure_1([with_runs(ledger).evidence()])
    assert exhibit
    drawn = inline(exhibit.panels[0])
    assert drawn.startswith("<svg")
    root = ElementTree.fromstring(drawn)
    assert "width" not in root.attrib
    assert "viewBox" in root.attrib
    assert "currentColor" in drawn
    assert "#010203" not in drawn
    assert not [name for name in drawn.split() if name.startswith("id=") and '"figure' in name]


def test_a_name_that_is_markup_is_drawn_as_text(ledger: Make) -> None:
    name = 'x"><script>alert(1)</script>$x^2$\x1b'
    here, _ = with_pool(ledger(methods=["sc@4"], sampler={"model": name}))
    one = here.evidence()
    other, _ = with_pool(ledger(methods=["sc@4"], store="second"))
    exhibit = figure_1([one, other.evidence()])
    assert exhibit
    drawn = inline(exhibit.panels[0])
    assert "<script" not in drawn
    assert f"{name[:-1]}␛, vote (sc@N)" in "".join(ElementTree.fromstring(drawn).itertext())
