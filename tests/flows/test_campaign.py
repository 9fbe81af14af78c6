"""Whole campaigns by the command, against the simulator over HTTP, on a real Prefect server."""

import asyncio
import contextlib
import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.table import Row
from tasks.campaign.campaign_file import load_campaign
from tasks.campaign.plan import Plan, make_plan
from tasks.campaign.prompt import template_of
from tasks.compaction import full
from tasks.reasoning.draw import chosen_from_pool
from tasks.store.tables import TRAJECTORIES, rounds_table, trajectories_table
from tests.flows.conftest import Pacore, Simulate
from tests.simulator import Fault, Simulator

pytestmark = pytest.mark.usefixtures("prefect_server")

Write = Callable[..., Path]
THREE_ROUNDS = "[3,2]"
METHODS = ["low", [3, 2], "sc@4"]


def engine(server: Simulator | str, **options: Any) -> dict[str, Any]:
    """One that tries once and has no patience: it sends what is asked for, and no probe."""
    urls = [server if isinstance(server, str) else server.url]
    return {"urls": urls, "tries": 1, "patience_seconds": 0, **options}


def plan_of(file: Path) -> Plan:
    return make_plan(load_campaign(file))


def trajectories(file: Path) -> list[Row]:
    plan = plan_of(file)
    return list(trajectories_table(plan.campaign.store).read(plan.partition, TRAJECTORIES.names).to_pylist())


# --- from the first request to the report ---------------------------------------------------------


def test_every_request_is_a_stored_trajectory_and_every_prompt_is_the_template_over_stored_messages(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate(keep_bodies=True, sigma=1) as server:
        file = campaign_file(engine=engine(server), pool=6, runs=2, methods=METHODS)
        assert pacore("run", file).code == 0
    plan, rows = plan_of(file), {row["id"]: row for row in trajectories(file)}
    chats = {problem.fingerprint: problem.chat for problem in plan.problems}
    sent = {body["seed"]: body["messages"] for body in server.bodies}
    assert len(server.bodies) == len(sent) == len(rows) == 2 * 6 + 2 * 2 * (1 + 2 + 1)
    assert Counter(row["round"] for row in rows.values()) == {1: 12, 2: 4 + 8, 3: 4}
    for row in rows.values():
        messages = [rows[id]["message"] for id in row["references"]]
        assert len(messages) in {1: (0,), 2: (4, 3), 3: (2,)}[row["round"]]
        assert sent[row["seed"]] == plan.template.write(chats[row["problem"]], messages)


def test_summaries_and_workspaces_are_trajectories_with_prompts_of_their_own(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate(keep_bodies=True, sigma=1) as server:
        file = campaign_file(engine=engine(server), methods=["summary@3", "pdr@2,2"])
        assert pacore("run", file).code == 0
    plan, rows = plan_of(file), {row["id"]: row for row in trajectories(file)}
    chats = {problem.fingerprint: problem.chat for problem in plan.problems}
    sent = {body["seed"]: body["messages"] for body in server.bodies}
    assert len(sent) == len(rows) == 2 * (4 + (3 + 1) + (1 + 2 + 1 + 1))
    asked: Counter[str] = Counter()
    for row in rows.values():
        if row["round"] > 1:
            told = [rows[id] for id in row["references"]]
            written = {
                "synthesis": plan.template.write(chats[row["problem"]], [one["message"] for one in told]),
                "distill": template_of("distill", plan.template).write(
                    chats[row["problem"]], [one["message"] for one in told]
                ),
                "summary": template_of("summary", plan.template).write(
                    chats[row["problem"]], [full(one["reasoning"], one["content"]) for one in told]
                ),
            }
            (prompt,) = [name for name, chat in written.items() if chat == sent[row["seed"]]]
            asked[f"{prompt} of {len(told)}"] += 1
    assert asked == {
        "summary of 1": 2 * 3,
        "synthesis of 3": 2,
        "distill of 2": 2 * 2,
        "synthesis of 1": 2 * (2 + 1),
    }


def test_a_shard_that_is_complete_can_be_run_again_and_asks_for_nothing(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    from flows.reason import reason

    with simulate() as server:
        file = campaign_file(engine=engine(server), methods=["low"])
        assert pacore("run", file).code == 0
        received = server.seen["received"]
        asyncio.run(asyncio.wait_for(reason(load_campaign(file), "low", 0), timeout=60))
        assert server.seen["received"] == received


def test_a_shard_can_be_run_alone_and_fills_what_it_needs_of_the_pool(campaign_file: Write, simulate: Simulate) -> None:
    from flows.reason import reason

    with simulate() as server:
        file = campaign_file(engine=engine(server), pool=6, methods=["low"])
        asyncio.run(asyncio.wait_for(reason(load_campaign(file), "low", 0), timeout=60))
    shard = len(plan_of(file).shards[0])
    assert Counter(row["round"] for row in trajectories(file)) == {1: 4 * shard, 2: shard}


def test_a_campaign_ends_with_a_table_and_the_same_rows_as_json(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate() as server:
        file = campaign_file(engine=engine(server), runs=2, methods=METHODS)
        ended = pacore("run", file)
    assert ended.code == 0
    assert all(name in ended.out for name in ["pass@1", "low", THREE_ROUNDS, "sc@4", "pass@4", "acc %"])
    assert ended.err == ""
    written = json.loads((file.parent / "store" / "reports" / "tiny" / "table.json").read_text())
    assert [row["method"] for row in written] == ["pass@1", "low", THREE_ROUNDS, "sc@4", "pass@4"]
    keys = ["method", "problems", "runs", "accuracy", "ci95", "ttc_tokens", "ttc_p50", "ttc_p95", "spent_tokens"]
    assert all(list(row) == [*keys, "cost", "ungraded", "failed"] for row in written)
    tokens = 64  # of every trajectory
    assert [row["ttc_tokens"] for row in written] == [tokens * k for k in (1, 5, 6, 4, 4)]
    drawn = [
        {draw for run in (0, 1) for draw in chosen_from_pool(p.fingerprint, run, 3, 4)} for p in plan_of(file).problems
    ]
    pooled = sum(map(len, drawn)) / 2
    assert [row["spent_tokens"] for row in written] == [tokens * k for k in (4, 6, pooled + 6, 4, 4)]
    assert all((row["ungraded"], row["failed"], row["accuracy"]) == (0, 0, 0.0) for row in written)


def test_a_second_run_sends_nothing_and_one_with_more_runs_sends_what_is_new(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate() as server:
        keys = {"engine": engine(server), "methods": METHODS}
        assert pacore("run", campaign_file(runs=1, **keys)).code == 0
        first = server.seen["received"]
        again = pacore("run", campaign_file(runs=1, **keys))
        assert (again.code, server.seen["received"] - first) == (0, 0)
        more = pacore("run", campaign_file(runs=3, **keys))
        assert (more.code, server.seen["received"] - first) == (0, 2 * 2 * (1 + 2 + 1))


def test_another_campaign_with_the_same_sampler_shares_the_pool(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate() as server:
        assert pacore("run", campaign_file(engine=engine(server), methods=["sc@4"])).code == 0
        first = server.seen["received"]
        other = campaign_file(name="other", engine=engine(server), methods=["low"])
        assert (pacore("run", other).code, server.seen["received"] - first) == (0, 2)


def test_methods_that_ask_for_the_same_trajectory_share_it(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate(first_token_seconds=0.1) as server:
        assert pacore("run", campaign_file(engine=engine(server), methods=["low", [4]])).code == 0
        assert server.seen["received"] == 2 * 4 + 2


def test_no_more_requests_are_in_flight_than_the_engine_may_have(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate(first_token_seconds=0.02) as server:
        assert pacore("run", campaign_file(engine=engine(server, in_flight=3), methods=METHODS)).code == 0
        assert server.seen["peak_running"] == 3


def test_a_pool_that_was_imported_is_graded_without_any_engine(
    campaign_file: Write, pacore: Pacore, tmp_path: Path
) -> None:
    file = campaign_file(methods=["sc@4"])
    rows = [{"problem": id, "content": text} for id, text in [("sum", "2"), ("product", "7")] for _ in range(4)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert pacore("pool", "import", tmp_path / "texts.jsonl", file).code == 0
    assert pacore("run", file).code == 0
    lines = json.loads(pacore("report", file, "--json").out)
    assert [(line["method"], line["accuracy"]) for line in lines] == [("pass@1", 0.5), ("sc@4", 0.5), ("pass@4", 0.5)]


# --- failures -------------------------------------------------------------------------------------


def test_a_failed_trajectory_makes_the_run_incomplete_and_the_next_one_fills_what_is_missing(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate(faults=[Fault("500", nth=(3,))]) as server:
        file = campaign_file(engine=engine(server))
        ended = pacore("run", file)
        assert ended.code == 1
        assert "pool round 1: 1 of 8; low round 1: 1 of 2; low round 2: 1 of 2" in ended.complaint
        assert pacore("status", file).code == 1
        failed = [row for row in trajectories(file) if row["error"]]
        assert [row["error"].split(":")[0] for row in failed] == ["Unreachable"]
        assert [(row["content"], row["message"]) for row in failed] == [(None, None)]
        first = server.seen["received"]
        assert first == 8 + 1
        assert pacore("run", file).code == 0
        assert server.seen["received"] - first == 1 + 1
    assert [row["error"] for row in trajectories(file)] == [None] * 10


def test_under_a_quorum_a_failed_trajectory_is_counted_and_the_run_goes_on(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate(keep_bodies=True, faults=[Fault("500", nth=(3,))]) as server:
        file = campaign_file(engine=engine(server), quorum=0.75)
        assert pacore("run", file).code == 0
        assert server.seen["received"] == 8 + 2
        assert pacore("run", file).code == 0
        assert server.seen["received"] == 8 + 2
    shown = sorted(body["messages"][0]["content"].count("\nReference ") - 1 for body in server.bodies[-2:])
    assert shown == [3, 4]
    lines = {line["method"]: line for line in json.loads(pacore("report", file, "--json").out)}
    assert (lines["pass@1"]["failed"], lines["low"]["failed"]) == (1, 0)
    plan = plan_of(file)
    rounds = rounds_table(plan.campaign.store).read(plan.partition, ["round", "width", "missing"]).to_pylist()
    assert sorted((row["round"], row["width"], row["missing"]) for row in rounds) == [
        (1, 4, 0),
        (1, 4, 1),
        (2, 1, 0),
        (2, 1, 0),
    ]


@pytest.mark.parametrize("policy", ["fail", "drop_longest"])
def test_a_prompt_that_does_not_fit_fails_or_is_mended_on_the_record(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, policy: str
) -> None:
    with simulate(median_tokens=400, window=600) as server:
        sampler, overflow = {"model": "sim", "max_tokens": 400}, {"policy": policy}
        file = campaign_file(engine=engine(server), sampler=sampler, overflow=overflow)
        ended = pacore("run", file)
    last = [row for row in trajectories(file) if row["round"] == 2]
    assert len(last) == 2
    if policy == "fail":
        assert ended.code == 1
        assert all(row["error"].startswith("TooLong: the prompt has") for row in last)
        assert server.seen["received"] == 8
    else:
        assert ended.code == 0
        assert all(row["overflow"].startswith("dropped the") and len(row["references"]) < 4 for row in last)


def test_an_engine_that_is_down_is_one_line_and_exit_status_2(campaign_file: Write, pacore: Pacore) -> None:
    ended = pacore("run", campaign_file())
    assert ended.code == 2
    assert "http://127.0.0.1:9/v1 cannot be reached" in ended.complaint
    assert ended.out == ""


def test_a_model_that_is_not_served_is_one_line_and_exit_status_2(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate() as server:
        ended = pacore("run", campaign_file(engine=engine(server), sampler={"model": "other"}))
    assert ended.code == 2
    assert "does not serve 'other'; it serves sim: correct sampler.model" in ended.complaint


@pytest.mark.parametrize("key", ["geheim", None])
def test_a_wrong_or_missing_key_is_one_line_that_names_the_variable_and_never_the_key(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    if key:
        monkeypatch.setenv("PACORE_API_KEY", key)
    else:
        monkeypatch.delenv("PACORE_API_KEY", raising=False)
    with simulate(api_key="right") as server:
        ended = pacore("run", campaign_file(engine=engine(server)))
    assert ended.code == 2
    assert "PACORE_API_KEY" in ended.complaint
    assert "geheim" not in ended.complaint
    assert server.seen["received"] == 0


def test_no_secret_is_stored(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PACORE_API_KEY", "geheimnis")
    with simulate(api_key="geheimnis") as server:
        assert pacore("run", campaign_file(engine=engine(server))).code == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"geheimnis" in path.read_bytes()]


@pytest.mark.parametrize(("first", "last"), [(1, 1_000), (4, 1_000), (2, 2)])
def test_a_full_disk_is_one_line_with_the_remedy_and_what_was_stored_is_kept(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, first: int, last: int
) -> None:
    from infra.table import create_file

    writes = itertools.count(1)

    def full_for_a_while(*arguments: Any) -> None:
        if first <= next(writes) <= last:
            raise OSError(errno.ENOSPC, "No space left on device")
        create_file(*arguments)

    with simulate(first_token_seconds=0.05, slots=2) as server:
        file = campaign_file(engine=engine(server), commit_seconds=0.05, methods=["low", [4]])
        with monkeypatch.context() as patched:
            patched.setattr("infra.table.create_file", full_for_a_while)
            ended = pacore("run", file)
        assert ended.code == 1 or last == 2  # by the time that someone asked, there was space again
        if ended.code:
            assert "No space left on device; free some space, then run the campaign again" in ended.complaint
        kept = len(trajectories(file))
        assert bool(kept) == (first > 1)
        received = server.seen["received"]
        assert pacore("run", file).code == 0
        assert server.seen["received"] - received == 8 + 2 - kept


# --- kills ----------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_run_that_is_killed_keeps_what_it_committed_and_the_next_one_completes_it(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, tmp_path: Path, how: signal.Signals
) -> None:
    problems = [{"id": str(n), "problem": f"{n} + {n}?", "answer": str(2 * n)} for n in range(10)]
    with simulate(slots=4, first_token_seconds=0.1, sigma=1) as server:
        file = campaign_file(problems, engine=engine(server, in_flight=4), commit_seconds=0.1, methods=["low", [3, 2]])
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", str(file)],
            env={**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=(tmp_path / "stderr").open("w"),
        )
        try:
            wait_for(lambda: len(trajectories(file)) >= 12, process)
            process.send_signal(how)
            process.wait(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):  # Prefect's own server outlives a SIGKILL
                os.killpg(process.pid, signal.SIGKILL)
        committed, received = {row["id"]: row for row in trajectories(file)}, server.seen["received"]
        assert 12 <= len(committed) < 80
        if how != signal.SIGKILL:
            assert process.returncode == 1
            complaint = (tmp_path / "stderr").read_text()
            assert complaint == (
                f"pacore: interrupted by {how.name}: what finished is stored; run the campaign again to go on\n"
            )
            assert server.seen["finished"] - len(committed) <= 4  # answers that were on the wire
        assert pacore("run", file).code == 0
        assert server.seen["received"] - received == 10 * (4 + 1 + 2 + 1) - len(committed)
    rows = trajectories(file)
    assert len(rows) == len({row["id"] for row in rows}) == 80
    assert [row for row in rows if row["id"] in committed] == [
        committed[row["id"]] for row in rows if row["id"] in committed
    ]
    assert committed.keys() <= {row["id"] for row in rows}
