"""The command where no campaign runs: help, plans, status, bad input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Pacore

Write = Callable[..., Path]
COMMANDS = [
    ["run"],
    ["doctor"],
    ["validate"],
    ["status"],
    ["report"],
    ["show"],
    ["compare"],
    ["pool", "import"],
    ["pool", "export"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(pacore: Pacore, command: list[str]) -> None:
    ended = pacore(*command, "--help")
    assert ended.code == 0
    assert f"Example: pacore {' '.join(command)} " in ended.out
    assert "--json" in ended.out


def test_the_help_lists_the_commands_and_the_exit_statuses(pacore: Pacore) -> None:
    ended = pacore("--help")
    assert ended.code == 0
    assert all(command[0] in ended.out for command in COMMANDS)
    assert "0 complete, 1 incomplete or failed, 2 bad input" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fly"], "fly"),
        (["run"], "FILE"),
        (["run", "a.yaml", "b.yaml"], "b.yaml"),
        (["run", "a.yaml", "--fast"], "--fast"),
        (["pool", "import", "rows.jsonl"], "FILE"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_status_2(pacore: Pacore, arguments: list[str], said: str) -> None:
    ended = pacore(*arguments)
    assert ended.code == 2
    assert said.lower() in ended.complaint.lower()


@pytest.mark.parametrize("command", ["run", "validate", "status", "report"])
@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"pools": 4}, "pools is no key"),
        ({"benchmark": "none.jsonl"}, "none.jsonl: no such file"),
        ({"problems": [{"problem": "q", "answer": "a"}]}, "line 1: no 'id'"),
        ({"problems": [{"id": 1, "problem": "q", "answer": "a"}] * 2}, "line 2: id '1' stands twice"),
        ({"grader": "guess"}, "unknown grader 'guess'"),
        ({"template": "none.jinja"}, "none.jinja: can not be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2_and_touches_no_store(
    campaign_file: Write, pacore: Pacore, command: str, keys: dict[str, Any], said: str
) -> None:
    file = campaign_file(**keys)
    ended = pacore(command, file)
    assert ended.code == 2
    assert ended.complaint.startswith("pacore: ")
    assert said in ended.complaint
    assert ended.out == ""
    assert not (file.parent / "store").exists()


def test_a_campaign_file_that_is_not_there_is_one_line_and_exit_status_2(pacore: Pacore, tmp_path: Path) -> None:
    ended = pacore("run", tmp_path / "none.yaml")
    assert (ended.code, "none.yaml: No such file" in ended.complaint) == (2, True)


def test_a_complaint_is_printed_as_it_is_whatever_it_holds(campaign_file: Write, pacore: Pacore) -> None:
    ended = pacore("validate", campaign_file(name="[bold]x[/bold]"))
    assert "'[bold]x[/bold]' given" in ended.complaint


@pytest.mark.parametrize("command", ["validate", "report"])
def test_a_models_name_is_printed_as_it_is(campaign_file: Write, pacore: Pacore, command: str) -> None:
    file = campaign_file(sampler={"model": "[red]m[/red]"})
    assert "[red]m[/red]" in pacore(command, file).out


# --- validate -------------------------------------------------------------------------------------


def test_validate_prints_problems_shards_calls_and_prompts_by_round_and_a_bound(
    campaign_file: Write, pacore: Pacore
) -> None:
    file = campaign_file(methods=["low", "sc@4"], runs=3, sampler={"model": "sim", "max_tokens": 100})
    ended = pacore("validate", file, "--json")
    assert ended.code == 0
    assert json.loads(ended.out) == {
        "problems": 2,
        "shards": 1,
        "rounds": [
            {"method": "pool", "round": 1, "prompts": 2, "calls": 8},
            {"method": "low", "round": 2, "prompts": 6, "calls": 6},
        ],
        "calls": 14,
        "tokens_at_most": 1400,
    }
    assert "at most 14 calls and 1,400 tokens" in pacore("validate", file).out


def test_validate_says_how_to_bound_what_is_unbounded(campaign_file: Write, pacore: Pacore) -> None:
    file = campaign_file()
    assert json.loads(pacore("validate", file, "--json").out)["tokens_at_most"] is None
    assert "set sampler.max_tokens or engine.window" in pacore("validate", file).out


# --- status, report, pool -------------------------------------------------------------------------


def test_the_status_of_a_campaign_that_never_ran_is_incomplete_and_exit_status_1(
    campaign_file: Write, pacore: Pacore
) -> None:
    file = campaign_file()
    ended = pacore("status", file, "--json")
    assert ended.code == 1
    stage = {"done": 0, "failed": 0, "enough": False}
    assert json.loads(ended.out) == {
        "complete": False,
        "stages": [
            {"method": "pool", "round": 1, "total": 8, **stage},
            {"method": "low", "round": 1, "total": 2, **stage},
            {"method": "low", "round": 2, "total": 2, **stage},
        ],
        "waiting": 0,
    }
    assert "incomplete (pool round 1: 8 of 8" in pacore("status", file).out


def test_the_report_of_a_campaign_that_never_ran_has_its_rows_and_no_figures(
    campaign_file: Write, pacore: Pacore
) -> None:
    file = campaign_file()
    ended = pacore("report", file, "--json")
    assert ended.code == 1
    rows = json.loads(ended.out)
    assert [(row["method"], row["accuracy"], row["failed"]) for row in rows] == [
        ("pass@1", None, 8),
        ("low", None, 2),
        ("pass@4", None, 8),
    ]
    assert json.loads((file.parent / "store" / "reports" / "tiny" / "table.json").read_text()) == rows


def test_a_long_table_is_whole_where_there_is_no_terminal(campaign_file: Write, pacore: Pacore, tmp_path: Path) -> None:
    name, texts = "a-method-with-quite-a-long-name-of-its-own", tmp_path / "texts.jsonl"
    text = {"content": "2", "completion_tokens": 1_234_567_890}
    texts.write_text("".join(json.dumps({"problem": id, **text}) + "\n" for id in ["sum", "product"]))
    file = campaign_file(pool=1, methods=[{"name": name, "rounds": [1]}])
    assert pacore("pool", "import", texts, file).code == 0
    shown = [line.split() for line in pacore("report", file).out.splitlines()]
    assert [name, "2", "1", "–", "–", "0", "0", "0", "2"] in shown
    assert ["pass@1", "2", "1", "–", "–", "1,234,567,890", "1,234,567,890", "2", "0"] in shown


def test_a_pool_goes_out_to_a_file_and_in_again(campaign_file: Write, pacore: Pacore, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps({"problem": "sum", "content": "2"}) + "\n")
    file = campaign_file()
    imported = pacore("pool", "import", texts, file, "--json")
    assert (imported.code, json.loads(imported.out)) == (0, {"imported": 1})
    exported = pacore("pool", "export", file, tmp_path / "out.jsonl", "--json")
    assert (exported.code, json.loads(exported.out)) == (0, {"exported": 1})
    assert json.loads((tmp_path / "out.jsonl").read_text())["content"] == "2"
    assert "imported 1 trajector" in pacore("pool", "import", tmp_path / "out.jsonl", file).out


def test_a_pool_file_with_a_bad_row_is_one_line_and_exit_status_2(
    campaign_file: Write, pacore: Pacore, tmp_path: Path
) -> None:
    (tmp_path / "texts.jsonl").write_text('{"problem": "none", "content": "2"}\n')
    ended = pacore("pool", "import", tmp_path / "texts.jsonl", campaign_file())
    assert (ended.code, "line 1: no problem 'none'" in ended.complaint) == (2, True)
