import errno
import io
import logging
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import stamina
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.filesystem import StoreError
from infra.table import FORMAT, NewerSchemaError, Row, Table, since

SCHEMA = pa.schema([("id", pa.string()), ("error", pa.string()), ("at", pa.int64()), ("text", pa.large_string())])
HERE = "sampler=s"


@pytest.fixture(autouse=True)
def _no_waiting_between_attempts() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


def open_table(folder: Path | str) -> Table:
    return Table(str(folder), "rows", SCHEMA, ["id"], ["error", "at"])


def row(id: str, at: int = 0, text: str | None = "t", error: str | None = None) -> Row:
    return {"id": id, "error": error, "at": at, "text": text}


def rows_of(table: Table, *columns: str) -> list[Row]:
    return sorted(table.read(HERE, columns or SCHEMA.names).to_pylist(), key=lambda row: str(row["id"]))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --- commit ---------------------------------------------------------------------------------------


def test_committed_rows_are_read_back_as_they_were(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    rows = [row("a", text="{{ x }}\r\n</think>\0π"), row("b", text=None), row("c", text="", error="Stalled: …")]
    table.commit(HERE, rows)
    assert rows_of(open_table(tmp_path)) == rows


def test_a_store_that_nobody_wrote_to_is_empty(tmp_path: Path) -> None:
    assert rows_of(open_table(tmp_path / "none")) == []


def test_a_partition_does_not_see_another_ones_rows(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    table.commit(HERE, [row("a")])
    assert table.read("sampler=t", ["id"]).num_rows == 0


def test_a_commit_that_is_repeated_is_one_part(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    parts = [table.commit(HERE, [row("a"), row("b")]) for _ in range(2)]
    assert parts[0] == parts[1]
    assert len(files(tmp_path)) == 1


def test_other_rows_are_another_part_and_no_part_is_ever_changed(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    first = Path(table.commit(HERE, [row("a")]).path)
    before = first.read_bytes(), first.stat().st_mtime_ns
    table.commit(HERE, [row("a", at=1)])
    assert len(files(tmp_path)) == 2
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before


def test_any_parquet_reader_finds_the_rows_and_the_schemas_version(tmp_path: Path) -> None:
    path = open_table(tmp_path).commit(HERE, [row("a")]).path
    assert pq.read_table(path, partitioning=None).to_pylist() == [row("a")]
    assert pq.read_schema(path).metadata[FORMAT] == b"1.1"
    assert pq.read_table(tmp_path / "rows").column("sampler").to_pylist() == ["s"]


class Fragile(LocalFileSystem):  # type: ignore[misc]
    """A local filesystem whose operations fail as they are told, and which counts the bytes read."""

    cachable = False

    def __init__(self, **refusals: Any) -> None:
        super().__init__()
        self.refusals = refusals
        self.bytes_read = 0

    def _maybe_refuse(self, verb: str) -> None:
        if errors := self.refusals.get(verb):
            raise errors.pop(0)

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        self._maybe_refuse("ls")
        return super().ls(path, detail=detail, **options)

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        self._maybe_refuse("open")
        return Counted(self, path)


class Counted(io.FileIO):
    def __init__(self, filesystem: Fragile, path: str) -> None:
        super().__init__(path)
        self.filesystem = filesystem

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self.filesystem.bytes_read += len(data)
        return data


def test_a_full_disk_is_told_with_the_remedy_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def full(*_: object) -> None:
        tries.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("infra.table.create_file", full)
    with pytest.raises(StoreError, match=r"can not write .*No space left on device; free some space"):
        open_table(tmp_path).commit(HERE, [row("a")])
    assert len(tries) == 1


def test_what_passes_is_tried_again(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    table.commit(HERE, [row("a")])
    table.filesystem = Fragile(ls=[OSError(errno.EIO, "reset"), OSError(errno.EIO, "reset")])
    assert rows_of(table) == [row("a")]


@pytest.mark.parametrize("verb", ["ls", "open"])
def test_a_store_that_may_not_be_read_is_told_and_never_taken_for_empty(tmp_path: Path, verb: str) -> None:
    table = open_table(tmp_path)
    table.commit(HERE, [row("a")])
    table.filesystem = Fragile(**{verb: [PermissionError(errno.EACCES, "Access Denied")]})
    with pytest.raises(StoreError, match=r"Access Denied; give these credentials the right"):
        table.read(HERE, ["id"])


def test_a_part_that_can_not_be_read_once_is_read_again(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    table.commit(HERE, [row("a")])
    table.filesystem = Fragile(open=[OSError(errno.EIO, "reset")])
    assert rows_of(table) == [row("a")]


def test_a_part_that_can_not_be_read_is_told_and_not_owed_again(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    table.commit(HERE, [row("a")])
    table.filesystem = Fragile(open=[OSError(errno.EIO, "Input/output error") for _ in range(1000)])
    with pytest.raises(StoreError, match=r"can not read .*Input/output error"):
        table.read(HERE, ["id"])


@pytest.mark.parametrize(("parts", "left"), [(3, 3), (4, 1)])
def test_parts_are_consolidated_where_there_is_a_crowd(tmp_path: Path, parts: int, left: int) -> None:
    table = open_table(tmp_path)
    for number in range(parts):
        table.commit(HERE, [row(f"a{number}")])
    table.consolidate(HERE, crowd=4)
    assert len(table.parts(HERE)) == left
    assert len(rows_of(table)) == parts


# --- the rule for duplicates ----------------------------------------------------------------------

SAME_KEY = [row("a", at=3, text="late"), row("a", at=1, error="Stalled"), row("a", at=2, text="early")]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
@pytest.mark.parametrize("together", [True, False])
def test_of_rows_with_one_key_a_finished_one_counts_and_of_those_the_first(
    tmp_path: Path, order: list[int], together: bool
) -> None:
    table = open_table(tmp_path)
    rows = [SAME_KEY[index] for index in order]
    for batch in [rows] if together else [[row] for row in rows]:
        table.commit(HERE, batch)
    assert rows_of(table) == [row("a", at=2, text="early")]


@pytest.mark.parametrize("columns", [["text"], ["id"], ["at", "text"], ["text", "id", "error", "at"]])
def test_the_same_row_counts_whatever_columns_are_read(tmp_path: Path, columns: list[str]) -> None:
    table = open_table(tmp_path)
    for each in SAME_KEY:
        table.commit(HERE, [each])
    chosen = row("a", at=2, text="early")
    read = table.read(HERE, columns)
    assert read.column_names == columns
    assert read.to_pylist() == [{name: chosen[name] for name in columns}]


def test_a_filter_on_the_key_keeps_the_rule(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    for each in [*SAME_KEY, row("b")]:
        table.commit(HERE, [each])
    assert table.read(HERE, ["text"], pc.field("id") == "a").to_pylist() == [{"text": "early"}]


# --- what is no part ------------------------------------------------------------------------------


def torn(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def foreign(_: bytes) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": ["x"], "error": [None], "at": [1], "text": ["y"]}), buffer)
    return buffer.getvalue()


def other_columns(_: bytes) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": ["x"]}).replace_schema_metadata({FORMAT: b"1.0"}), buffer)
    return buffer.getvalue()


def other_types(_: bytes) -> bytes:
    buffer = io.BytesIO()
    rows = pa.table({"id": ["x"], "error": ["e"], "at": ["no number"], "text": ["y"]})
    pq.write_table(rows.replace_schema_metadata({FORMAT: b"1.0"}), buffer)
    return buffer.getvalue()


def scribbled_on(whole: bytes) -> bytes:
    """A disk that lost the pages and kept the footer."""
    data = len(whole) - int.from_bytes(whole[-8:-4], "little") - 8
    return whole[:4] + b"\xa5" * (data - 4) + whole[data:]


@pytest.mark.parametrize(
    "damage",
    [torn, foreign, other_columns, other_types, scribbled_on, lambda _: b"", lambda _: b"not Parquet at all, but text"],
    ids=["torn", "foreign", "other columns", "other types", "scribbled on", "empty", "text"],
)
def test_a_part_that_can_not_be_read_is_reported_once_and_passed_over(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    table = open_table(tmp_path)
    table.commit(HERE, [row("good")])
    bad = Path(table.commit(HERE, [row(f"bad {n}", text="x" * n) for n in range(100)]).path)
    bad.write_bytes(damage(bad.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert rows_of(table) == [row("good")]
        assert rows_of(table) == [row("good")]
    assert [str(bad) in record.message and "owed again" in record.message for record in caplog.records] == [True]


def test_consolidation_leaves_a_part_alone_that_it_can_not_read(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    bad = Path(table.commit(HERE, [row("bad")]).path)
    bad.write_bytes(torn(bad.read_bytes()))
    for n in range(3):
        table.commit(HERE, [row(f"good {n}")])
    table.consolidate(HERE)
    assert bad.exists()
    assert len(rows_of(table)) == 3


def test_files_that_are_no_parts_are_passed_over_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = open_table(tmp_path)
    folder = Path(table.commit(HERE, [row("a")]).path).parent
    for name in ["_SUCCESS", "notes.txt", ".part-0.parquet.3f"]:
        (folder / name).write_text("x")
    assert rows_of(table) == [row("a")]
    assert not caplog.records


def write_version(folder: Path, version: bytes) -> Path:
    path = Path(open_table(folder).commit(HERE, [row("a")]).path)
    pq.write_table(pq.read_table(path, partitioning=None).replace_schema_metadata({FORMAT: version}), path)
    return path


def test_a_part_of_a_newer_major_version_is_refused(tmp_path: Path) -> None:
    path = write_version(tmp_path, b"2.0")
    with pytest.raises(NewerSchemaError, match=r"schema 2.0, this pacore reads 1.x; install the newer") as refused:
        rows_of(open_table(tmp_path))
    assert str(path) in str(refused.value)


def test_a_part_of_a_newer_minor_version_is_read(tmp_path: Path) -> None:
    write_version(tmp_path, b"1.9")
    assert rows_of(open_table(tmp_path)) == [row("a")]


LATER = pa.schema([*SCHEMA, since(1, "again", pa.int32()), since(1, "noted", pa.string())])


def test_a_column_that_came_later_reads_as_zero_or_null_where_a_part_lacks_it(tmp_path: Path) -> None:
    write_version(tmp_path, b"1.0")
    table = Table(str(tmp_path), "rows", LATER, ["id", "again"], ["error", "at"])
    assert table.read(HERE, ["id", "again", "noted"]).to_pylist() == [{"id": "a", "again": 0, "noted": None}]
    table.commit(HERE, [{**row("b"), "again": 1, "noted": "x"}, row("c")])
    assert {r["id"]: r["again"] for r in table.read(HERE, ["id", "again"]).to_pylist()} == {"a": 0, "b": 1, "c": 0}
    table.consolidate(HERE)
    assert len(files(tmp_path)) == 1
    assert {r["id"]: r["noted"] for r in table.read(HERE, ["id", "noted"]).to_pylist()} == {
        "a": None,
        "b": "x",
        "c": None,
    }


def test_a_part_that_lacks_a_column_of_its_own_version_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_version(tmp_path, b"1.1")
    table = Table(str(tmp_path), "rows", LATER, ["id", "again"], ["error", "at"])
    assert table.read(HERE, ["id", "again"]).num_rows == 0
    assert "owed again" in caplog.text


@pytest.mark.parametrize("bit", range(0, 8, 3))
def test_a_bit_that_flipped_anywhere_in_the_rows_is_noticed(tmp_path: Path, bit: int) -> None:
    table = open_table(tmp_path)
    path = Path(table.commit(HERE, [row(str(n), text=f"text {n}") for n in range(50)]).path)
    whole = path.read_bytes()
    before = rows_of(table)
    pages = len(whole) - int.from_bytes(whole[-8:-4], "little") - 8
    for at in range(4, pages, max(1, pages // 40)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        assert rows_of(table) in ([], before)


# --- column pruning -------------------------------------------------------------------------------


def test_columns_that_are_not_asked_for_are_not_read(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    dice = random.Random(0)
    table.commit(HERE, [row(str(n), text=dice.randbytes(60_000).hex()) for n in range(50)])
    table.filesystem = fragile = Fragile()
    assert table.read(HERE, ["id", "at"]).num_rows == 50
    assert 0 < fragile.bytes_read < 200_000
    table.read(HERE, ["text"])
    assert fragile.bytes_read > 3_000_000


# --- consolidation --------------------------------------------------------------------------------


def test_consolidation_makes_one_part_of_many_and_changes_no_row(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    for each in [*SAME_KEY, *(row(f"b{n}") for n in range(20))]:
        table.commit(HERE, [each])
    before = rows_of(table)
    table.consolidate(HERE)
    assert len(files(tmp_path)) == 1
    assert rows_of(table) == before


def test_consolidation_keeps_rows_of_one_key_that_say_something_else(tmp_path: Path) -> None:
    table = Table(str(tmp_path), "rows", SCHEMA, ["id"], ["error", "at"], ["text"])
    rows = [row("a", 1, "so 4"), row("a", 2, "so 5"), row("a", 3, "so 4"), row("a", 0, None, "Stalled"), row("b")]
    failed = [row("c", 1, None, "Stalled"), row("c", 2, None, "Stalled")]
    for each in [*rows, *failed]:
        table.commit(HERE, [each])
    before = rows_of(table)
    assert before == [rows[0], rows[4], failed[0]]
    table.consolidate(HERE)
    table.consolidate(HERE)
    assert len(files(tmp_path)) == 1
    kept = table.read_every(HERE, SCHEMA.names).to_pylist()
    assert sorted(kept, key=lambda r: (r["id"], r["at"])) == [rows[0], rows[1], rows[4], failed[0]]
    assert rows_of(table) == before


def test_a_list_can_be_what_rows_of_one_key_differ_in(tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.string()), ("of", pa.list_(pa.string()))])
    table = Table(str(tmp_path), "rows", schema, ["id"], [], ["of"])
    for of in (["x", "y"], ["y", "x"], ["x", "y"]):
        table.commit(HERE, [{"id": "a", "of": of}, {"id": of[0], "of": []}])
    table.consolidate(HERE)
    kept = table.read_every(HERE, schema.names).to_pylist()
    assert sorted((r["id"], r["of"]) for r in kept) == [("a", ["x", "y"]), ("a", ["y", "x"]), ("x", []), ("y", [])]


def test_to_consolidate_again_changes_nothing(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    for n in range(3):
        table.commit(HERE, [row(str(n))])
    table.consolidate(HERE)
    before = files(tmp_path)
    table.consolidate(HERE)
    assert files(tmp_path) == before


def test_consolidation_of_an_empty_store_is_nothing(tmp_path: Path) -> None:
    open_table(tmp_path / "none").consolidate(HERE)
    assert files(tmp_path) == []


def test_consolidation_that_is_killed_before_it_removes_leaves_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = open_table(tmp_path)
    for n in range(3):
        table.commit(HERE, [row(str(n))])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Table, "_remove", killed)
    with pytest.raises(KeyboardInterrupt):
        table.consolidate(HERE)
    assert len(files(tmp_path)) == 4
    assert [row["id"] for row in rows_of(table)] == ["0", "1", "2"]


def test_a_reader_sees_every_row_once_while_others_commit_and_consolidate(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    committed: list[str] = []
    over = threading.Event()

    def write() -> None:
        for n in range(150):
            open_table(tmp_path).commit(HERE, [row(str(n))])
            committed.append(str(n))
        over.set()

    def consolidate() -> None:
        while not over.is_set():
            open_table(tmp_path).consolidate(HERE)

    with ThreadPoolExecutor() as pool:
        others = [pool.submit(write), pool.submit(consolidate), pool.submit(consolidate)]
        while not over.is_set():
            at_least = set(committed)
            ids = table.read(HERE, ["id"])["id"].to_pylist()
            assert len(ids) == len(set(ids))
            assert at_least <= set(ids)
        for other in others:
            other.result()
    assert len(rows_of(table)) == 150


def test_a_listing_that_misses_parts_in_the_midst_of_a_consolidation_does_not_count(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    for n in range(3):
        table.commit(HERE, [row(str(n))])

    class Scanned(LocalFileSystem):  # type: ignore[misc]
        """Its first listing begins before a consolidation and ends after it."""

        cachable = False
        begun = False

        def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
            if self.begun:
                return super().ls(path, detail=detail, **options)
            self.begun = True
            before = super().ls(path, detail=detail, **options)
            open_table(tmp_path).consolidate(HERE)
            return [info for info in before if Path(info["name"]).exists()]

    table.filesystem = Scanned()
    assert len(rows_of(table)) == 3


Step = list[tuple[str, int, bool]] | None
STEPS = st.lists(
    st.none() | st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3), st.booleans()), min_size=1, max_size=5),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_is_committed_and_consolidated_in_whatever_order_the_rule_decides_alone(steps: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        table = open_table(folder)
        committed: list[Row] = []
        for step in steps:
            if step is None:
                table.consolidate(HERE)
                continue
            rows = [row(id, at, f"{id} {at}", "failed" if failed else None) for id, at, failed in step]
            table.commit(HERE, rows)
            committed += rows
        ranked = sorted(committed, key=lambda row: (row["error"] is not None, row["at"]), reverse=True)
        assert rows_of(table) == sorted({row["id"]: row for row in ranked}.values(), key=lambda row: row["id"])


# --- any interleaving, any crash ------------------------------------------------------------------


class Killed(BaseException):
    """What a killed process does: nothing more."""


class Process(threading.Thread):
    """A process that does one thing to the store and stops before each of its steps until it is its turn."""

    def __init__(self, folder: Path, work: Callable[[Table], Any]) -> None:
        super().__init__(daemon=True)
        self.turn, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.killed = self.over = self.returned = False
        self.work, self.table = work, open_table(folder)
        for step in ("_find", "_create", "_remove"):
            setattr(self.table, step, self._stopping(getattr(self.table, step)))
        self.start()
        self.stopped.acquire()

    def _stopping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def stop_first(*arguments: Any) -> Any:
            self._wait()
            return step(*arguments)

        return stop_first

    def _wait(self) -> None:
        self.stopped.release()
        self.turn.acquire()
        if self.killed:
            raise Killed

    def run(self) -> None:
        try:
            self._wait()
            self.work(self.table)
            self.returned = True
        except Killed:
            pass
        finally:
            self.over = True
            self.stopped.release()

    def step(self, kill: bool = False) -> None:
        """Let it take its next step, or die before it."""
        if not self.over:
            self.killed = kill
            self.turn.release()
            self.stopped.acquire()


Batch = list[tuple[str, int, bool]]
BATCH = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.booleans()), min_size=1, max_size=3)
WORK = st.one_of(BATCH, st.just("consolidate"), st.just("tear"))


def rank(row: Row) -> tuple[bool, int]:
    return row["error"] is not None, row["at"]


def tear(table: Table) -> None:
    """Leave half of some part under another part's name."""
    for part in table.parts(HERE)[:1]:
        torn_part = Path(part.path).with_name(f"part-{random.Random(part.path).randbytes(16).hex()}.parquet")
        torn_part.write_bytes(Path(part.path).read_bytes()[: part.size // 2])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(WORK, min_size=2, max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([False] * 7 + [True])), max_size=60),
)
def test_whoever_does_what_in_whatever_order_and_dies_wherever_no_committed_row_is_lost_and_a_key_has_one(
    works: list[Batch | str], schedule: list[tuple[int, bool]]
) -> None:
    with TemporaryDirectory() as folder:
        reader = open_table(folder)
        reader.commit(HERE, [row("a", 9, "a 9")])
        written = {number: [row("a", 9, "a 9")] for number in [-1]}
        processes = []
        for number, work in enumerate(works):
            if isinstance(work, str):
                processes.append(
                    Process(Path(folder), lambda t, w=work: t.consolidate(HERE) if w[0] == "c" else tear(t))
                )
            else:
                rows = [row(id, at, f"{id} {at}", "failed" if failed else None) for id, at, failed in work]
                written[number] = rows
                processes.append(Process(Path(folder), lambda t, rows=rows: t.commit(HERE, rows)))

        def check() -> None:
            found = rows_of(reader)
            assert len(found) == len({r["id"] for r in found})
            assert all(any(r in rows for rows in written.values()) for r in found)
            durable = [r for n, rows in written.items() if n < 0 or processes[n].returned for r in rows]
            best = {id: min(map(rank, (r for r in durable if r["id"] == id))) for id in {r["id"] for r in durable}}
            assert all(any(r["id"] == id and rank(r) <= at for r in found) for id, at in best.items())

        for number, kill in schedule:
            processes[number % len(processes)].step(kill)
            check()
        for process in processes:
            while not process.over:
                process.step(kill=True)
        check()
        reader.consolidate(HERE)
        check()
