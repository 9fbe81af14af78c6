"""The file of `pacore curate`."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.campaign.campaign_file import CampaignError
from tasks.curation.curation_file import Curation, load_curation

GIVEN: dict[str, Any] = {"out": "out", "sources": [{"name": "open", "path": "rows.jsonl"}]}


def load(folder: Path, **keys: Any) -> Curation:
    (folder / "curation.yaml").write_text(yaml.safe_dump({**GIVEN, **keys}))
    return load_curation(folder / "curation.yaml")


def test_paths_are_relative_to_the_file_and_names_are_kept(tmp_path: Path) -> None:
    stage_2 = {"campaign": "two.yaml", "method": "medium"}
    found = load(tmp_path, benchmarks=["aime_2025", "own.jsonl"], campaign="one.yaml", stage_2=stage_2)
    assert (found.out, found.sources[0].path) == (str(tmp_path / "out"), str(tmp_path / "rows.jsonl"))
    assert [one.path for one in found.benchmarks] == ["aime_2025", str(tmp_path / "own.jsonl")]
    assert found.stage_2
    assert (found.campaign, found.stage_2.campaign) == (str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml"))


def test_by_default_16_to_24_messages_are_drawn_as_in_the_paper(tmp_path: Path) -> None:
    assert load(tmp_path).verl.messages == (16, 24)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"source": []}, "source is no key; known here: out, sources"),
        ({"sources": []}, "sources"),
        ({"sources": GIVEN["sources"] * 2}, "sources: open stands twice; give each a name of its own"),
        ({"sources": [{"name": "sums", "path": "arithmetic-paper"}]}, "arithmetic-paper is generated; say how many"),
        ({"stage_2": {"campaign": "two.yaml", "method": "low"}}, "stage_2: needs campaign"),
        ({"verl": {"messages": [8, 4]}}, "messages: [8, 4] given; the first is the lesser"),
        ({"verl": {"messages": [0, 4]}}, "greater than or equal to 1"),
    ],
)
def test_a_mistake_is_told_on_one_line(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(CampaignError) as refused:
        load(tmp_path, **keys)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
