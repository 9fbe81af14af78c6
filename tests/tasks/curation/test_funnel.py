"""The funnel counts what a slow, obvious implementation counts, and is printed in the form of Table 7."""

import json
import random
from collections import Counter
from pathlib import Path

from tasks.curation.funnel import dropped_lines, funnel_table, write_funnel
from tasks.curation.sift import Step
from tests.benchmarks.curation import benchmark, funnel, made_up, reference

STEPS = [
    Step("collected", Counter({"open": 1000, "contests": 10})),
    Step("rules", Counter({"open": 500, "contests": 9}), Counter({"several parts": 1, "vague prose": 500})),
    Step("stage 1", Counter({"open": 25}), Counter({"never right": 484})),
]


def test_the_funnel_of_some_thousands_is_that_of_the_reference(tmp_path: Path) -> None:
    known = benchmark(random.Random("benchmark"))
    problems = list(made_up(random.Random(1), 4_000, known))
    found = funnel(iter(problems), known, tmp_path)
    assert found == reference(problems, known)
    assert found[1].dropped.keys() == {"images or links", "several parts", "several answers", "vague prose"}
    assert found[2].dropped.keys() == {"exact match", "64-gram overlap"}


def test_a_line_a_source_then_the_total_and_the_share_of_what_was_collected() -> None:
    assert funnel_table(STEPS) == [
        ["source", "collected", "rules", "stage 1", "left %"],
        ["open", "1,000", "500", "25", "2.50"],
        ["contests", "10", "9", "0", "0.00"],
        ["total", "1,010", "509", "25", "2.48"],
    ]


def test_what_a_step_dropped_is_said_with_its_reasons() -> None:
    assert dropped_lines(STEPS) == [
        "rules dropped 501: vague prose 500, several parts 1",
        "stage 1 dropped 484: never right 484",
    ]


def test_it_is_written_as_json_and_markdown(tmp_path: Path) -> None:
    write_funnel(str(tmp_path), STEPS)
    assert json.loads((tmp_path / "funnel.json").read_text())[2] == {
        "name": "stage 1",
        "left": {"open": 25},
        "dropped": {"never right": 484},
    }
    assert "| total | 1,010 | 509 | 25 | 2.48 |" in (tmp_path / "funnel.md").read_text()
