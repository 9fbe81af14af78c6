"""What the store relies on, checked on the real S3 servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest
import s3fs
from pyarrow.fs import FileSystem

if TYPE_CHECKING:
    from .conftest import S3

WRITERS = 16


@pytest.fixture
def bucket(s3: S3) -> str:
    return s3.make_bucket()


def create(s3: S3, path: str, data: bytes, start: Barrier | None = None) -> OSError | None:
    """Create an object that must not exist yet, from a client of its own; return the error of a lost race."""
    client = s3.filesystem()
    if start:
        client.ls(path.split("/")[0])  # connect first, so that the writes fall together
        start.wait()
    try:
        client.pipe_file(path, data, mode="create")
    except OSError as error:
        return error
    return None


def test_one_of_16_racing_creators_wins_and_its_bytes_stay(s3: S3, bucket: str) -> None:
    start = Barrier(WRITERS)
    with ThreadPoolExecutor(WRITERS) as threads:
        outcomes = list(
            threads.map(lambda writer: create(s3, f"{bucket}/part", b"writer %d" % writer, start), range(WRITERS))
        )
    winners = [writer for writer, error in enumerate(outcomes) if error is None]
    assert len(winners) == 1
    assert s3.filesystem().cat_file(f"{bucket}/part") == b"writer %d" % winners[0]


def test_a_second_create_is_refused_as_a_conflict(s3: S3, bucket: str) -> None:
    assert create(s3, f"{bucket}/part", b"first") is None
    error = create(s3, f"{bucket}/part", b"second")
    assert is_conflict(error), repr(error)
    assert s3.filesystem().cat_file(f"{bucket}/part") == b"first"


def test_every_loser_of_a_race_gets_a_conflict(s3: S3, bucket: str) -> None:
    start = Barrier(WRITERS)
    with ThreadPoolExecutor(WRITERS) as threads:
        outcomes = list(threads.map(lambda _: create(s3, f"{bucket}/part", b"x", start), range(WRITERS)))
    losers = [error for error in outcomes if error is not None]
    assert [error for error in losers if not is_conflict(error)] == []


def is_conflict(error: OSError | None) -> bool:
    """Whether S3's own answer, the error's cause, is that the object was there.

    Moto's makes s3fs raise FileExistsError, Ceph's `OSError(22)`: the cause is the same for both.
    """
    response = getattr(getattr(error, "__cause__", None), "response", {})
    return response.get("Error", {}).get("Code") == "PreconditionFailed"


def test_a_missing_bucket_is_no_conflict(s3: S3) -> None:
    error = create(s3, "pacore-no-such-bucket/part", b"x")
    assert error is not None
    assert not is_conflict(error)


def test_a_client_that_looked_before_sees_what_another_client_creates(s3: S3, bucket: str) -> None:
    reader = s3.filesystem()
    assert reader.find(f"{bucket}/parts") == []
    assert not reader.exists(f"{bucket}/parts/one")
    assert create(s3, f"{bucket}/parts/one", b"x") is None
    assert reader.find(f"{bucket}/parts") == [f"{bucket}/parts/one"]
    assert reader.exists(f"{bucket}/parts/one")


def test_the_environment_leads_s3fs_and_pyarrow_to_the_server(
    s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.use(monkeypatch)
    s3fs.S3FileSystem(skip_instance_cache=True).pipe_file(f"{bucket}/part", b"x" * 100)
    filesystem, path = FileSystem.from_uri(f"s3://{bucket}/part")  # `S3FileSystem()` does not read the endpoint
    with filesystem.open_input_file(path) as part:
        assert part.read() == b"x" * 100
