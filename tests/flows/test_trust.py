"""Nothing in a store is run, and no name leads out of it."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.table import FORMAT
from tests.flows.conftest import Pacore, Simulate

pytestmark = pytest.mark.usefixtures("prefect_server")

Write = Callable[..., Path]
HOSTILE = ["../../x", "/etc/passwd", "a\0b", "..", "C:\\x", "‮ünï\n{{ 1 }}", "%2e%2e/x", "~root", "$HOME"]


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_in_a_store_is_unpickled(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, tmp_path: Path
) -> None:
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    pickle.loads(trap)
    assert sprung.exists()
    sprung.unlink()
    with simulate() as server:
        file = campaign_file(engine={"urls": [server.url], "tries": 1})
        assert pacore("run", file).code == 0
        names = {"ARROW:extension:name": b"arrow.py_extension_type", "ARROW:extension:metadata": trap}
        for path in list((tmp_path / "store").rglob("part-*.parquet")):
            rows = pq.read_table(path, partitioning=None)
            fields = [field.with_metadata(names) for field in rows.schema]
            schema = pa.schema(fields, {FORMAT: b"1.1", b"pandas": trap, b"PANDAS_ATTRS": trap})
            path.with_name("part-pickled.parquet").write_bytes(b"")
            pq.write_table(pa.table(rows.columns, schema=schema), path.with_name("part-pickled.parquet"))
            path.with_name("part.pkl").write_bytes(trap)
            path.with_name("part-0.parquet").write_bytes(trap)
        for command in (["status"], ["report"], ["run"], ["verify"], ["verify", "--repair"], ["rerun", "--all"]):
            assert pacore(command[0], file, *command[1:]).code == (command[0] == "verify")
    assert not sprung.exists()


def test_no_name_leads_out_of_the_store(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, tmp_path: Path
) -> None:
    problems = [{"id": id, "problem": f"{id} + 1?", "answer": id} for id in HOSTILE]
    with simulate(model="../../../m") as server:
        file = campaign_file(problems, engine={"urls": [server.url], "tries": 1}, sampler={"model": "../../../m"})
        before = {path for path in tmp_path.parent.rglob("*") if path.is_file()}
        assert pacore("run", file).code == 0
        assert pacore("rerun", file, "--all", "--problem", "../../x").code == 0
        assert pacore("verify", file).code == 0
        assert pacore("pool", "export", file, tmp_path / "pool.jsonl").code == 0
    exported = [json.loads(line)["problem"] for line in (tmp_path / "pool.jsonl").read_text().splitlines()]
    assert sorted(set(exported)) == sorted(HOSTILE)
    after = {path for path in tmp_path.parent.rglob("*") if path.is_file()}
    store = tmp_path / "store"
    assert all(path.is_relative_to(store) for path in after - before - {tmp_path / "pool.jsonl"})
    folders = {"trajectories", "rounds", "verdicts", "reruns", "campaigns", "reports"}
    assert {path.name for path in store.iterdir()} <= folders


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "a\\b", "..", ".", "", ".x", "a\0", "a\n", "ü", "x" * 101])
def test_a_campaigns_name_that_is_a_path_is_refused(campaign_file: Write, pacore: Pacore, name: str) -> None:
    ended = pacore("run", campaign_file(name=name))
    assert ended.code == 2
    assert "name: " in ended.complaint
    assert "letters, digits" in ended.complaint


def test_a_methods_name_that_is_a_path_is_refused(campaign_file: Write, pacore: Pacore) -> None:
    ended = pacore("run", campaign_file(methods=[{"name": "../x", "rounds": [2]}]))
    assert ended.code == 2
    assert "method '../x', name" in ended.complaint


@pytest.mark.parametrize("where", ["id", "problem", "answer"])
def test_a_text_that_is_no_unicode_is_refused_in_one_line(
    campaign_file: Write, pacore: Pacore, tmp_path: Path, where: str
) -> None:
    file = campaign_file()
    row = {"id": "x", "problem": "1 + 1?", "answer": "2", where: "\ud800"}
    (tmp_path / "problems.jsonl").write_text(json.dumps(row) + "\n")
    ended = pacore("validate", file)
    assert ended.code == 2
    assert "problems.jsonl" in ended.complaint
