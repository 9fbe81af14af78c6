"""Where files live: `s3://…`, a local folder, or whatever else fsspec can open."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import stamina
from botocore.exceptions import BotoCoreError, NoCredentialsError
from fsspec.implementations.local import LocalFileSystem

T = TypeVar("T")

FAULTS = (OSError, BotoCoreError, ValueError)
"""What a filesystem raises: botocore's own faults (no key, no connection) are no OSErrors, its bad URL a ValueError."""

IMPATIENT_SECONDS, PATIENT_SECONDS = 5.0, 600.0
"""How long a store that fails is tried again: where nothing is lost yet, and where finished work waits in memory."""

S3_OPTIONS = {"config_kwargs": {"connect_timeout": 3, "read_timeout": 60, "retries": {"total_max_attempts": 1}}}
"""botocore's own attempts are one: s3fs tries again, and so do we."""

LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR}


class StoreError(Exception):
    """The store can not be read or written. The text says what, where, and what to do."""


def open_filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of a URI and the path in it. Listings are never cached: other processes write too.

    Raises:
        StoreError: nothing here opens such a URI.
    """
    protocol = uri.split("://", 1)[0] if "://" in uri else "file"
    options: dict[str, Any] = {} if protocol == "file" else {"use_listings_cache": False, "skip_instance_cache": True}
    try:
        filesystem = fsspec.filesystem(protocol, **options, **(S3_OPTIONS if protocol == "s3" else {}))
    except (ValueError, ImportError) as error:
        raise StoreError(f"{uri}: {read_error(error)}; give s3://bucket/prefix or a local path") from error
    return filesystem, str(filesystem._strip_protocol(uri))


def create_file(filesystem: fsspec.AbstractFileSystem, path: str, data: bytes) -> None:
    """Write a new file whole or not at all, never over another.

    Raises:
        FileExistsError: a file of that name is there.
        OSError: the store refused.
    """
    if isinstance(filesystem, LocalFileSystem):
        _create_local(Path(path), data)
        return
    try:
        filesystem.pipe_file(path, data, mode="create", chunksize=1 << 30)
    except OSError as error:
        if "PreconditionFailed" in f"{error!r} {error.__cause__!r}" or getattr(error, "errno", None) == 17:
            raise FileExistsError(path) from error
        raise


def _create_local(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_error(error: BaseException) -> str:
    """What an error of a filesystem or of Parquet says, on one line."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
    text = error.strerror if isinstance(error, OSError) and error.strerror else code or str(error)
    return " ".join(text.split()) or type(error).__name__


def may_pass(error: Exception) -> bool:
    """Whether trying again may help: a full disk, a denied or absent place stay as they are."""
    if isinstance(error, OSError):
        return not isinstance(error, PermissionError | FileNotFoundError) and error.errno not in LASTING
    return isinstance(error, BotoCoreError) and not isinstance(error, NoCredentialsError)


def patiently(call: Callable[[], T], seconds: float) -> T:
    """Call until it succeeds, fails for good, or the time is over; then its last error is raised."""
    for attempt in stamina.retry_context(on=may_pass, attempts=None, timeout=seconds, wait_max=30.0):
        with attempt:
            return call()
    raise AssertionError("stamina returns or raises")


def refusal(verb: str, path: str, error: Exception) -> StoreError:
    """A `StoreError` that says what could not be done, where, why, and what to do."""
    why = "there is no such bucket or folder" if isinstance(error, FileNotFoundError) else read_error(error)
    return StoreError(f"store: can not {verb} {path}: {why}; {_remedy(error)}")


def _remedy(error: Exception) -> str:
    if isinstance(error, NoCredentialsError):
        return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, then run the campaign again: what was committed is kept"
    if isinstance(error, PermissionError):
        return "give these credentials the right to list, read and write there, or correct them"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "make the bucket or folder, or correct `store` in the campaign file"
    return "see to the store, then run the campaign again: what was committed is kept"
