import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.filesystem import StoreError
from tasks.campaign.benchmark import load_benchmark
from tasks.campaign.campaign_file import BenchmarkSource, CampaignError, Fields

ROWS = [{"id": "a", "problem": "1 + 1?", "answer": "2"}, {"id": "b", "problem": "2 · 3?", "answer": "6"}]


def jsonl(folder: Path, *rows: Any) -> str:
    path = folder / "problems.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def refusal(source: BenchmarkSource) -> str:
    with pytest.raises(CampaignError) as refused:
        load_benchmark(source)
    assert source.path in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_jsonl_rows_become_problems_in_file_order(tmp_path: Path) -> None:
    problems = load_benchmark(BenchmarkSource(path=jsonl(tmp_path, *ROWS)))
    assert [problem.id for problem in problems] == ["a", "b"]
    assert problems[0].chat == [{"role": "user", "content": "1 + 1?"}]
    assert problems[0].ground_truth == "2"


def test_parquet_holds_the_same_problems_as_jsonl(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "problems.parquet")
    one = load_benchmark(BenchmarkSource(path=str(tmp_path / "problems.parquet")))
    other = load_benchmark(BenchmarkSource(path=jsonl(tmp_path, *ROWS)))
    assert [problem.fingerprint for problem in one] == [problem.fingerprint for problem in other]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_problem_may_be_a_conversation(tmp_path: Path, kind: str) -> None:
    chat = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "1 + 1?"},
    ]
    row = {"id": "a", "problem": chat, "answer": "2"}
    path = jsonl(tmp_path, row)
    if kind == "parquet":
        path = str(tmp_path / "problems.parquet")
        pq.write_table(pa.Table.from_pylist([row]), path)
    (problem,) = load_benchmark(BenchmarkSource(path=path))
    assert problem.chat == chat


def test_a_conversation_may_end_in_a_tools_turn(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "add"}, {"role": "tool", "tool_call_id": "1", "content": "2"}]
    (problem,) = load_benchmark(BenchmarkSource(path=jsonl(tmp_path, {"id": "a", "problem": chat, "answer": "2"})))
    assert problem.chat == chat


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"n": 7, "question": "1 + 1?", "solution": 2, "id": "other"})
    fields = Fields(id="n", problem="question", answer="solution")
    (problem,) = load_benchmark(BenchmarkSource(path=path, fields=fields))
    assert (problem.id, problem.chat[0]["content"], problem.ground_truth) == ("7", "1 + 1?", "2")


def test_an_instruction_follows_the_last_turn_after_a_blank_line(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "1 + 1?"}]
    path = jsonl(tmp_path, ROWS[0], {"id": "c", "problem": chat, "answer": "2"})
    text, conversation = load_benchmark(BenchmarkSource(path=path, instruction="Answer: on a line."))
    assert text.chat == [{"role": "user", "content": "1 + 1?\n\nAnswer: on a line."}]
    assert conversation.chat == [chat[0], {"role": "user", "content": "1 + 1?\n\nAnswer: on a line."}]


def test_another_instruction_makes_another_problem(tmp_path: Path) -> None:
    path = jsonl(tmp_path, ROWS[0])
    (one,), (other,) = (load_benchmark(BenchmarkSource(path=path, instruction=text)) for text in ("", "x"))
    assert one.fingerprint != other.fingerprint


def test_a_problem_is_known_by_its_text_and_not_by_its_id_or_answer(tmp_path: Path) -> None:
    (one,) = load_benchmark(BenchmarkSource(path=jsonl(tmp_path, ROWS[0])))
    (other,) = load_benchmark(BenchmarkSource(path=jsonl(tmp_path, {**ROWS[0], "id": "z", "answer": "3"})))
    assert one.fingerprint == other.fingerprint
    assert one.truth != other.truth


def test_a_limit_takes_the_first_and_reads_no_further(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *ROWS, "no JSON at all")
    assert [problem.id for problem in load_benchmark(BenchmarkSource(path=path, limit=2))] == ["a", "b"]


def test_empty_lines_are_passed_over(tmp_path: Path) -> None:
    assert len(load_benchmark(BenchmarkSource(path=jsonl(tmp_path, ROWS[0], "", "  ", ROWS[1])))) == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"problem": "q", "answer": "2"}, ["line 2", "no 'id'", "benchmark.fields.id", "has problem, answer"]),
        ({"id": "", "problem": "q", "answer": "2"}, ["line 2", "no 'id'"]),
        ({"id": "c", "answer": "2"}, ["line 2", "no 'problem'", "benchmark.fields.problem"]),
        ({"id": "c", "problem": "q", "answer": None}, ["line 2", "no 'answer'"]),
        ({"id": "a", "problem": "q", "answer": "2"}, ["line 2", "id 'a' stands twice", "an id of its own"]),
        ({"id": "c", "problem": 7, "answer": "2"}, ["line 2", "neither text nor a chat"]),
        ({"id": "c", "problem": [{"role": "assistant", "content": "a"}], "answer": "2"}, ["user or tool turn"]),
        ({"id": "c", "problem": [{"role": "user"}], "answer": "2"}, ["neither text nor a chat"]),
        ({"id": "c", "problem": "half a pair: \ud83d", "answer": "2"}, ["line 2", "no Unicode text"]),
        ({"id": "c", "problem": "q", "answer": "half a pair: \ud83d"}, ["line 2", "no Unicode text"]),
        ('{"id": "c", "problem": ', ["line 2", "not JSON"]),
        (5_000 * "[" + 5_000 * "]", ["line 2", "nested too deep"]),
        ("[1, 2]", ["line 2", "a JSON object"]),
    ],
)
def test_a_row_that_is_no_problem_is_refused_with_its_line_and_the_remedy(
    tmp_path: Path, row: Any, said: list[str]
) -> None:
    text = refusal(BenchmarkSource(path=jsonl(tmp_path, ROWS[0], row)))
    assert all(part in text for part in said), text


def test_ids_that_differ_only_in_type_are_the_same_id(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {**ROWS[0], "id": 1}, {**ROWS[1], "id": "1"})
    assert "stands twice" in refusal(BenchmarkSource(path=path))


def test_a_row_of_a_parquet_file_is_named_by_its_number(tmp_path: Path) -> None:
    path = str(tmp_path / "problems.parquet")
    pq.write_table(pa.Table.from_pylist([ROWS[0], {**ROWS[1], "id": None}]), path)
    assert "row 2: no 'id'" in refusal(BenchmarkSource(path=path))


@pytest.mark.parametrize("name", ["none.jsonl", "none.parquet", "none"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    text = refusal(BenchmarkSource(path=str(tmp_path / name)))
    assert "no such file; give a JSONL, Parquet or CSV file" in text


def test_a_folder_is_refused(tmp_path: Path) -> None:
    refusal(BenchmarkSource(path=str(tmp_path)))


def test_a_scheme_that_nobody_knows_is_refused() -> None:
    with pytest.raises(StoreError, match=r"nowhere://x.jsonl: Protocol not known: nowhere; give"):
        load_benchmark(BenchmarkSource(path="nowhere://x.jsonl"))


@pytest.mark.parametrize(("name", "content"), [("x.parquet", b"no parquet"), ("x.jsonl", b"\xff\xfe")])
def test_a_file_of_another_format_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refusal(BenchmarkSource(path=str(tmp_path / name)))


def test_a_benchmark_without_problems_is_refused(tmp_path: Path) -> None:
    assert "no problems" in refusal(BenchmarkSource(path=jsonl(tmp_path)))
