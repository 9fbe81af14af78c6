"""What a user gets wrong: one line that says what, where and the remedy; no traceback; and nothing is lost."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from infra.table import Row
from tasks.campaign.campaign_file import load_campaign
from tasks.campaign.plan import make_plan
from tasks.store.tables import TRAJECTORIES, trajectories_table
from tests.flows.conftest import Pacore, Simulate

CHECKOUT = Path(__file__).parents[2]
DEAD = "http://127.0.0.1:9/v1"

Write = Callable[..., Path]


def test_a_key_that_is_unknown(campaign_file: Write, pacore: Pacore) -> None:
    ended = pacore("run", file := campaign_file(methodz=["low"]))
    assert ended.code == 2
    assert ended.complaint.startswith(f"pacore: {file}: methodz is no key; known here: name, benchmark, ")


def test_a_key_that_is_unknown_in_a_section(campaign_file: Write, pacore: Pacore) -> None:
    ended = pacore("run", file := campaign_file(sampler={"model": "sim", "temprature": 1.0}))
    assert ended.code == 2
    assert ended.complaint.startswith(f"pacore: {file}: sampler.temprature is no key; known here: model, ")


def test_a_campaign_file_that_is_not_there(tmp_path: Path, pacore: Pacore) -> None:
    ended = pacore("run", file := tmp_path / "none.yaml")
    assert ended.code == 2
    assert ended.complaint == f"pacore: {file}: No such file or directory; give the path of a campaign file"


def test_a_benchmark_file_that_is_not_there(campaign_file: Write, tmp_path: Path, pacore: Pacore) -> None:
    ended = pacore("run", campaign_file(benchmark="none.jsonl"))
    assert ended.code == 2
    assert ended.complaint == f"pacore: {tmp_path / 'none.jsonl'}: no such file; give a JSONL, Parquet or CSV file"


def test_a_row_without_id(campaign_file: Write, tmp_path: Path, pacore: Pacore) -> None:
    rows = [{"id": "a", "problem": "1 + 1?", "answer": "2"}, {"name": "b", "problem": "2 + 2?", "answer": "4"}]
    ended = pacore("run", campaign_file(rows))
    assert ended.code == 2
    assert ended.complaint.startswith(f"pacore: {tmp_path / 'problems.jsonl'}, line 2: no 'id'; every row needs one")
    assert "benchmark.fields.id (this row has name, problem, answer)" in ended.complaint


def test_two_rows_with_one_id(campaign_file: Write, tmp_path: Path, pacore: Pacore) -> None:
    ended = pacore("run", campaign_file([{"id": "a", "problem": "1 + 1?", "answer": "2"}] * 2))
    assert ended.code == 2
    assert (
        ended.complaint == f"pacore: {tmp_path / 'problems.jsonl'}, line 2: id 'a' stands twice; "
        "give every problem an id of its own"
    )


def test_an_engine_that_is_not_there(campaign_file: Write, pacore: Pacore) -> None:
    ended = pacore("run", campaign_file(engine={"urls": [DEAD], "tries": 1}))
    assert ended.code == 2
    assert ended.complaint.startswith(f"pacore: {DEAD} cannot be reached or broke off: ")
    assert ended.complaint.endswith("; see whether it runs")


@pytest.mark.parametrize(("key", "state"), [(None, "is not set"), ("wrong", "holds a key that it does not accept")])
def test_an_api_key_that_is_wrong(
    campaign_file: Write,
    pacore: Pacore,
    simulate: Simulate,
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
    state: str,
) -> None:
    monkeypatch.delenv("PACORE_API_KEY", raising=False)
    if key:
        monkeypatch.setenv("PACORE_API_KEY", key)
    with simulate(api_key="right") as server:
        ended = pacore("run", campaign_file(engine={"urls": [server.url]}))
    assert ended.code == 2
    assert (
        ended.complaint == f"pacore: {server.url} wants an API key (HTTP 401): "
        f"the environment variable PACORE_API_KEY {state}"
    )


def test_a_model_that_is_not_served(campaign_file: Write, pacore: Pacore, simulate: Simulate) -> None:
    with simulate() as server:
        ended = pacore("run", campaign_file(engine={"urls": [server.url]}, sampler={"model": "other"}))
    assert ended.code == 2
    assert ended.complaint == f"pacore: {server.url} does not serve 'other'; it serves sim: correct sampler.model"


def test_a_store_below_a_file(campaign_file: Write, tmp_path: Path, pacore: Pacore) -> None:
    (tmp_path / "file").touch()
    ended = pacore("run", campaign_file(store="file/store"))
    assert ended.code == 2
    assert ended.complaint.startswith(f"pacore: store: can not list {tmp_path / 'file/store'}")
    assert ended.complaint.endswith(
        "Not a directory; make the bucket or folder, or correct `store` in the campaign file"
    )


def test_a_store_of_a_kind_that_nothing_opens(campaign_file: Write, pacore: Pacore) -> None:
    ended = pacore("run", campaign_file(store="s4://bucket/store"))
    assert ended.code == 2
    assert (
        ended.complaint == "pacore: s4://bucket/store: Protocol not known: s4; give s3://bucket/prefix or a local path"
    )


# --- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 320 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount") or pytest.skip("a full disk needs `mount`, which is not installed")
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=320k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a full disk needs root and the right to mount: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def make_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)


def fill(disk: Path) -> Path:
    """A file that takes the rest of a disk."""
    file = disk / "fill"
    with file.open("wb", buffering=0) as filling, contextlib.suppress(OSError):
        while True:
            filling.write(bytes(4096))
    return file


def run_apart(file: Path) -> "subprocess.CompletedProcess[str]":
    """`pacore run` in a process of its own: what it prints is all that a user sees."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", str(file)],
        cwd=CHECKOUT,
        env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()},
        capture_output=True,
        text=True,
        check=False,
    )


def trajectories(file: Path) -> dict[str, Row]:
    plan = make_plan(load_campaign(file))
    rows = trajectories_table(plan.campaign.store).read(plan.partition, TRAJECTORIES.names).to_pylist()
    return {row["id"]: row for row in rows}


def test_a_disk_that_is_full_at_the_start(campaign_file: Write, disk: Path, pacore: Pacore) -> None:
    file = campaign_file(store=str(disk / "store"))
    fill(disk)
    ended = pacore("run", file)
    assert ended.code == 2
    assert ended.complaint.startswith(f"pacore: store: can not write {disk / 'store'}")
    assert ended.complaint.endswith(
        ": No space left on device; free some space, then run the campaign again: what was committed is kept"
    )


@pytest.mark.usefixtures("prefect_server")
def test_a_disk_that_fills_up_while_it_runs(campaign_file: Write, disk: Path, simulate: Simulate) -> None:
    with simulate(slots=2, median_tokens=200, seconds_per_token=0.0002, keep_bodies=True) as server:
        file = campaign_file(
            engine={"urls": [server.url]}, pool=60, commit_seconds=0.05, store=str(disk / "store"), methods=["low"]
        )
        ended = run_apart(file)
        assert ended.returncode == 1, ended.stderr
        (complaint,) = ended.stderr.splitlines()
        assert complaint.startswith(f"pacore: store: can not write {disk / 'store'}")
        assert "No space left on device; free some space, then run the campaign again" in complaint
        assert (committed := trajectories(file))

        make_room(disk)
        server.bodies.clear()
        again = run_apart(file)
        assert (again.returncode, again.stderr) == (0, "")
    final = trajectories(file)
    assert len(final) == 2 * (60 + 1)
    assert {id: final.get(id) for id in committed} == committed
    assert {body["seed"] for body in server.bodies}.isdisjoint(row["seed"] for row in committed.values())


@pytest.mark.usefixtures("prefect_server")
def test_a_report_that_finds_the_disk_full(
    campaign_file: Write, disk: Path, pacore: Pacore, simulate: Simulate
) -> None:
    with simulate() as server:
        file = campaign_file(engine={"urls": [server.url]}, store=str(disk / "store"))
        assert pacore("run", file).code == 0
    shutil.rmtree(disk / "store/reports")
    filling = fill(disk)
    ended = pacore("report", file)
    assert ended.code == 2
    assert ended.complaint.startswith(f"pacore: store: can not write {disk / 'store/reports'}")
    filling.unlink()
    make_room(disk)  # figures take more than the disk has
    assert pacore("report", file).code == 0
    assert json.loads((disk / "store/reports/tiny/table.json").read_text())
