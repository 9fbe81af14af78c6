"""Campaigns for tests: a file in a folder of its own, and what it plans."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.campaign_file import load_campaign
from tasks.plan import Plan, make_plan

PROBLEMS = [
    {"id": "sum", "problem": "What is 1 + 1?", "answer": "2"},
    {"id": "product", "problem": "What is 2 · 3?", "answer": "6"},
]

CAMPAIGN: dict[str, Any] = {
    "name": "tiny",
    "benchmark": "problems.jsonl",
    "grader": "exact",
    "sampler": {"model": "sim"},
    "engine": {"urls": ["http://127.0.0.1:9/v1"], "tries": 1},
    "pool": 4,
    "methods": ["low"],
    "store": "store",
}


@pytest.fixture
def campaign_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a campaign and its benchmark into the test's folder; a key given as None is left out."""

    def write(problems: list[dict[str, Any]] = PROBLEMS, **keys: Any) -> Path:
        (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
        given = {key: value for key, value in {**CAMPAIGN, **keys}.items() if value is not None}
        file = tmp_path / "campaign.yaml"
        file.write_text(yaml.safe_dump(given))
        return file

    return write


@pytest.fixture
def plan(campaign_file: Callable[..., Path]) -> Callable[..., Plan]:
    """Plan a campaign; takes what `campaign_file` takes."""
    return lambda *problems, **keys: make_plan(load_campaign(campaign_file(*problems, **keys)))
