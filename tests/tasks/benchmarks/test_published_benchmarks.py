"""Benchmarks by their names: the cards, and made-up rows of the same form as the published ones."""

import csv
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.benchmarks import card as card_module
from tasks.benchmarks.card import Card, cards
from tasks.campaign.benchmark import load_benchmark
from tasks.campaign.campaign_file import BenchmarkSource, CampaignError, Fields, load_campaign
from tasks.graders import BUILT_IN
from tasks.problem import Problem

DATA = Path(os.environ.get("PACORE_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))
Write = Callable[..., Path]

SIZES = {
    "aime_2024": 30,
    "aime_2025": 30,
    "hmmt_feb_2025": 30,
    "apex": 12,
    "imo_answerbench": 400,
    "livecodebench": 454,
    "hle": 2158,
    "multichallenge": 273,
    "math_500": 500,
    "gsm8k": 1319,
    "gpqa_diamond": 198,
    "swe_bench_verified": 500,
}
RUNS = {"aime_2025": 64, "hmmt_feb_2025": 64, "apex": 64, "imo_answerbench": 8, "livecodebench": 8, "multichallenge": 8}


def mathematics(number: int) -> dict[str, Any]:
    """A row as MathArena's; columns of others are there as well."""
    question = {"problem": f"What is {number} + 1?", "answer": str(number + 1)}
    return {"problem_idx": number, "id": number, "unique_id": f"test/{number}", **question}


ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "imo_answerbench": lambda n: {
        "Problem ID": f"imo-{n}",
        "Problem": f"{n}?",
        "Short Answer": f"${n}$",
        "Category": "x",
    },
    "livecodebench": lambda n: {
        "question_id": f"q{n}",
        "question_content": f"Add {n}.",
        "starter_code": "class Solution:\n    def add(self, a):" if n % 2 else "",
        "contest_date": "2024-10-01T00:00:00",
        "public_test_cases": json.dumps([{"input": "1", "output": str(1 + n), "testtype": "functional"}]),
        "private_test_cases": "[]",
        "metadata": json.dumps({"func_name": "add"} if n % 2 else {}),
    },
    "hle": lambda n: {"id": f"h{n}", "question": f"{n}?", "answer": str(n), "image": "", "answer_type": "exactMatch"},
    "multichallenge": lambda n: {
        "QUESTION_ID": f"m{n}",
        "AXIS": ["INFERENCE_MEMORY", "INSTRUCTION_RETENTION", "SELF_COHERENCE", "RELIABLE_VERSION_EDITING"][n % 4],
        "CONVERSATION": [
            {"role": "user", "content": f"I am {n}."},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "Who am I?"},
        ],
        "TARGET_QUESTION": f"Does it say {n}?",
        "PASS_CRITERIA": "YES",
    },
    "gsm8k": lambda n: {"question": f"Ann has {n} eggs. How many?", "answer": f"She has <<{n}={n}>>{n}.\n#### {n:,}"},
    "gpqa_diamond": lambda n: {
        "Record ID": f"rec{n}",
        "Question": f"Which is {n}?\n",
        "Correct Answer": f"right {n}\n",
        **{f"Incorrect Answer {number}": f"wrong {n} {number}" for number in (1, 2, 3)},
    },
    "swe_bench_verified": lambda n: {
        "instance_id": f"repo__{n}",
        "problem_statement": f"It fails {n}.",
        "patch": "secret",
    },
}


def write_copy(folder: Path, card: Card, count: int | None = None) -> Path:
    """Lay made-up rows out as the published repository does, all in its last file where there are several."""
    rows = [ROWS.get(card.name, mathematics)(number) for number in range(card.size if count is None else count)]
    for source in card.source:
        file = folder / card.within(source)
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = rows if source == card.source[-1] else []
        if file.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(kept), file)
        elif file.suffix == ".csv":
            with file.open("w", newline="", encoding="utf-8") as text:
                writer = csv.DictWriter(text, list(kept[0]))
                writer.writeheader()
                writer.writerows(kept)
        else:
            file.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return folder


def load(folder: Path, name: str, **keys: Any) -> list[Problem]:
    copy = write_copy(folder, cards()[name])
    return load_benchmark(BenchmarkSource(path=str(copy), name=name, **keys))


def test_the_cards_are_the_benchmarks_of_the_paper_and_four_more() -> None:
    assert {name: card.size for name, card in cards().items()} == SIZES
    assert {name: cards()[name].runs for name in RUNS} == RUNS
    assert cards()["hle"].runs == 1


@pytest.mark.parametrize("name", SIZES)
def test_a_card_says_all_that_there_is_to_say(name: str) -> None:
    card = cards()[name]
    assert all([card.title, card.source, card.version, card.licence])
    assert card.grader in BUILT_IN or (card.grader == "judge" and card.judge_prompt)


@pytest.mark.parametrize("name", SIZES)
def test_a_local_copy_laid_out_alike_gives_all_its_problems(tmp_path: Path, name: str) -> None:
    problems = load(tmp_path, name)
    assert len(problems) == SIZES[name]
    assert all(problem.ground_truth and problem.chat[-1]["role"] == "user" for problem in problems)
    if card_instruction := cards()[name].instruction:
        assert problems[0].chat[-1]["content"].endswith(f"\n\n{card_instruction}")


@pytest.mark.parametrize("name", ["aime_2025", "gpqa_diamond", "livecodebench"])
def test_the_hub_is_read_by_the_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    copy, hub = write_copy(tmp_path, cards()[name]), cards()[name]
    moved = hub.model_copy(update={"source": tuple(f"file://{copy}/{hub.within(source)}" for source in hub.source)})
    monkeypatch.setattr(card_module, "cards", lambda: {name: moved})
    monkeypatch.setattr("tasks.campaign.campaign_file.cards", lambda: {name: moved})
    assert len(load_benchmark(BenchmarkSource(path=name))) == hub.size


@pytest.mark.parametrize("name", ["hmmt_feb_2025", "imo_answerbench"])
def test_a_hub_out_of_reach_is_told_in_one_line_with_the_way_round(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    card = cards()[name]
    away = tuple(f"http://127.0.0.1:9/{card.within(source)}" for source in card.source)
    monkeypatch.setattr("tasks.campaign.campaign_file.cards", lambda: {name: card.model_copy(update={"source": away})})
    with pytest.raises(CampaignError) as refused:
        load_benchmark(BenchmarkSource(path=name))
    text = str(refused.value)
    assert "\n" not in text
    assert f"give benchmark: {{name: {name}, path: FOLDER or file}}" in text
    assert "can not be read here" in text


def test_one_file_will_do_as_a_copy(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(mathematics(number)) + "\n" for number in range(30)))
    assert len(load_benchmark(BenchmarkSource(path=str(tmp_path / "mine.jsonl"), name="aime_2025"))) == 30


@pytest.mark.parametrize(("count", "limit", "whole"), [(29, None, False), (31, None, False), (29, 5, True)])
def test_a_copy_of_another_size_is_refused_unless_only_some_are_asked_for(
    tmp_path: Path, count: int, limit: int | None, whole: bool
) -> None:
    source = BenchmarkSource(path=str(write_copy(tmp_path, cards()["aime_2025"], count)), name="aime_2025", limit=limit)
    if whole:
        assert len(load_benchmark(source)) == limit
        return
    with pytest.raises(CampaignError, match=f"{count} problems, but aime_2025 has 30 .*; give a whole copy"):
        load_benchmark(source)


def test_a_row_of_another_form_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "gpqa.jsonl").write_text('{"question": "?"}\n')
    with pytest.raises(CampaignError, match=r"line 1: not a row of gpqa_diamond \(KeyError: 'Correct Answer'\)"):
        load_benchmark(BenchmarkSource(path=str(tmp_path / "gpqa.jsonl"), name="gpqa_diamond"))


def test_the_choices_of_gpqa_stand_in_an_order_that_the_seed_decides(tmp_path: Path) -> None:
    orders = {seed: load(tmp_path, "gpqa_diamond", seed=seed) for seed in (0, 1)}
    again = load(tmp_path, "gpqa_diamond", seed=0)
    assert [problem.fingerprint for problem in orders[0]] == [problem.fingerprint for problem in again]
    assert [problem.ground_truth for problem in orders[0]] != [problem.ground_truth for problem in orders[1]]
    letters = Counter(problem.ground_truth for problem in orders[0])
    assert set(letters) == set("ABCD")
    assert min(letters.values()) > 25
    for problem in orders[0]:
        assert f"({problem.ground_truth}) right" in problem.chat[0]["content"]


def test_livecodebench_takes_the_months_of_the_paper_and_both_forms_of_tests(tmp_path: Path) -> None:
    rows = [ROWS["livecodebench"](number) for number in range(4)]
    dates = ["2024-07-31T23:59:00", "2024-08-01T00:00:00", "2025-05-31T20:00:00", "2025-06-01T00:00:00"]
    file = tmp_path / "lcb.jsonl"
    file.write_text(
        "".join(json.dumps({**row, "contest_date": date}) + "\n" for row, date in zip(rows, dates, strict=True))
    )
    called, printed = load_benchmark(BenchmarkSource(path=str(file), name="livecodebench", limit=2))
    assert (called.id, printed.id) == ("q1", "q2")
    assert json.loads(called.ground_truth)["fn_name"] == "add"
    assert "class Solution" in called.chat[0]["content"]
    assert json.loads(printed.ground_truth)["fn_name"] is None
    assert "standard input" in printed.chat[0]["content"]


def test_hle_leaves_out_what_has_an_image(tmp_path: Path) -> None:
    file = tmp_path / "hle.jsonl"
    rows = [{**ROWS["hle"](number), "image": "data:image/png" if number % 2 else ""} for number in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems = load_benchmark(BenchmarkSource(path=str(file), name="hle", limit=2))
    assert [problem.id for problem in problems] == ["h0", "h2"]


def test_multichallenge_knows_axis_and_criterion(tmp_path: Path) -> None:
    problems = load(tmp_path, "multichallenge")
    assert len({problem.group for problem in problems}) == 4
    assert json.loads(problems[7].ground_truth) == {"criterion": "Does it say 7?", "expected": "yes"}
    assert [turn["role"] for turn in problems[7].chat] == ["user", "assistant", "user"]


def test_swe_bench_shows_no_solution(tmp_path: Path) -> None:
    assert "secret" not in str([problem.chat for problem in load(tmp_path, "swe_bench_verified")])


def test_a_campaign_takes_grader_and_runs_from_the_card_unless_it_says_otherwise(campaign_file: Write) -> None:
    campaign = load_campaign(campaign_file(benchmark="aime_2025", grader=None))
    assert (campaign.grader, campaign.runs, campaign.benchmark.known_as) == ("math", 64, "aime_2025")
    own = load_campaign(campaign_file(benchmark={"name": "aime_2025", "path": "x.jsonl"}, grader="exact", runs=2))
    assert (own.grader, own.runs, own.benchmark.known_as) == ("exact", 2, "aime_2025")
    assert own.benchmark.path.endswith("/x.jsonl")


def test_a_name_that_nobody_knows_is_refused_with_those_that_are(campaign_file: Write) -> None:
    with pytest.raises(CampaignError, match="name: 'aime' is no published benchmark; known: aime_2024, aime"):
        load_campaign(campaign_file(benchmark={"name": "aime"}))


@pytest.mark.parametrize(
    ("name", "path", "fields"),
    [
        ("aime_2024", "contests/aime_2024_*.jsonl", Fields()),
        ("aime_2025", "contests/aime_2025_*.jsonl", Fields()),
        ("hmmt_feb_2025", "contests/hmmt_feb_2025.jsonl", Fields()),
        ("imo_answerbench", "imo_answerbench", None),
        ("math_500", "math500/math500_test.jsonl", Fields(id="problem")),
        ("gsm8k", "gsm8k/gsm8k_test.jsonl", None),
    ],
)
def test_the_real_problems_load_in_full(name: str, path: str, fields: Fields | None) -> None:
    if not DATA.exists():
        pytest.skip(f"no test data at {DATA}: set PACORE_TEST_DATA to the folder that holds contests/")
    problems = load_benchmark(BenchmarkSource(path=f"{DATA}/{path}", name=name, fields=fields))
    assert len(problems) == SIZES[name]
