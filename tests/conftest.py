"""Campaigns for tests: a file in a folder of its own, and what it plans."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.campaign.campaign_file import load_campaign
from tasks.campaign.plan import Plan, make_plan

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


Write = Callable[..., Path]


@pytest.fixture(scope="session")
def write_campaign() -> Write:
    """Write a campaign and its benchmark into a folder; a key given as None is left out."""

    def write(folder: Path, problems: list[dict[str, Any]] = PROBLEMS, **keys: Any) -> Path:
        (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
        given = {key: value for key, value in {**CAMPAIGN, **keys}.items() if value is not None}
        file = folder / "campaign.yaml"
        file.write_text(yaml.safe_dump(given))
        return file

    return write


@pytest.fixture
def campaign_file(write_campaign: Write, tmp_path: Path) -> Write:
    """Write a campaign into the test's own folder."""
    return partial(write_campaign, tmp_path)


@pytest.fixture
def plan(campaign_file: Write) -> Callable[..., Plan]:
    """Plan a campaign; takes what `campaign_file` takes."""
    return lambda *problems, **keys: make_plan(load_campaign(campaign_file(*problems, **keys)))
