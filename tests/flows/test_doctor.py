"""`pacore doctor`: what it finds, where all is well and where it is not."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from infra.filesystem import create_file
from tasks.doctor import clock
from tests.flows.conftest import Pacore, Simulate

Write = Callable[..., Path]
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_prefect_server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with temporary_settings({PREFECT_API_URL: None}):
        yield


def engine(*urls: str) -> dict[str, Any]:
    return {"urls": list(urls)}


def findings(pacore: Pacore, file: Path, code: int = 0) -> dict[str, tuple[str, str]]:
    ended = pacore("doctor", file, "--json")
    assert ended.code == code, ended.out
    assert ended.err == ""
    return {found["what"]: (found["state"], found["said"]) for found in json.loads(ended.out)}


def test_where_all_is_well_every_line_is_ok_and_nothing_is_left_behind(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, tmp_path: Path
) -> None:
    with simulate() as server:
        file = campaign_file(engine=engine(server.url))
        found = findings(pacore, file)
        lines = pacore("doctor", file).out.splitlines()
    store = str(tmp_path / "store")
    assert list(found) == [
        *(f"engine {server.url}", f"clock of {server.url}", f"store {store}", "disk of the store", "prefect")
    ]
    assert {state for state, _ in found.values()} <= {"ok", "warn"}  # the disk may be small
    assert "serves sim, window 131,072, a token after" in found[f"engine {server.url}"][1]
    assert "counts tokens" in found[f"engine {server.url}"][1]
    assert "never written over" in found[f"store {store}"][1]
    assert "PREFECT_API_URL is not set" in found["prefect"][1]
    assert [line.split()[0] for line in lines] == [state for state, _ in found.values()]
    assert not (tmp_path / "store").exists()


def test_what_several_campaigns_share_is_looked_at_once(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate() as server:
        file = campaign_file(engine=engine(server.url), each=[{"name": "one"}, {"name": "two", "runs": 2}])
        ended = pacore("doctor", file, "--json")
    assert ended.code == 0
    assert [found["what"].split()[0] for found in json.loads(ended.out)] == [
        "engine",
        "clock",
        "store",
        "disk",
        "prefect",
    ]


def test_the_shipped_model_needs_no_server(campaign_file: Write, pacore: Pacore) -> None:
    state, said = findings(pacore, campaign_file(engine={"kind": "local"}))["engine local"]
    assert (state, "window 4,096" in said) == ("ok", True)


def test_every_replica_is_looked_at_and_one_that_is_away_fails(
    campaign_file: Write, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate() as server:
        found = findings(pacore, campaign_file(engine=engine(server.url, "http://127.0.0.1:9/v1")), code=1)
    assert found[f"engine {server.url}"][0] == "ok"
    state, said = found["engine http://127.0.0.1:9/v1"]
    assert (state, "see whether it runs" in said) == ("fail", True)


@pytest.mark.parametrize(
    ("server", "keys", "state", "said"),
    [
        ({}, {"sampler": {"model": "other"}}, "fail", "does not serve 'other'; it serves sim: correct sampler.model"),
        ({"api_key": "right"}, {}, "fail", "the environment variable PACORE_API_KEY is not set"),
        ({"tokenize": False}, {}, "warn", "no /tokenize"),
        ({"states_window": False}, {}, "fail", "set engine.window"),
        ({"fault": ["500=1"]}, {}, "fail", "failed (HTTP 500): injected fault; see its log"),
    ],
)
def test_what_an_engine_lacks_is_said_with_the_remedy(
    campaign_file: Write,
    pacore: Pacore,
    simulate: Simulate,
    monkeypatch: pytest.MonkeyPatch,
    server: dict[str, Any],
    keys: dict[str, Any],
    state: str,
    said: str,
) -> None:
    monkeypatch.delenv("PACORE_API_KEY", raising=False)
    with simulate(**server) as running:
        file = campaign_file(engine=engine(running.url), **keys)
        found = findings(pacore, file, code=1 if state == "fail" else 0)[f"engine {running.url}"]
    assert found[0] == state
    assert said in found[1]


def test_a_store_that_can_not_be_written_fails(
    campaign_file: Write, pacore: Pacore, tmp_path: Path, simulate: Simulate
) -> None:
    (tmp_path / "file").touch()
    with simulate() as server:
        found = findings(pacore, campaign_file(engine=engine(server.url), store="file/store"), code=1)
    state, said = found[f"store {tmp_path / 'file/store'}"]
    assert (state, "correct `store` in the campaign file" in said) == ("fail", True)


def test_a_store_that_writes_over_files_is_told_of_with_what_that_means(
    campaign_file: Write, pacore: Pacore, monkeypatch: pytest.MonkeyPatch, simulate: Simulate, tmp_path: Path
) -> None:
    def write_over(filesystem: Any, path: str, data: bytes) -> None:
        Path(path).unlink(missing_ok=True)
        create_file(filesystem, path, data)

    monkeypatch.setattr("tasks.doctor.create_file", write_over)
    with simulate() as server:
        state, said = findings(pacore, campaign_file(engine=engine(server.url)))[f"store {tmp_path / 'store'}"]
    assert (state, "ignores If-None-Match: a part is named after its bytes" in said) == ("warn", True)


def test_a_prefect_server_that_does_not_answer_fails(campaign_file: Write, pacore: Pacore, simulate: Simulate) -> None:
    with simulate() as server, temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        state, said = findings(pacore, campaign_file(engine=engine(server.url)), code=1)["prefect"]
    assert (state, "start it, or unset PREFECT_API_URL" in said) == ("fail", True)


def test_a_campaign_file_that_is_wrong_is_one_line_and_exit_status_2(campaign_file: Write, pacore: Pacore) -> None:
    ended = pacore("doctor", campaign_file(methodz=["low"]))
    assert (ended.code, "methodz is no key" in ended.complaint) == (2, True)


@pytest.mark.parametrize(
    ("ahead", "state", "said"),
    [(0, "ok", "agrees"), (90, "warn", "90 s ahead of it"), (-3600, "warn", "3,600 s behind it")],
)
def test_a_clock_that_is_off_is_told_of(ahead: float, state: str, said: str) -> None:
    finding = clock("clock", format_datetime(NOW, usegmt=True), NOW + timedelta(seconds=ahead))
    assert finding
    assert (finding.state, said in finding.said) == (state, True)


@pytest.mark.parametrize("stated", [None, "", "noon"])
def test_a_server_that_states_no_time_tells_nothing_of_clocks(stated: str | None) -> None:
    assert clock("clock", stated, NOW) is None
