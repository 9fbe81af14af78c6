"""`pacore doctor` on real S3: what it finds, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.simulator import Simulator

if TYPE_CHECKING:
    from .conftest import S3

CHECKOUT = Path(__file__).parents[2]

Write = Callable[..., Path]


async def doctor(write: Write, s3: S3, store: str, code: int) -> dict[str, tuple[str, str]]:
    async with Simulator() as server:
        file = write(engine={"urls": [server.url]}, store=store)
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "flows.cli", "doctor", str(file), "--json"],
            cwd=CHECKOUT,
            env={**os.environ, "PREFECT_HOME": str(file.parent), **s3.environment},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == code, ended.stderr
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return {finding["what"]: (finding["state"], finding["said"]) for finding in found}


async def test_a_bucket_is_written_and_read_and_nothing_is_left(s3: S3, campaign_file: Write) -> None:
    bucket = s3.make_bucket()
    found = await doctor(campaign_file, s3, f"s3://{bucket}/store", 0)
    state, said = found[f"store s3://{bucket}/store"]
    assert (state, "a file is never written over" in said) == ("ok", True)
    assert found["clock of the store"] == ("ok", "agrees with this machine's")
    assert s3.filesystem().find(bucket) == []


async def test_a_bucket_that_is_not_there_fails_with_the_remedy(moto: S3, campaign_file: Write) -> None:
    found = await doctor(campaign_file, moto, "s3://pacore-no-such-bucket/store", 1)
    state, said = found["store s3://pacore-no-such-bucket/store"]
    assert (state, "make the bucket or folder, or correct `store`" in said) == ("fail", True)
