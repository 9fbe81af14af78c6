"""What the campaign costs beside the bare minimum, on the simulator: `make bench`.

Wall time: a whole `pacore run` over a bare asyncio loop that sends the same requests, each as soon as the ones whose
messages it quotes are done, and stores nothing. 64 slots, lognormal lengths (sigma 1), a Prefect server that is
running already, as on a night's machine. The two are run in turn, so a slow machine is slow for both.

Orchestration: CPU of the `pacore run` process by trajectory, its start and exit left out (a campaign of one trajectory
is measured for that); and its peak memory. The last line is one JSON object.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import yaml

from infra.openai_engine import OpenAIEngine, OpenAISettings
from infra.sampler import Sampler

SLOTS = 64
WALL_PROBLEMS = 60
SIZES = {1_000: 50, 5_000: 250, 20_000: 1_000}
"""Trajectories: problems. Each problem has a pool of 16 and takes [16] and [8, 2]: 16 + 1 + 3 calls."""
METHODS: list[Any] = ["medium", [8, 2]]
REPEATS = 3


def main() -> None:
    """Print both measurements, then the JSON line."""
    folder = Path(tempfile.mkdtemp(prefix="pacore-bench-"))
    try:
        with prefect_server(folder):
            ratios = [wall_ratio(folder / f"wall{n}") for n in range(REPEATS)]
            print(f"wall ratio: median {np.median(ratios):.3f} of {', '.join(f'{ratio:.3f}' for ratio in ratios)}")
            with simulator("--seconds-per-token", "0.0005", "--median-tokens", "64") as url:
                start = campaign(folder / "start", url, problems=1, pool=1, methods=["sequential@1"])
                cost = {size: campaign(folder / str(size), url, problems) for size, problems in SIZES.items()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    cpu = {size: 1000 * (used["cpu"] - start["cpu"]) / size for size, used in cost.items()}
    print(f"start and exit: {start['cpu']:.1f} CPU-s, {start['mb']:.0f} MB")
    for size, used in cost.items():
        print(
            f"{size:>6,} trajectories: {cpu[size]:.2f} CPU-ms each, peak {used['mb']:.0f} MB, {used['seconds']:.0f} s"
        )
    result = {
        "wall_ratio": round(float(np.median(ratios)), 3),
        "cpu_ms_per_trajectory": {str(size): round(ms, 2) for size, ms in cpu.items()},
        "peak_mb": {str(size): round(used["mb"]) for size, used in cost.items()},
    }
    print(json.dumps(result))


def wall_ratio(folder: Path) -> float:
    """One campaign and one bare loop over the same requests."""
    with simulator("--seconds-per-token", "0.012", "--median-tokens", "200", "--sigma", "1", "--keep-bodies") as url:
        ours = campaign(folder, url, WALL_PROBLEMS, methods=["low", "medium", [16, 4]])["seconds"]
        bodies = {body["seed"]: body["messages"] for body in control(url)["bodies"]}
        rows = duckdb.sql(
            f"select id, seed, \"references\" from read_parquet('{folder}/store/trajectories/**/*.parquet')"
        )
        requests = [(id, seed, bodies[seed], references) for id, seed, references in rows.fetchall()]
        bare = asyncio.run(bare_loop(url, requests))
    print(f"{len(requests):,} requests: campaign {ours:.1f} s, bare loop {bare:.1f} s")
    return float(ours / bare)


async def bare_loop(url: str, requests: list[tuple[str, int, Any, list[str]]]) -> float:
    """Seconds to send all requests, 64 at once, each after those it refers to."""
    engine = OpenAIEngine(OpenAISettings(urls=(url,), in_flight=SLOTS))
    sampler = Sampler(model="sim")
    done = {id: asyncio.Event() for id, *_ in requests}

    async def send(id: str, seed: int, chat: Any, references: list[str]) -> None:
        for reference in references:
            await done[reference].wait()
        await engine.complete(chat, sampler, seed)
        done[id].set()

    began = time.monotonic()
    await asyncio.gather(*(send(*request) for request in requests))
    seconds = time.monotonic() - began
    await engine.close()
    return seconds


def campaign(folder: Path, url: str, problems: int, pool: int = 16, methods: list[Any] = METHODS) -> dict[str, float]:
    """Seconds, CPU-seconds and peak MB of one `pacore run`."""
    folder.mkdir()
    rows = [{"id": str(n), "problem": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(problems)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = {
        "name": "bench",
        "benchmark": "problems.jsonl",
        "grader": "exact",
        "sampler": {"model": "sim"},
        "engine": {"urls": [url], "in_flight": SLOTS},
        "pool": pool,
        "methods": methods,
        "store": "store",
    }
    (folder / "campaign.yaml").write_text(yaml.safe_dump(file))
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", folder / "campaign.yaml"], stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the campaign in {folder} ended with status {os.waitstatus_to_exitcode(status)}")
    return {"seconds": time.monotonic() - began, "cpu": used.ru_utime + used.ru_stime, "mb": used.ru_maxrss / 1024}


@contextmanager
def simulator(*options: str) -> Iterator[str]:
    """A simulator of 64 slots in a process of its own; yields its URL."""
    command = [sys.executable, "-m", "tests.simulator", "--slots", str(SLOTS), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def prefect_server(folder: Path) -> Iterator[None]:
    """A Prefect server with a database of its own; PREFECT_API_URL names it inside the block."""
    from flows import EPHEMERAL_SERVER

    port = 4200 + os.getpid() % 1000
    os.environ |= {**EPHEMERAL_SERVER, "PREFECT_HOME": str(folder / "prefect")}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        try:
            wait_for(f"http://127.0.0.1:{port}/api/health")
            yield
        finally:
            del os.environ["PREFECT_API_URL"]
            process.terminate()


def wait_for(url: str, seconds: float = 90) -> None:
    """Return once a server answers."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.3)
    raise SystemExit(f"{url} does not answer")


def control(url: str) -> dict[str, Any]:
    """What the simulator received."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/control") as answer:
        seen: dict[str, Any] = json.load(answer)
        return seen


if __name__ == "__main__":
    main()
