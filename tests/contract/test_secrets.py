"""Planted keys are found nowhere: not in the store, not in Prefect's database, not in any log, not on the terminal."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from tests.simulator import Fault, Simulator

if TYPE_CHECKING:
    from .conftest import S3

CHECKOUT = Path(__file__).parents[2]
ENGINE_KEY = "planted-engine-key-0451"
LOG_EVERYTHING = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, filename=sys.argv.pop(1))
for name in ("pacore", "infra", "httpx", "openai", "botocore", "s3fs", "aiohttp", "prefect"):
    logging.getLogger(name).setLevel(logging.DEBUG)
from flows.cli import main
main()
"""

Write = Callable[..., Path]


async def test_planted_keys_are_found_nowhere(moto: S3, campaign_file: Write, tmp_path: Path) -> None:
    bucket = moto.make_bucket()
    home, log = tmp_path / "prefect", tmp_path / "debug.log"
    faults = [Fault("400", nth=(4, 9)), Fault("500", nth=(2, 3, 6)), Fault("503", nth=(12,))]
    async with Simulator(api_key=ENGINE_KEY, echoes_key=True, faults=faults) as server:
        engine = {"urls": [server.url], "tries": 1, "patience_seconds": 60}
        file = campaign_file(engine=engine, store=f"s3://{bucket}/store")
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", LOG_EVERYTHING, str(log), "run", str(file)],
            cwd=CHECKOUT,
            env={
                **os.environ,
                **moto.environment,
                "PACORE_API_KEY": ENGINE_KEY,
                "PREFECT_HOME": str(home),
                "PREFECT_LOGGING_LEVEL": "DEBUG",
                "PREFECT_LOGGING_TO_API_ENABLED": "true",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 1, ended.stderr
    assert "incomplete" in ended.stderr
    filesystem = moto.filesystem()
    said = b"".join(filesystem.cat_file(path) for path in filesystem.find(bucket))
    files = files_below(tmp_path)
    assert b"injected fault: Bearer ***" in decompressed(filesystem, bucket)
    database = b"".join(path.read_bytes() for path in files if path.name.startswith("prefect.db"))
    assert b"incomplete (pool round 1" in database
    assert log.stat().st_size > 10_000
    for secret in (ENGINE_KEY, moto.secret):
        assert secret.encode() not in said + decompressed(filesystem, bucket)
        assert secret not in ended.stdout + ended.stderr
        assert [path for path in files if secret.encode() in path.read_bytes()] == []


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def decompressed(filesystem: object, bucket: str) -> bytes:
    """All rows of all tables, as text."""
    paths = [path for path in filesystem.find(bucket) if path.endswith(".parquet")]  # type: ignore[attr-defined]
    assert paths
    return b"".join(
        repr(pq.ParquetFile(filesystem.open(path)).read().to_pylist()).encode()  # type: ignore[attr-defined]
        for path in paths
    )
