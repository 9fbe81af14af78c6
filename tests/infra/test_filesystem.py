import errno
import multiprocessing
from pathlib import Path

import pytest

from infra.filesystem import create_file, open_filesystem, read_error, refusal


def test_a_path_and_a_uri_of_one_folder_are_the_same_place(tmp_path: Path) -> None:
    assert open_filesystem(str(tmp_path))[1] == open_filesystem(tmp_path.as_uri())[1] == str(tmp_path)


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_file_is_created_with_its_folders_and_never_written_over(tmp_path: Path, scheme: str) -> None:
    filesystem, place = open_filesystem(f"{scheme}://{tmp_path}/a/b/part")
    create_file(filesystem, place, b"first")
    with pytest.raises(FileExistsError):
        create_file(filesystem, place, b"second")
    assert filesystem.cat_file(place) == b"first"


def test_what_another_process_wrote_is_seen_at_once(tmp_path: Path) -> None:
    filesystem, root = open_filesystem(str(tmp_path))
    assert filesystem.ls(root) == []
    (tmp_path / "new").write_bytes(b"x")
    assert filesystem.ls(root) == [f"{root}/new"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    filesystem, place = open_filesystem(str(tmp_path / "part"))
    with pytest.raises(OSError, match="No space left"):
        create_file(filesystem, place, b"x")
    assert list(tmp_path.iterdir()) == []


def _race(place: str, text: str) -> bool:
    filesystem, path = open_filesystem(place)
    try:
        create_file(filesystem, path, text.encode() * 100_000)
    except FileExistsError:
        return False
    return True


def test_of_many_writers_of_one_name_exactly_one_wins_and_its_file_is_whole(tmp_path: Path) -> None:
    place = str(tmp_path / "part")
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        won = pool.starmap(_race, [(place, str(n)) for n in range(8)])
    assert won.count(True) == 1
    assert Path(place).read_text() == str(won.index(True)) * 100_000


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ["No space left on device", "free some space"]),
        (PermissionError(errno.EACCES, "Access Denied"), ["Access Denied", "the right to list, read and write"]),
        (FileNotFoundError("s3://bucket"), ["no such bucket or folder", "make the bucket or folder"]),
        (OSError("first\nsecond"), ["first second", "run the campaign again: what was committed is kept"]),
    ],
)
def test_a_refusal_says_on_one_line_what_where_why_and_what_to_do(error: OSError, said: list[str]) -> None:
    text = str(refusal("write", "s3://bucket/part", error))
    assert all(part in text for part in ["can not write s3://bucket/part", *said])
    assert "\n" not in text


def test_an_error_without_words_is_told_by_its_kind() -> None:
    assert read_error(ValueError()) == "ValueError"
