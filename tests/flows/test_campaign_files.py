"""The campaign files that ship are campaigns, whatever benchmarks can be had here."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.campaign.campaign_file import load_campaigns
from tests.flows.conftest import Pacore

CAMPAIGNS = Path(__file__).parents[2] / "flows/campaigns"
DATA = Path(os.environ.get("PACORE_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))


@pytest.mark.parametrize("file", sorted(CAMPAIGNS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_file_is_a_campaign_or_several(file: Path) -> None:
    assert load_campaigns(file)


@pytest.mark.parametrize(
    ("name", "benchmarks", "runs"),
    [
        ("table1", 7, [64, 64, 64, 8, 8, 1, 8]),
        ("table2", 4, [64, 64, 64, 8]),
        ("table8", 2, [64, 8]),
    ],
)
def test_the_papers_tables_have_its_benchmarks_and_its_runs(name: str, benchmarks: int, runs: list[int]) -> None:
    campaigns = load_campaigns(CAMPAIGNS / f"{name}.yaml")
    assert len({campaign.benchmark.known_as for campaign in campaigns}) == benchmarks
    assert [campaign.runs for campaign in campaigns] == runs
    assert {campaign.pool for campaign in campaigns} == {512}


@pytest.mark.parametrize("name", ["hmmt", "figure4"])
def test_a_campaign_on_hmmt_plans_on_a_copy_of_its_problems(name: str, pacore: Pacore, tmp_path: Path) -> None:
    problems = DATA / "contests/hmmt_feb_2025.jsonl"
    if not problems.exists():
        pytest.skip(f"no test data at {problems}: set PACORE_TEST_DATA to the folder that holds contests/")
    given: dict[str, Any] = yaml.safe_load((CAMPAIGNS / f"{name}.yaml").read_text())
    own = {"name": "hmmt_feb_2025", "path": str(problems.resolve()), "fields": {"id": "id"}}
    file = tmp_path / "campaign.yaml"
    file.write_text(yaml.safe_dump({**given, "benchmark": own}))
    ended = pacore("validate", file)
    assert (ended.code, ended.err) == (0, "")
    assert "30 problems" in ended.out
