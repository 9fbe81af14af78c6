"""`pacore report`, `show` and `compare` on stores written by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.campaign.campaign_file import load_campaigns
from tasks.campaign.plan import make_plan
from tests.flows.conftest import Pacore
from tests.tasks.ledger import PRODUCT, SUM, Ledger, with_pool

Write = Callable[..., Path]


@pytest.fixture
def stored(campaign_file: Write) -> Callable[..., Path]:
    """A campaign whose store is complete: `low` is right on both problems."""

    def write(**keys: Any) -> Path:
        file = campaign_file(**keys)
        for campaign in load_campaigns(file):
            fill(Ledger(make_plan(campaign)))
        return file

    return write


def fill(ledger: Ledger, answer: str = "6") -> None:
    here, pool = with_pool(ledger)
    for problem in (SUM, PRODUCT):
        here.round("low", problem, 0, 1, pool[problem])
        here.later("low", problem, 0, 2, [("correct", answer, 10)], pool[problem][2:])
    here.books()


def test_report_writes_the_page_into_the_store_and_says_where(stored: Callable[..., Path], pacore: Pacore) -> None:
    file = stored()
    ended = pacore("report", file)
    assert ended.code == 0
    page = file.parent / "store/reports/tiny/report.html"
    assert str(page) in ended.out.replace("\n", "")
    assert "sum: wrong to right" not in page.read_text()
    assert "sum: all wrong to right" in page.read_text()
    assert "100.0–100.0" in ended.out


def test_report_writes_where_it_is_told_to(stored: Callable[..., Path], pacore: Pacore, tmp_path: Path) -> None:
    assert pacore("report", stored(), "--out", tmp_path / "elsewhere").code == 0
    assert (tmp_path / "elsewhere/report.html").exists()
    assert not (tmp_path / "store/reports/tiny/report.html").exists()


def test_several_campaigns_are_reported_side_by_side(
    stored: Callable[..., Path], campaign_file: Write, pacore: Pacore, tmp_path: Path
) -> None:
    first = stored()
    second = first.with_name("second.yaml")
    second.write_text(yaml.safe_dump({**yaml.safe_load(first.read_text()), "name": "other", "sampler": {"model": "b"}}))
    fill(Ledger(make_plan(load_campaigns(second)[0])))
    ended = pacore("report", first, second, "--json")
    assert ended.code == 0
    assert {name: lines[1]["accuracy"] for name, lines in json.loads(ended.out).items()} == {"tiny": 1.0, "other": 1.0}
    text = (tmp_path / "store/reports/tiny+other/report.md").read_text()
    assert "| sim | low | 100.0" in text
    assert "| b | low | 100.0" in text


def test_a_file_of_several_campaigns_is_validated_and_its_status_told_for_each(
    campaign_file: Write, pacore: Pacore
) -> None:
    file = campaign_file(methods=["low"])
    file.write_text(
        yaml.safe_dump({**yaml.safe_load(file.read_text()), "each": [{"runs": 1, "name": "a"}, {"name": "b"}]})
    )
    assert json.loads(pacore("validate", file, "--json").out).keys() == {"a", "b"}
    ended = pacore("status", file, "--json")
    assert (ended.code, json.loads(ended.out).keys()) == (1, {"a", "b"})
    assert pacore("pool", "export", file, "pool.jsonl").complaint.endswith("give a file with the one that is meant")


def test_report_without_a_file_is_one_line_and_exit_status_2(pacore: Pacore) -> None:
    ended = pacore("report")
    assert (ended.code, ended.complaint) == (2, "pacore: no campaign file given; for example pacore report hmmt.yaml")


def test_show_walks_a_problem_through_its_rounds(stored: Callable[..., Path], pacore: Pacore) -> None:
    ended = pacore("show", stored(), "--problem", "sum")
    assert ended.code == 0
    assert ended.out.startswith("sum, low, run 0: all wrong to right\n")
    assert "was shown 1✗ 2✗ → all wrong to right" in ended.out


def test_show_prints_what_a_model_wrote_and_obeys_none_of_it(campaign_file: Write, pacore: Pacore) -> None:
    file = campaign_file()
    fill(Ledger(make_plan(load_campaigns(file)[0])), "\x1b[31m[red]:smile:[/red] <b>")
    ended = pacore("show", file, "--problem", "product", "--method", "low", "--run", "0")
    assert "\x1b" not in ended.out
    assert "│ ␛[31m[red]:smile:[/red] <b>" in ended.out
    walked = json.loads(pacore("show", file, "--problem", "product", "--json").out)
    assert walked["rounds"][1][0]["message"] == "\x1b[31m[red]:smile:[/red] <b>"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--problem", "none"], "no problem 'none'"),
        (["--problem", "sum", "--method", "high"], "tiny has no method high; there are: low"),
        (["--problem", "sum", "--run", "7"], "no round of low, run 7, on 'sum' is stored"),
    ],
)
def test_show_says_what_is_not_there(
    stored: Callable[..., Path], pacore: Pacore, arguments: list[str], said: str
) -> None:
    ended = pacore("show", stored(), *arguments)
    assert (ended.code, said in ended.complaint) == (2, True)


def test_compare_pairs_two_methods_by_problem(stored: Callable[..., Path], pacore: Pacore) -> None:
    file = stored()
    compared = json.loads(pacore("compare", file, "low", "pass@1", "--json").out)
    assert compared == {"difference": 0.625, "interval": [0.5, 0.75], "p": 0.5, "problems": 2}
    assert "low against pass@1: +62.5 points, 95 % interval 50.0 to 75.0, p 0.5, 2 problems" in pacore(
        "compare", file, "low", "pass@1"
    ).out.replace("\n", " ")
    refused = pacore("compare", file, "low", "sc@5")
    assert (refused.code, "tiny has no method sc@5" in refused.complaint) == (2, True)
