import asyncio
import errno
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.filesystem import StoreError
from infra.table import Row, Table
from tasks.store.reruns import Reruns
from tasks.store.tables import TRAJECTORIES, trajectories_table
from tasks.store.trajectories import Trajectories

HERE = "sampler=s"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def row(id: str, message: str | None = "so 4", at: int = 0, **fields: Any) -> Row:
    empty: Row = dict.fromkeys(TRAJECTORIES.names)
    given = {"id": id, "problem": "p", "reasoning": "hm", "content": message, "message": message, "generation": 0}
    return {**empty, "references": [], "started": LONG_AGO + timedelta(seconds=at), **given, **fields}


def open_trajectories(store: str, commit_seconds: float = 3600) -> Trajectories:
    reruns = Reruns(store, HERE)
    reruns.refresh()
    return Trajectories(trajectories_table(store), HERE, ["p"], commit_seconds, reruns)


Open = Callable[..., Trajectories]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """What one process sees of the store; each call is another process."""
    every = []

    def open_(commit_seconds: float = 3600) -> Trajectories:
        every.append(open_trajectories(str(tmp_path), commit_seconds))
        every[-1].refresh()
        return every[-1]

    yield open_
    for trajectories in every:
        await trajectories.close()


def stored(trajectories: Trajectories) -> list[str]:
    return sorted(trajectories.table.read(HERE, ["id"])["id"].to_pylist())


async def test_a_row_is_stored_when_commit_returns_and_not_before(opened: Open) -> None:
    here = opened()
    await here.add(row("a"))
    assert stored(here) == []
    await here.commit()
    assert stored(here) == ["a"]


async def test_a_row_is_stored_by_itself_before_long(opened: Open) -> None:
    here = opened(commit_seconds=0.01)
    await here.add(row("a"))
    async with asyncio.timeout(5):
        while not stored(here):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_closing_stores_what_waits(opened: Open) -> None:
    here = opened()
    await here.add(row("a"))
    await here.close()
    assert stored(here) == ["a"]


async def test_many_rows_are_stored_without_waiting_for_the_clock(opened: Open) -> None:
    here = opened()
    for n in range(1_000):
        await here.add(row(str(n)))
    assert len(stored(here)) == 1_000


async def test_nothing_to_commit_writes_nothing(opened: Open, tmp_path: Path) -> None:
    await opened().commit()
    assert os.listdir(tmp_path) == []


async def test_a_trajectory_is_finished_from_the_moment_it_is_added(opened: Open) -> None:
    here = opened()
    assert not here.finished("a")
    await here.add(row("a"))
    assert here.finished("a")
    await here.commit()
    assert here.finished("a")
    assert opened().finished("a")


async def test_a_failed_trajectory_is_stored_and_owed_again(opened: Open) -> None:
    here = opened()
    await here.add(row("a", None, error="Stalled: …"))
    await here.commit()
    assert stored(here) == ["a"]
    assert not here.finished("a")
    assert not opened().finished("a")


async def test_a_trajectory_that_failed_before_and_is_there_now_is_finished(opened: Open) -> None:
    here = opened()
    await here.add(row("a", None, error="Stalled: …"))
    await here.commit()
    await here.add(row("a", "so 4", at=9))
    await here.commit()
    other = opened()
    assert other.finished("a")
    assert await other.messages(["a"], "conclusion") == {"a": "so 4"}


async def test_trajectories_of_other_problems_are_not_taken_in(opened: Open) -> None:
    here = opened()
    await here.add(row("a", problem="q"))
    await here.commit()
    assert not opened().finished("a")


async def test_a_refresh_takes_in_what_another_process_stored(opened: Open) -> None:
    here, other = opened(), opened()
    await other.add(row("a"))
    await other.commit()
    assert not here.finished("a")
    here.refresh()
    assert here.finished("a")
    assert await here.messages(["a"], "conclusion") == {"a": "so 4"}


# --- a store that refuses -------------------------------------------------------------------------


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Switch the store's refusal on and off."""
    commit = Table.commit

    def switch(on: bool) -> None:
        def refuse(*_: object) -> None:
            raise StoreError("store: full; free some space")

        monkeypatch.setattr(Table, "commit", refuse if on else commit)

    return switch


async def test_a_store_that_refuses_keeps_the_rows_for_the_next_commit(
    opened: Open, refusing: Callable[[bool], None]
) -> None:
    here = opened()
    for id in "ab":
        await here.add(row(id))
    refusing(True)
    with pytest.raises(StoreError, match="free some space"):
        await here.commit()
    refusing(False)
    await here.commit()
    assert stored(here) == ["a", "b"]


async def test_who_adds_after_a_refusal_is_told_and_loses_nothing(
    opened: Open, refusing: Callable[[bool], None]
) -> None:
    here = opened(commit_seconds=0.01)
    refusing(True)
    await here.add(row("a"))
    await asyncio.sleep(0.1)
    with pytest.raises(StoreError, match="free some space"):
        await here.add(row("b"))
    refusing(False)
    await here.commit()
    assert stored(here) == ["a", "b"]


async def test_closing_tells_of_a_store_that_refuses(opened: Open, refusing: Callable[[bool], None]) -> None:
    here = opened()
    await here.add(row("a"))
    refusing(True)
    with pytest.raises(StoreError):
        await here.close()
    refusing(False)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Switch off and on a store that is away and may come back."""
    commit = Table.commit

    def switch(on: bool) -> None:
        def refuse(*_: object) -> None:
            raise StoreError("store: slow down") from OSError(errno.EIO, "slow down")

        monkeypatch.setattr(Table, "commit", refuse if on else commit)

    return switch


async def test_while_the_store_is_away_rows_wait_and_are_stored_when_it_is_back(
    opened: Open, away: Callable[[bool], None]
) -> None:
    here = opened(commit_seconds=0.01)
    away(True)
    for id in "abc":
        await here.add(row(id))
        await asyncio.sleep(0.05)
    away(False)
    async with asyncio.timeout(5):
        while stored(here) != ["a", "b", "c"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await here.add(row("d"))


async def test_when_too_much_waits_for_a_store_that_is_away_it_is_told(
    opened: Open, away: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.store.trajectories.BUFFER_BYTES", 1_000)
    here = opened(commit_seconds=0.01)
    away(True)
    await here.add(row("a"))
    await asyncio.sleep(0.1)
    await here.add(row("b"))
    with pytest.raises(StoreError, match="slow down"):
        await here.add(row("c", "x" * 1_000))
    away(False)
    await here.commit()
    assert stored(here) == ["a", "b", "c"]


async def test_a_commit_that_is_cancelled_and_then_refused_loses_nothing(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = opened()
    await here.add(row("a"))
    begun, go_on = threading.Event(), threading.Event()

    def refuse(*_: object) -> None:
        begun.set()
        go_on.wait()
        raise StoreError("store: full; free some space")

    with monkeypatch.context() as patched:
        patched.setattr(Table, "commit", refuse)
        committing = asyncio.create_task(here.commit())
        await asyncio.to_thread(begun.wait)
        committing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await committing
        patched.undo()
        go_on.set()
    await here.commit()
    assert stored(here) == ["a"]


# --- two processes --------------------------------------------------------------------------------


async def test_what_another_process_stored_is_taken_in_with_the_next_commit(opened: Open) -> None:
    here, other = opened(commit_seconds=0.01), opened()
    await other.add(row("a"))
    await other.commit()
    await here.add(row("b"))
    async with asyncio.timeout(5):
        while not here.finished("a"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_where_both_generated_both_quote_the_row_that_counts(opened: Open) -> None:
    here, other = opened(commit_seconds=0.01), opened()
    await other.add(row("a", "early", at=1))
    await other.commit()
    await here.add(row("a", "late", at=2))
    assert await here.messages(["a"], "conclusion") == {"a": "late"}
    async with asyncio.timeout(5):
        while await here.messages(["a"], "conclusion") == {"a": "late"}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await here.messages(["a"], "conclusion") == await other.messages(["a"], "conclusion") == {"a": "early"}


# --- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("committed", [True, False])
async def test_messages_are_what_compaction_keeps(opened: Open, committed: bool) -> None:
    here = opened()
    await here.add(row("a", "so 4"))
    await here.add(row("b", ""))
    if committed:
        await here.commit()
        here = opened()
    assert await here.messages(["a", "b"], "conclusion") == {"a": "so 4", "b": ""}
    assert await here.messages(["a"], "full") == {"a": "<think>hm</think>so 4"}


async def test_a_generation_without_content_has_an_empty_message(opened: Open) -> None:
    here = opened()
    await here.add(row("a", "", content=None))
    await here.commit()
    assert await opened().messages(["a"], "conclusion") == {"a": ""}


async def test_messages_are_found_after_another_process_consolidated(opened: Open) -> None:
    here = opened()
    for id in "abc":
        await here.add(row(id, id))
        await here.commit()
    reader = opened()
    here.table.consolidate(HERE)
    assert await reader.messages(["a", "b", "c"], "conclusion") == {"a": "a", "b": "b", "c": "c"}


@pytest.mark.parametrize("late_first", [True, False])
async def test_of_two_generations_with_one_key_the_message_is_that_of_the_row_that_counts(
    opened: Open, late_first: bool
) -> None:
    rows = [row("a", "early", at=1), row("a", "late", at=2)]
    for each in reversed(rows) if late_first else rows:
        process = opened()
        await process.add(each)
        await process.commit()
    assert await opened().messages(["a"], "conclusion") == {"a": "early"}


async def test_rows_that_vanished_are_told(opened: Open, tmp_path: Path) -> None:
    here = opened()
    await here.add(row("a"))
    await here.commit()
    reader = opened()
    shutil.rmtree(tmp_path / "trajectories")
    with pytest.raises(StoreError, match="1 trajectories are gone"):
        await reader.messages(["a"], "conclusion")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=12))
async def test_what_a_process_believes_is_what_the_next_one_finds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bool, bool]]
) -> None:
    store = str(tmp_path_factory.mktemp("store"))
    here = open_trajectories(store)
    for at, (id, failed, then_commit) in enumerate(steps):
        await here.add(row(id, None if failed else "so 4", at, error="failed" if failed else None))
        if then_commit:
            await here.commit()
    await here.close()
    there = open_trajectories(store)
    there.refresh()
    assert [here.finished(id) for id in "abc"] == [there.finished(id) for id in "abc"]
