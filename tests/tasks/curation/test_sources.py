"""Where candidates come from."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.benchmarks.card import Fields
from tasks.campaign.campaign_file import CampaignError
from tasks.curation.candidate import Candidate
from tasks.curation.curation_file import Source
from tasks.curation.sources import collect

CHAT = [{"role": "user", "content": "What is 1 + 1?"}]
RELEASED = {"conversation": CHAT, "responses": ["2", "3"], "ground_truth": "2"}


def written(folder: Path, name: str, *rows: dict[str, Any]) -> str:
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(path: str, **keys: Any) -> list[Candidate]:
    return list(collect([Source(name="open", path=path, **keys)]))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_rows_in_the_released_form_bring_their_messages(tmp_path: Path, name: str) -> None:
    assert read(written(tmp_path, name, RELEASED)) == [Candidate("open/1", "open", CHAT, "2", ["2", "3"])]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_rows_of_ones_own_are_read_by_the_names_of_their_columns(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, {"key": 7, "q": "What is 1 + 1?", "a": 2})
    (found,) = read(path, fields=Fields(id="key", problem="q", answer="a"))
    assert found == Candidate("open/7", "open", CHAT, "2", [])


def test_a_row_whose_id_is_null_goes_by_its_number(tmp_path: Path) -> None:
    rows = [{"id": id, "problem": "What is 1 + 1?", "answer": "2"} for id in ("a", None)]
    assert [one.id for one in read(written(tmp_path, "rows.jsonl", *rows))] == ["open/a", "open/2"]


def test_a_limit_takes_the_first_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", *({"problem": str(n), "answer": "1"} for n in range(5)))
    assert [one.id for one in read(path, limit=2)] == ["open/1", "open/2"]


def test_a_generated_family_is_taken_from_its_training_split() -> None:
    found = read("arithmetic-paper", limit=8)
    assert len({one.question for one in found}) == 8
    assert {one.source for one in found} == {"open"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"problem": "What?"}, "row 1: no 'answer'; name its column in sources: fields.answer (this row has problem)"),
        ({"problem": 3, "answer": "1"}, "row 1: 'problem' is neither text nor a chat that ends in a user turn"),
        ({"conversation": [], "ground_truth": "1"}, "row 1: 'conversation' is neither text nor a chat"),
        ({**RELEASED, "responses": "2"}, "row 1: 'responses' is no list of texts"),
    ],
)
def test_a_row_that_is_no_problem_is_refused_with_its_place(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(CampaignError) as refused:
        read(written(tmp_path, "rows.parquet", row))
    assert said in str(refused.value)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text("no")
    with pytest.raises(CampaignError, match=r"rows\.parquet: .*; give a JSONL, Parquet or CSV file"):
        read(str(tmp_path / "rows.parquet"))
