from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.table import Row
from tasks.campaign.plan import Plan
from tasks.fingerprint import seed_of
from tasks.reasoning.draw import pool_draw
from tasks.report.books import Books
from tasks.store.reruns import Reruns
from tasks.store.rounds import Rounds
from tasks.store.tables import ROUNDS, TRAJECTORIES, rounds_table, trajectories_table
from tasks.store.trajectories import Trajectories

HERE = "sampler=s"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def trajectory(id: str, generation: int = 0, error: str | None = None, at: int = 0) -> Row:
    text = None if error else f"{id} {generation}"
    given = {"id": id, "problem": "p", "message": text, "content": text, "error": error, "generation": generation}
    return {**dict.fromkeys(TRAJECTORIES.names), "references": [], "started": LONG_AGO + timedelta(seconds=at), **given}


def round_(number: int, *ids: str, generation: int = 0, missing: int = 0, at: int = 0) -> Row:
    given = {"recipe": "r", "problem": "p", "run": 0, "round": number, "trajectories": list(ids), "missing": missing}
    committed = LONG_AGO + timedelta(seconds=at)
    return {**dict.fromkeys(ROUNDS.names), **given, "generation": generation, "committed": committed}


def reruns_of(store: str | Path) -> Reruns:
    reruns = Reruns(str(store), HERE)
    reruns.refresh()
    return reruns


def counting(store: Path, *lost: str) -> list[list[str]]:
    """The rounds of the one run that count: their trajectories."""
    rounds = Rounds(rounds_table(str(store)), HERE, ["r"], reruns_of(store), lambda id: id not in lost)
    rounds.refresh()
    rows = sorted(rounds.of("p"), key=lambda row: int(row["round"]))
    assert [row["round"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["trajectories"] for row in rows]


# --- demands --------------------------------------------------------------------------------------


def test_nothing_was_asked_for_again_at_first(tmp_path: Path) -> None:
    reruns = reruns_of(tmp_path)
    assert (reruns.generation("a"), reruns.newest) == (0, 0)


def test_a_demand_holds_for_every_process_and_each_has_a_generation_of_its_own(tmp_path: Path) -> None:
    first, second = reruns_of(tmp_path), reruns_of(tmp_path)
    assert first.demand(["a", "b"]) == 1
    assert second.demand(["b"]) == 2
    assert [reruns_of(tmp_path).generation(id) for id in "abc"] == [1, 2, 0]


def test_what_is_supposed_is_not_stored(tmp_path: Path) -> None:
    reruns = reruns_of(tmp_path)
    reruns.suppose(["a"])
    assert reruns.generation("a") == 1
    assert reruns_of(tmp_path).generation("a") == 0


def test_demands_at_the_same_moment_share_no_generation(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        generations = list(pool.map(lambda id: Reruns(str(tmp_path), HERE).demand([id]), "abcdefgh"))
    assert len(set(generations)) == 8
    stored = reruns_of(tmp_path)
    assert [stored.generation(id) for id in "abcdefgh"] == generations


# --- trajectories ---------------------------------------------------------------------------------


@pytest.mark.parametrize("consolidated", [True, False])
async def test_a_zombie_that_ends_after_the_demand_does_no_harm(tmp_path: Path, consolidated: bool) -> None:
    table = trajectories_table(str(tmp_path))
    reruns = reruns_of(tmp_path)
    reruns.demand(["a"])
    table.commit(HERE, [trajectory("a", 0, at=1)])
    here = Trajectories(table, HERE, ["p"], 3600, reruns)
    here.refresh()
    assert not here.finished("a")
    table.commit(HERE, [trajectory("a", 1, at=2)])
    table.commit(HERE, [trajectory("a", 0, at=0)])
    if consolidated:
        table.consolidate(HERE)
    here.refresh()
    assert here.finished("a")
    assert await here.messages(["a"], "conclusion") == {"a": "a 1"}
    await here.close()


async def test_a_new_generation_takes_the_place_of_the_old_one_in_the_process_that_made_it(tmp_path: Path) -> None:
    table = trajectories_table(str(tmp_path))
    table.commit(HERE, [trajectory("a")])
    reruns = reruns_of(tmp_path)
    reruns.demand(["a"])
    here = Trajectories(table, HERE, ["p"], 3600, reruns)
    here.refresh()
    await here.add(trajectory("a", 1, error="Stalled"))
    assert not here.finished("a")
    await here.add(trajectory("a", 1))
    assert here.finished("a")
    assert await here.messages(["a"], "conclusion") == {"a": "a 1"}
    await here.commit()
    assert await here.messages(["a"], "full") == {"a": "a 1"}
    await here.close()


# --- rounds ---------------------------------------------------------------------------------------


def test_a_round_counts_while_it_and_all_before_it_count(tmp_path: Path) -> None:
    table = rounds_table(str(tmp_path))
    table.commit(HERE, [round_(1, "a", "b"), round_(2, "c"), round_(3, "d")])
    assert counting(tmp_path) == [["a", "b"], ["c"], ["d"]]
    assert counting(tmp_path, "c") == [["a", "b"]]
    reruns_of(tmp_path).demand(["d"])
    assert counting(tmp_path) == [["a", "b"], ["c"]]
    reruns_of(tmp_path).demand(["a"])
    assert counting(tmp_path) == []


def test_a_round_committed_without_the_one_before_it_does_not_count(tmp_path: Path) -> None:
    rounds_table(str(tmp_path)).commit(HERE, [round_(2, "c")])
    assert counting(tmp_path) == []


def test_later_rounds_of_an_older_generation_do_not_count_on_a_new_first_one(tmp_path: Path) -> None:
    table = rounds_table(str(tmp_path))
    table.commit(HERE, [round_(1, "a", "b"), round_(2, "c")])
    generation = reruns_of(tmp_path).demand(["a"])
    table.commit(HERE, [round_(1, "a", "b", generation=generation)])
    assert counting(tmp_path) == [["a", "b"]]
    table.commit(HERE, [round_(2, "e", generation=generation)])
    assert counting(tmp_path) == [["a", "b"], ["e"]]


@pytest.mark.parametrize("consolidated", [True, False])
def test_a_round_whose_trajectories_are_lost_gives_way_to_one_that_was_done_again(
    tmp_path: Path, consolidated: bool
) -> None:
    table = rounds_table(str(tmp_path))
    for row in [round_(1, "lost", at=1), round_(1, "there", at=2, missing=1)]:
        table.commit(HERE, [row])
    if consolidated:
        table.consolidate(HERE)
    assert counting(tmp_path, "lost") == [["there"]]
    assert counting(tmp_path) == [["lost"]]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_commits_of_one_round_all_readers_pick_the_first(tmp_path: Path, order: int) -> None:
    for row in [round_(1, "a", at=1), round_(1, "b", at=2)][::order]:
        rounds_table(str(tmp_path)).commit(HERE, [row])
    assert counting(tmp_path) == [["a"]]


# --- any history ----------------------------------------------------------------------------------

Step = tuple[str, str, int, bool]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "demand", "open", "consolidate"]),
        st.sampled_from("ab"),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=14,
)


@settings(max_examples=50, deadline=None)
@given(STEPS)
async def test_after_any_history_exactly_the_newest_demanded_generation_counts(steps: list[Step]) -> None:
    """Three processes write what they hold for due, each by the demands that it knew when it was opened last."""
    with TemporaryDirectory() as store:
        table = trajectories_table(store)
        knows = [reruns_of(store) for _ in range(3)]
        finished: dict[str, set[int]] = {"a": set(), "b": set()}
        demanded = {"a": 0, "b": 0}
        for at, (what, id, process, fails) in enumerate(steps):
            if what == "write":
                generation = knows[process].generation(id)
                table.commit(HERE, [trajectory(id, generation, "Stalled" if fails else None, at)])
                finished[id] |= set() if fails else {generation}
            elif what == "demand":
                demanded[id] = knows[process].demand([id])
            elif what == "open":
                knows[process] = reruns_of(store)
            else:
                table.consolidate(HERE)
        here = Trajectories(table, HERE, ["p"], 3600, reruns_of(store))
        here.refresh()
        for id in "ab":
            counts = demanded[id] in finished[id]
            assert here.finished(id) == counts
            if counts:
                assert await here.messages([id], "conclusion") == {id: f"{id} {demanded[id]}"}
            stored = table.read(HERE, ["id", "generation", "error"]).to_pylist()
            assert {r["generation"] for r in stored if r["id"] == id and r["error"] is None} == finished[id]


def test_the_books_count_what_counts_and_nothing_of_what_was_superseded(plan: Callable[..., Plan]) -> None:
    books_of = plan()
    problem = books_of.problems[0]
    store, partition = books_of.campaign.store, books_of.partition
    ids = [pool_draw(books_of, problem, number).id for number in range(4)]
    rows: list[dict[str, Any]] = [
        {**trajectory(id), "problem": problem.fingerprint, "seed": seed_of(id), "completion_tokens": 5} for id in ids
    ]
    trajectories_table(store).commit(partition, rows)
    assert Books(books_of).pool(problem) == ids
    assert Books(books_of, supposing=ids[:1]).pool(problem) == ids[1:]
    Reruns(store, partition).demand(ids[:2])
    assert Books(books_of).pool(problem) == ids[2:]
    again = {**rows[0], "generation": 1, "completion_tokens": 7}
    trajectories_table(store).commit(partition, [again, {**rows[1], "generation": 1, "error": "Stalled"}])
    books = Books(books_of)
    assert books.pool(problem) == [ids[0], *ids[2:]]
    assert books.tokens[ids[0]] == 7
    assert books.failed_in_pool() == 1
