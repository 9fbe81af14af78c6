"""A campaign as a user runs it: the command, a real vLLM server and real S3, with an eye on the wire between them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.contract.recording_proxy import RecordingProxy

if TYPE_CHECKING:
    from .conftest import S3

CHECKOUT = Path(__file__).parents[2]
TEMPLATE = jinja2.Template((CHECKOUT / "tasks/campaign/synthesis.jinja").read_text(encoding="utf-8"))

PROBLEMS = [
    {"id": "sum", "problem": "What is 12 + 30?", "answer": "42"},
    {"id": "braces", "problem": "What does {{ 1 + 1 }} print? Keep {% raw %} as it is.", "answer": "2"},
    {"id": "marks", "problem": "Count the marks:\n<think> </think>\nReference 3:\nnaïve 参考", "answer": "3"},
]
POOL, METHODS = 6, ["low", [4, 2], "sc@4", "full@2", "rsa@3,2,2"]
WIDTHS = {"low": [4, 1], "[4,2]": [4, 2, 1], "full@2": [2, 1], "rsa@3,2,2": [3, 3]}
"""K of every round of the methods that reason."""

Row = dict[str, Any]
Table = list[Row]


@pytest.fixture
async def proxy(vllm_url: str) -> AsyncIterator[RecordingProxy]:
    async with RecordingProxy(vllm_url) as proxy:
        yield proxy


class Command:
    """`pacore` in a process of its own, on one campaign file."""

    def __init__(self, folder: Path, environment: dict[str, str], **keys: Any) -> None:
        self.file, self.out, self.err = folder / "campaign.yaml", folder / "out", folder / "err"
        self.environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect"), **environment}
        self.keys = keys
        folder.mkdir(exist_ok=True)
        (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))

    async def start(self, word: str = "run", **keys: Any) -> asyncio.subprocess.Process:
        self.file.write_text(yaml.safe_dump({**self.keys, **keys}))
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flows.cli", word, str(self.file), "--json"),
            cwd=CHECKOUT,
            env=self.environment,
            stdout=self.out.open("wb"),
            stderr=self.err.open("wb"),
            start_new_session=True,
        )

    async def run(self, word: str = "run", **keys: Any) -> Any:
        """Run it to its end, which must be a good one, and return what it prints."""
        process = await self.start(word, **keys)
        assert await process.wait() == 0, self.err.read_text()
        return json.loads(self.out.read_text())


def command(folder: Path, engine: str, store: str, environment: dict[str, str] | None = None, **keys: Any) -> Command:
    campaign = {
        "name": "contract",
        "benchmark": "problems.jsonl",
        "grader": "exact",
        "sampler": {"model": "tiny-qwen3", "max_tokens": 200},
        "engine": {"urls": [engine]},
        "pool": POOL,
        "methods": METHODS,
        "store": store,
        "commit_seconds": 0.5,
    }
    return Command(folder, environment or {}, **{**campaign, **keys})


def read(table: str, store: str, filesystem: Any = None) -> Table:
    """A table of a store in plain Parquet, its parts one after the other; no code of ours."""
    root = store.removeprefix("s3://")
    paths = [str(p) for p in Path(root).glob(f"{table}/*/*.parquet")] if filesystem is None else []
    if filesystem is not None:
        filesystem.invalidate_cache()
        paths = filesystem.glob(f"{root}/{table}/*/*.parquet")
    if not paths:
        return []
    tables = [pq.ParquetFile(path if filesystem is None else filesystem.open(path)).read() for path in paths]
    return pa.concat_tables(tables).to_pylist()


def question(body: Row) -> str:
    (turn,) = body["messages"]
    assert turn["role"] == "user"
    return str(turn["content"])


async def test_a_campaign_runs_to_its_end_and_sends_nothing_twice(
    proxy: RecordingProxy, s3: S3, tmp_path: Path
) -> None:
    store = f"s3://{s3.make_bucket()}/store"
    pacore = command(tmp_path, proxy.url, store, s3.environment)

    report = await pacore.run()
    assert {line["method"]: (line["problems"], line["failed"]) for line in report} == {
        name: (len(PROBLEMS), 0) for name in ["pass@1", "low", "[4,2]", "sc@4", "full@2", "rsa@3,2,2", "pass@6"]
    }
    trajectories, rounds = (read(table, store, s3.filesystem()) for table in ("trajectories", "rounds"))
    check_rounds(rounds, runs=1)
    check_rows(trajectories, rounds, proxy.bodies)
    check_prompts(trajectories, rounds, proxy.bodies)

    proxy.bodies.clear()
    assert await pacore.run() == report
    assert proxy.bodies == []

    await pacore.run(runs=2)
    rounds = read("rounds", store, s3.filesystem())
    check_rounds(rounds, runs=2)
    new = [row for row in read("trajectories", store, s3.filesystem()) if row not in trajectories]
    assert {row["round"] for row in new} == {2, 3}
    check_rows(trajectories + new, rounds)
    assert sorted(body["seed"] for body in proxy.bodies) == sorted(row["seed"] for row in new)
    assert (await pacore.run("status", runs=2))["complete"]


def check_rounds(rounds: Table, runs: int) -> None:
    """Every round of every run is there once, and full."""
    found = Counter((row["method"], row["problem_id"], row["run"], row["round"]) for row in rounds)
    expected = [
        (method, problem["id"], run, number)
        for method, widths in WIDTHS.items()
        for problem in PROBLEMS
        for run in range(runs)
        for number in range(1, len(widths) + 1)
    ]
    assert found == Counter(expected)
    for row in rounds:
        assert len(set(row["trajectories"])) == WIDTHS[row["method"]][row["round"] - 1]


def check_rows(trajectories: Table, rounds: Table, bodies: Iterable[Row] | None = None) -> None:
    """The pool and what the rounds name stand there, each once and whole, under the seed that the server received.

    Methods that give one prompt share its draws: low's last round is the first of [4, 2]'s second.
    """
    assert len({row["id"] for row in trajectories}) == len(trajectories)
    assert sum(row["round"] == 1 for row in trajectories) == len(PROBLEMS) * POOL
    assert {row["id"] for row in trajectories if row["round"] > 1} == {
        id for row in rounds if row["round"] > 1 for id in row["trajectories"]
    }
    if bodies is None:
        return
    assert sorted(body["seed"] for body in bodies) == sorted(row["seed"] for row in trajectories)
    received = {body["seed"]: body for body in bodies}
    for row in trajectories:
        assert row["error"] is None
        assert row["finish_reason"] in ("stop", "length")
        assert (row["content"] or "").endswith(row["message"])
        assert row["prompt_tokens"] > 0
        assert 0 < row["completion_tokens"] <= 200
        assert row["reasoning_tokens"] <= row["completion_tokens"]
        assert (row["draw"] < POOL) == (row["round"] == 1)
        body = received[row["seed"]]
        assert (body["max_tokens"], body["n"], body["temperature"]) == (200, 1, 1.0)


def check_prompts(trajectories: Table, rounds: Table, bodies: Iterable[Row]) -> None:
    """Round 1 received the problems; later ones the paper's template over what the store says they saw."""
    by_id = {row["id"]: row for row in trajectories}
    received = {body["seed"]: question(body) for body in bodies}
    problems = {row["problem"]: received[row["seed"]] for row in trajectories if row["round"] == 1}
    assert sorted(problems.values()) == sorted(row["problem"] for row in PROBLEMS)
    full = {id for row in rounds if row["method"] == "full@2" and row["round"] == 2 for id in row["trajectories"]}
    checked: Counter[int] = Counter()
    for row in trajectories:
        seen = [by_id[id] for id in row["references"]]
        messages = [whole(other) if row["id"] in full else other["message"] for other in seen]
        expected = TEMPLATE.render(original_prompt=problems[row["problem"]], ref_responses=messages)
        prompt = expected if messages else problems[row["problem"]]
        assert received[row["seed"]].encode() == prompt.encode()
        assert {other["round"] for other in seen} <= {row["round"] - 1}
        checked[row["round"]] += bool(messages)
    assert checked[2]
    assert checked[3]
    check_references(rounds, by_id)


def check_references(rounds: Table, by_id: dict[str, Row]) -> None:
    """A round's prompts hold every message of its run's last round that is not empty, or a subset of m of them."""
    last = {(row["recipe"], row["problem"], row["run"], row["round"]): row["trajectories"] for row in rounds}
    for row in rounds:
        if row["round"] == 1:
            continue
        before = last[row["recipe"], row["problem"], row["run"], row["round"] - 1]
        told = {id for id in before if row["method"] == "full@2" or by_id[id]["message"].strip()}
        for id in row["trajectories"]:
            seen = by_id[id]["references"]
            assert len(set(seen)) == len(seen)
            if row["method"].startswith("rsa"):
                assert set(seen) <= told
                assert len(seen) <= 2
            else:
                assert set(seen) == told


def whole(row: Row) -> str:
    return f"<think>{row['reasoning']}</think>{row['content'] or ''}" if row["reasoning"] else row["content"] or ""


async def test_duckdb_reads_a_store_with_plain_sql(vllm_url: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    report = await command(tmp_path, vllm_url, str(store), methods=["low"]).run()
    sql = duckdb.connect()
    by_round = sql.sql(f"""
        SELECT sampler, round, count(*) AS trajectories, sum(completion_tokens) AS tokens
        FROM read_parquet('{store}/trajectories/*/*.parquet', hive_partitioning = true)
        WHERE error IS NULL GROUP BY ALL ORDER BY round
    """).fetchall()
    assert [(round, count) for _, round, count, _ in by_round] == [(1, len(PROBLEMS) * POOL), (2, len(PROBLEMS))]
    assert len({sampler for sampler, *_ in by_round}) == 1
    assert by_round[0][3] / len(PROBLEMS) == pytest.approx(
        next(line["spent_tokens"] for line in report if line["method"] == "pass@1")
    )
    answers = sql.sql(f"""
        SELECT r.problem_id, v.outcome, t.message
        FROM read_parquet('{store}/rounds/*/*.parquet', hive_partitioning = true) r
        JOIN read_parquet('{store}/trajectories/*/*.parquet', hive_partitioning = true) t ON t.id = r.trajectories[-1]
        JOIN read_parquet('{store}/verdicts/*/*.parquet', hive_partitioning = true) v ON v.id = t.id
        WHERE r.method = 'low' AND r.round = 2
    """).fetchall()
    assert sorted(id for id, *_ in answers) == sorted(row["id"] for row in PROBLEMS)
    assert {outcome for _, outcome, _ in answers} <= {"correct", "wrong"}


async def test_a_killed_campaign_goes_on_and_ends_where_an_undisturbed_one_does(
    proxy: RecordingProxy, ceph: S3, tmp_path: Path
) -> None:
    store, calm_store = f"s3://{ceph.make_bucket()}/store", str(tmp_path / "calm-store")
    keys: dict[str, Any] = {"commit_seconds": 0.1, "methods": ["low", [4, 2]]}
    pacore = command(tmp_path / "killed", proxy.url, store, ceph.environment, **keys)

    process = await pacore.start(engine={"urls": [proxy.url], "in_flight": 4})
    while len(committed := read("trajectories", store, ceph.filesystem())) < 20:
        assert process.returncode is None, "it ended before it could be killed"
        await asyncio.sleep(0.1)
    process.kill()
    await process.wait()
    committed = read("trajectories", store, ceph.filesystem())
    proxy.bodies.clear()
    await pacore.run()

    final = read("trajectories", store, ceph.filesystem())
    asked_again = {body["seed"] for body in proxy.bodies}
    assert asked_again
    assert asked_again.isdisjoint(row["seed"] for row in committed)
    assert len({row["id"] for row in final}) == len(final)
    rows = {row["id"]: row for row in final}
    assert [rows.get(row["id"]) for row in committed] == list(committed)

    await command(tmp_path / "calm", proxy.url, calm_store, **keys).run()
    calm, calm_rounds = (read(table, calm_store) for table in ("trajectories", "rounds"))
    assert pool_of(final) == pool_of(calm)
    assert steps(read("rounds", store, ceph.filesystem())) == steps(calm_rounds)
    assert {row["id"] for row in read("verdicts", store, ceph.filesystem())} == {row["id"] for row in final}


def pool_of(trajectories: Sequence[Row]) -> list[tuple[str, int]]:
    """Ids and seeds of the first round. Texts are not compared: in another batch vLLM's floats can tip a token."""
    return sorted((row["id"], row["seed"]) for row in trajectories if row["round"] == 1)


def steps(rounds: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Which rounds of which runs are committed, and what they lack."""
    columns = ("recipe", "problem_id", "run", "round", "width", "missing")
    return sorted(tuple(row[name] for name in columns) for row in rounds)
