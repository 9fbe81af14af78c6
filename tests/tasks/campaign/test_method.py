from typing import Any

import pytest

from tasks.campaign.method import parse_method


@pytest.mark.parametrize(
    ("given", "widths"),
    [
        ("low", [4, 1]),
        ("medium", [16, 1]),
        ("high", [32, 4, 1]),
        ("sequential@1", [1]),
        ("sequential@5", [1, 1, 1, 1, 1]),
        ("full@8", [8, 1]),
        ("sc@64", [64]),
        ("pass@10", [10]),
        ("rsa", [16] * 10),
        ("rsa@8,2,3", [8, 8, 8]),
        ([7], [7, 1]),
        ([16, 3, 2], [16, 3, 2, 1]),
        ([], [1]),
        ({"name": "own", "rounds": []}, [1]),
        ({"name": "own", "rounds": [5, {"width": 2, "sees": 3}]}, [5, 2, 1]),
        ({"name": "own", "rounds": [5, 3], "read_out": "vote"}, [5, 3]),
    ],
)
def test_a_methods_rounds_end_in_one_trajectory_unless_it_is_read_out_over_several(
    given: Any, widths: list[int]
) -> None:
    assert parse_method(given).widths == widths


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("high", "high"),
        ("sc@16", "sc@16"),
        ("rsa", "rsa"),
        ("rsa@8, 2, 3", "rsa@8,2,3"),
        ([16, 4], "[16,4]"),
        ({"name": "own", "rounds": [2]}, "own"),
    ],
)
def test_a_method_has_a_name(given: Any, name: str) -> None:
    assert parse_method(given).name == name


@pytest.mark.parametrize(
    ("given", "read_out"), [("low", "last"), ("sc@4", "vote"), ("rsa", "vote"), ("pass@4", "any"), ("full@4", "last")]
)
def test_a_method_has_a_read_out(given: Any, read_out: str) -> None:
    assert parse_method(given).read_out == read_out


def test_rsa_shows_each_trajectory_a_subset_of_the_last_round() -> None:
    assert [round.sees for round in parse_method("rsa@8,2,3").rounds] == ["all", 2, 2]
    assert {round.sees for round in parse_method("rsa").rounds[1:]} == {4}


def test_full_hands_on_whole_trajectories_and_nothing_else_does() -> None:
    assert parse_method("full@8").rounds[0].compaction == "full"
    assert {round.compaction for round in parse_method("high").rounds} == {"conclusion"}


def test_a_summary_is_a_round_in_which_each_trajectory_sees_the_one_in_its_place() -> None:
    first, second, last = parse_method("summary@8").rounds
    assert (first.width, first.compaction) == (8, "full")
    assert (second.width, second.sees, second.prompt) == (8, "own", "summary")
    assert (last.width, last.sees, last.prompt) == (1, "all", "synthesis")


def test_pdr_distills_one_workspace_out_of_each_round_of_drafts() -> None:
    rounds = parse_method("pdr@8,2").rounds
    assert [(round.width, round.prompt) for round in rounds] == [
        (8, "synthesis"),
        (1, "distill"),
        (8, "synthesis"),
        (1, "distill"),
        (1, "synthesis"),
    ]


def test_best_of_n_ends_on_a_trajectory_that_selects() -> None:
    method = parse_method("best@8")
    assert [(round.width, round.prompt) for round in method.rounds] == [(8, "synthesis"), (1, "select")]
    assert (method.read_out, method.resamples_pool) == ("best", False)


def test_what_a_round_asks_for_is_part_of_a_method_only_where_it_is_no_synthesis() -> None:
    assert all("prompt" not in round for round in parse_method("high").model_dump()["rounds"])
    assert parse_method("pdr@8,1").model_dump()["rounds"][1]["prompt"] == "distill"


@pytest.mark.parametrize(
    ("given", "alone"), [("sc@4", True), ("pass@4", True), ("low", False), ("rsa", False), ("sequential@1", False)]
)
def test_the_pool_alone_gives_the_result_of_votes_and_pass_over_one_round(given: Any, alone: bool) -> None:
    assert parse_method(given).resamples_pool is alone


def test_any_over_one_round_is_pass_at_its_width() -> None:
    own = parse_method({"name": "own", "rounds": [8], "read_out": "any"})
    assert own.model_copy(update={"name": "pass@8"}) == parse_method("pass@8")


@pytest.mark.parametrize(
    "given", ["lo", "sc@", "sc@-1", "sc@x", "rsa@4,2", "LOW", "", ["4x"], {"rounds": [4]}, 4, None]
)
def test_what_is_no_method_is_refused_with_the_known_forms(given: Any) -> None:
    with pytest.raises(ValueError, match=r"is no method; known: low, medium, high, rsa, sc@N"):
        parse_method(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([0], "0 given; Input should be greater than or equal to 1"),
        ([4, -1], "-1 given"),
        ("sc@0", "0 given"),
        ("sequential@0", "rounds"),
        ({"name": "own", "rounds": [4], "rounds_": 1}, "rounds_"),
        ({"name": "own", "rounds": [{"width": 4, "see": 2}]}, "see"),
        ({"name": "own", "rounds": [4, {"width": 4, "sees": 0}]}, "sees: 0 given"),
        ({"name": "own", "rounds": [{"width": 4, "compaction": "short"}]}, "'short' given"),
        (
            {"name": "own", "rounds": [4, {"width": 2, "sees": "own"}]},
            "sees: own needs a round before it that is as wide",
        ),
        ({"name": "own", "rounds": [{"width": 2, "sees": "own"}]}, "sees: own needs a round before it that is as wide"),
        ({"name": "own", "rounds": [{"width": 4, "prompt": "poem"}]}, "'poem' given"),
        ({"name": "own", "rounds": [4], "read_out": "finest"}, "'finest' given"),
        ({"name": "own", "rounds": [4, 1], "read_out": "best"}, "best needs a last round"),
        ({"name": "two words", "rounds": [4]}, "'two words' given"),
    ],
)
def test_a_method_with_a_wrong_part_is_refused_on_one_line_that_names_it(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r"^method '.*known: low") as refused:
        parse_method(given)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
