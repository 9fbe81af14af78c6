"""What a user sees when S3 says no: one line that says what, where and the remedy; and it goes on once S3 says yes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.simulator import Simulator

if TYPE_CHECKING:
    from .conftest import S3

CHECKOUT = Path(__file__).parents[2]

Write = Callable[..., Path]


def run(file: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`pacore run` as a user runs it; an empty variable counts as absent."""
    every = {**os.environ, "AWS_EC2_METADATA_DISABLED": "true", "PREFECT_HOME": str(file.parent), **environment}
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", str(file)],
        cwd=CHECKOUT,
        env={name: value for name, value in every.items() if value},
        capture_output=True,
        text=True,
        check=False,
    )


def complaint(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a run that did not start."""
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    return line


def test_a_bucket_that_is_not_there(s3: S3, campaign_file: Write) -> None:
    bucket = f"pacore-{uuid4().hex[:12]}"
    line = complaint(run(campaign_file(store=f"s3://{bucket}/store"), s3.environment))
    assert line.startswith(f"pacore: store: can not write {bucket}/store/")
    assert line.endswith(
        ": there is no such bucket or folder; make the bucket or folder, or correct `store` in the campaign file"
    )
    assert not s3.filesystem().exists(bucket)


def test_credentials_that_are_missing(s3: S3, campaign_file: Write) -> None:
    nobody = {**s3.environment, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": "/nonexistent"}
    line = complaint(run(campaign_file(store=f"s3://{s3.make_bucket()}/store"), nobody))
    assert line.startswith("pacore: store: can not list pacore-")
    assert line.endswith(
        ": Unable to locate credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )


async def test_a_bucket_that_the_credentials_do_not_open(ceph: S3, campaign_file: Write) -> None:
    bucket = ceph.make_bucket()
    async with Simulator() as server:
        file = campaign_file(store=f"s3://{bucket}/store", engine={"urls": [server.url]})
        line = complaint(await in_thread(file, {**ceph.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}))
        assert line.startswith(f"pacore: store: can not list {bucket}/store/")
        assert line.endswith(
            ": SignatureDoesNotMatch; give these credentials the right to list, read and write there, or correct them"
        )
        assert "wrong" not in line

        ended = await in_thread(file, ceph.environment)
        assert (ended.returncode, ended.stderr) == (0, "")
    assert server.seen["received"] == 2 * (4 + 1)


async def in_thread(file: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(run, file, environment)
