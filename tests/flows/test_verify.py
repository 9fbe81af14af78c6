"""`pacore verify` on the store of one campaign, sound and then damaged in every way that it knows."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.table import Row, Table
from tasks.campaign.campaign_file import load_campaign
from tasks.campaign.plan import Plan, make_plan
from tasks.fingerprint import seed_of, trajectory_id
from tasks.store.tables import ROUNDS, TRAJECTORIES, VERDICTS, rounds_table, trajectories_table, verdicts_table
from tests.flows.conftest import Pacore, Simulate
from tests.simulator import Fault

pytestmark = pytest.mark.usefixtures("prefect_server")

Write = Callable[..., Path]
METHODS: list[Any] = ["low", [3, 2], "full@3", {"name": "few", "rounds": [3, {"width": 3, "sees": 2}]}]


@pytest.fixture(scope="module")
def sound(
    prefect_server: None, simulate: Simulate, write_campaign: Write, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """The folder of a complete campaign, and its engine."""
    from flows.cli import main

    folder = tmp_path_factory.mktemp("sound")
    with simulate(sigma=1) as server, pytest.MonkeyPatch.context() as patch:
        file = write_campaign(folder, engine={"urls": [server.url], "tries": 1}, runs=2, methods=METHODS)
        patch.setattr("sys.argv", ["pacore", "run", str(file)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        yield folder, server.url


@pytest.fixture
def file(sound: tuple[Path, str], tmp_path: Path) -> Path:
    """The campaign file of a copy of it."""
    shutil.copytree(sound[0], tmp_path / "copy")
    return tmp_path / "copy" / "campaign.yaml"


def plan_of(file: Path) -> Plan:
    return make_plan(load_campaign(file))


def rewrite(file: Path, table: Table, names: list[str], change: Callable[[list[Row]], list[Row]]) -> None:
    """Put changed rows in the place of a table's parts."""
    partition = plan_of(file).partition
    rows = table.read(partition, names).to_pylist()
    old = table.parts(partition)
    new = table.commit(partition, change(rows))
    for part in old:
        if part.path != new.path:
            Path(part.path).unlink()


def change_trajectory(file: Path, which: Callable[[Row], bool], **fields: Any) -> str:
    """Change the first trajectory of a kind; return its id as it was."""
    changed: list[str] = []

    def change(rows: list[Row]) -> list[Row]:
        row = next(row for row in rows if which(row))
        changed.append(row["id"])
        row.update(fields)
        return rows

    rewrite(file, trajectories_table(plan_of(file).campaign.store), TRAJECTORIES.names, change)
    return changed[0]


def change_round(file: Path, which: Callable[[Row], bool], **fields: Any) -> None:
    def change(rows: list[Row]) -> list[Row]:
        next(row for row in rows if which(row)).update(fields)
        return rows

    rewrite(file, rounds_table(plan_of(file).campaign.store), ROUNDS.names, change)


def parts(file: Path, table: str) -> list[Path]:
    return sorted((file.parent / "store" / table).rglob("*.parquet"))


def found(pacore: Pacore, file: Path) -> dict[str, int]:
    ended = pacore("verify", file, "--json")
    told = json.loads(ended.out)
    assert (ended.code == 0) == told["well"] == (not told["findings"])
    return {finding["kind"]: finding["count"] for finding in told["findings"]}


def test_a_campaign_that_ran_is_well(file: Path, pacore: Pacore) -> None:
    ended = pacore("verify", file)
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "all is well"
    told = json.loads(pacore("verify", file, "--json").out)
    assert told["rows"] == {"verdicts": 8 + 4 * (1 + 3 + 1 + 4), "rounds": 4 * (2 + 3 + 2 + 3), "reruns": 0} | {
        "trajectories": 8 + 4 * (1 + 3 + 1 + 4)
    }
    assert set(told["duplicates"].values()) == {0}


@pytest.mark.parametrize(
    ("policy", "window"), [("drop_longest", 600), ("truncate_messages", 600)], ids=["dropped", "cut"]
)
def test_prompts_that_were_made_to_fit_are_written_again_as_they_were(
    campaign_file: Write, pacore: Pacore, simulate: Simulate, policy: str, window: int
) -> None:
    with simulate(median_tokens=400, window=window) as server:
        file = campaign_file(
            engine={"urls": [server.url], "tries": 1},
            sampler={"model": "sim", "max_tokens": 400},
            overflow={"policy": policy},
        )
        assert pacore("run", file).code == 0
    plan = plan_of(file)
    rows = trajectories_table(plan.campaign.store).read(plan.partition, ["round", "overflow"]).to_pylist()
    assert all(row["overflow"] for row in rows if row["round"] == 2)
    assert found(pacore, file) == {}


def test_a_campaign_with_holes_is_well(campaign_file: Write, pacore: Pacore, simulate: Simulate) -> None:
    with simulate(faults=[Fault("500", nth=(3,))]) as server:
        file = campaign_file(engine={"urls": [server.url], "tries": 1}, quorum=0.75)
        assert pacore("run", file).code == 0
    assert found(pacore, file) == {}


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def renamed(path: Path) -> None:
    path.rename(path.with_name(f"part-{'0' * 32}.parquet"))


def foreign(path: Path) -> None:
    path.write_bytes(b"PAR1 no")


@pytest.mark.parametrize("damage", [torn, one_bit, renamed, foreign])
@pytest.mark.parametrize("table", ["trajectories", "rounds", "verdicts"])
def test_a_part_that_is_not_whole_is_told_moved_aside_and_its_rows_are_done_again(
    file: Path, pacore: Pacore, sound: tuple[Path, str], table: str, damage: Callable[[Path], None]
) -> None:
    (path,) = parts(file, table)
    damage(path)
    before = {path: path.read_bytes() for path in (file.parent / "store").rglob("*") if path.is_file()}
    kinds = found(pacore, file)
    assert kinds["files that are no whole part"] == 1
    assert {path: path.read_bytes() for path in before} == before
    (bad,) = parts(file, table)
    damaged = bad.read_bytes()
    assert pacore("verify", file, "--repair").code == 1
    assert parts(file, table) == []
    (aside,) = parts(file, f"quarantine/{table}")
    assert aside.read_bytes() == damaged
    assert pacore("run", file).code == 0
    assert found(pacore, file) == {}


def test_a_file_that_is_no_part_at_all_is_told(file: Path, pacore: Pacore) -> None:
    parts(file, "rounds")[0].with_name("notes.txt").write_text("mine")
    assert found(pacore, file) == {"files that are no whole part": 1}


def first_round(row: Row) -> bool:
    return bool(row["round"] == 1)


def last_of_low(row: Row) -> bool:
    return bool(row["round"] == 2 and len(row["references"]) == 4)


@pytest.mark.parametrize(
    ("which", "fields", "kinds"),
    [
        (first_round, {"seed": 7}, {"trajectories whose seed is not that of their id"}),
        (
            first_round,
            {"message": "42"},
            {
                "trajectories whose message is not the conclusion of their content",
                "trajectories whose prompt is not the template over the messages of their references",
            },
        ),
        (
            first_round,
            {"message": "42", "content": "42"},
            {"trajectories whose prompt is not the template over the messages of their references"},
        ),
        (
            first_round,
            {"draw": 77},
            {"trajectories whose id is not that of sampler, prompt and draw"},
        ),
        (
            last_of_low,
            {"references": ["0" * 32]},
            {"trajectories with references that are not of the round before"},
        ),
    ],
    ids=["seed", "message", "text", "draw", "references"],
)
def test_a_wrong_trajectory_is_told_and_repaired_by_doing_it_again(
    file: Path,
    pacore: Pacore,
    sound: tuple[Path, str],
    which: Callable[[Row], bool],
    fields: Row,
    kinds: set[str],
) -> None:
    change_trajectory(file, which, **fields)
    assert found(pacore, file).keys() == kinds
    assert pacore("verify", file, "--repair").code == 1
    assert pacore("run", file).code == 0
    assert found(pacore, file) == {}


def test_a_prompt_in_another_order_is_told(file: Path, pacore: Pacore) -> None:
    def reverse(rows: list[Row]) -> list[Row]:
        next(row for row in rows if last_of_low(row))["references"].reverse()
        return rows

    rewrite(file, trajectories_table(plan_of(file).campaign.store), TRAJECTORIES.names, reverse)
    assert found(pacore, file) == {
        "trajectories whose prompt is not the template over the messages of their references": 1
    }


@pytest.mark.parametrize(
    ("which", "fields", "kind"),
    [
        (last := lambda row: row["method"] == "low" and row["round"] == 2, {"missing": 1}, "rounds whose width"),
        (last, {"width": 2, "missing": 1}, "rounds whose width"),
        (last, {"trajectories": ["0" * 32]}, "rounds whose trajectories are not all there"),
    ],
    ids=["missing", "width", "trajectories"],
)
def test_a_wrong_round_is_told_and_repaired_without_generating_anything(
    file: Path, pacore: Pacore, sound: tuple[Path, str], which: Callable[[Row], bool], fields: Row, kind: str
) -> None:
    change_round(file, which, **fields)
    (told,) = found(pacore, file)
    assert told.startswith(kind)
    before = parts(file, "trajectories")
    assert pacore("verify", file, "--repair").code == 1
    assert pacore("run", file).code == 0
    assert parts(file, "trajectories") == before


def test_a_round_that_holds_another_runs_trajectories_is_told(file: Path, pacore: Pacore) -> None:
    table = rounds_table(plan_of(file).campaign.store)
    rows = table.read(plan_of(file).partition, ["method", "round", "run", "trajectories"]).to_pylist()
    (other, *_) = [r["trajectories"] for r in rows if (r["method"], r["round"], r["run"]) == ("few", 2, 1)]
    change_round(file, lambda r: (r["method"], r["round"], r["run"]) == ("few", 2, 0), trajectories=other)
    assert "rounds that hold what was not drawn for them" in found(pacore, file)


def test_a_verdict_of_nothing_is_told(file: Path, pacore: Pacore) -> None:
    def change(rows: list[Row]) -> list[Row]:
        rows[0]["id"] = "0" * 32
        return rows

    rewrite(file, verdicts_table(plan_of(file).campaign.store), VERDICTS.names, change)
    assert found(pacore, file) == {"verdicts whose trajectory is not there": 1}


@pytest.mark.parametrize("other_first", [True, False])
def test_a_prompt_may_quote_any_stored_row_of_a_key(file: Path, pacore: Pacore, other_first: bool) -> None:
    plan = plan_of(file)
    table = trajectories_table(plan.campaign.store)
    row = next(r for r in table.read(plan.partition, TRAJECTORIES.names).to_pylist() if r["round"] == 1)
    started = datetime(2026, 1, 1, tzinfo=UTC) if other_first else row["started"] + timedelta(seconds=9)
    table.commit(plan.partition, [{**row, "content": "nearly so", "message": "nearly so", "started": started}])
    assert found(pacore, file) == {}
    table.consolidate(plan.partition)
    assert found(pacore, file) == {}
    assert json.loads(pacore("verify", file, "--json").out)["duplicates"]["trajectories"] == 1


def test_a_prompt_that_two_rounds_with_equal_messages_share_is_sound(file: Path, pacore: Pacore) -> None:
    """Its row names the messages of the round that asked for it first: here a twin of one that the other was shown."""

    def with_twin(rows: list[Row]) -> list[Row]:
        asked = next(row for row in rows if last_of_low(row))
        shown = next(row for row in rows if row["id"] == asked["references"][0])
        id = trajectory_id(plan_of(file).sampler, shown["prompt"], 77)
        asked["references"] = [id, *asked["references"][1:]]
        return [*rows, {**shown, "id": id, "draw": 77, "seed": seed_of(id)}]

    rewrite(file, trajectories_table(plan_of(file).campaign.store), TRAJECTORIES.names, with_twin)
    assert found(pacore, file) == {}
