"""What `pacore serve` adds to an answer, on the simulator: `python -m tests.benchmarks.serving`.

8 and 64 clients at once, method low, 64 slots: the engine has places to spare, then too few. Beside it the bare engine:
the same five requests an answer, four and then one, with no server between and no prompts written. The two take turns;
latencies are of whole answers.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import product
from pathlib import Path

import numpy as np
import openai
import yaml

from infra.openai_engine import OpenAIEngine, OpenAISettings
from infra.sampler import Sampler
from tests.benchmarks.bench import SLOTS, simulator

CLIENTS, REPEATS = (8, 64), 3
CHAT = [{"role": "user", "content": "What is 1 + 1?"}]


def main() -> None:
    """Print p50 and p95 of both."""
    with (
        simulator("--seconds-per-token", "0.005", "--median-tokens", "200") as url,
        tempfile.TemporaryDirectory() as folder,
    ):
        file = Path(folder, "serve.yaml")
        engine = {"urls": [url], "in_flight": SLOTS}
        file.write_text(yaml.safe_dump({"sampler": {"model": "sim"}, "engine": engine, "method": "low"}))
        command = [sys.executable, "-m", "flows.cli", "serve", str(file), "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            try:
                served = process.stderr.readline().split(" on ")[1].split(";")[0].strip()
                asyncio.run(measure(url, served))
            finally:
                process.terminate()


async def measure(url: str, served: str) -> None:
    """Ask both in turn."""
    client = openai.AsyncOpenAI(base_url=served, api_key="none")
    bare = OpenAIEngine(OpenAISettings(urls=(url,), in_flight=SLOTS))

    async def serve(seed: int) -> None:
        await client.chat.completions.create(model="sim-low", messages=CHAT, seed=seed)  # type: ignore[arg-type]

    async def alone(seed: int) -> None:
        sampler = Sampler(model="sim")
        await asyncio.gather(*(bare.complete(CHAT, sampler, 5 * seed + k) for k in range(4)))
        await bare.complete(CHAT, sampler, 5 * seed + 4)

    for clients, (name, ask) in product(CLIENTS, [("bare engine", alone), ("pacore serve", serve)] * REPEATS):
        p50, p95 = np.percentile(await latencies(ask, clients), [50, 95])
        print(f"{clients:>2} clients, {name:>12}: p50 {p50:.2f} s, p95 {p95:.2f} s", flush=True)
    await bare.close()
    await client.close()


async def latencies(ask: Callable[[int], Awaitable[None]], clients: int) -> list[float]:
    """Seconds to each of as many answers as there are clients, asked at once."""

    async def timed(seed: int) -> float:
        began = time.monotonic()
        await ask(seed)
        return time.monotonic() - began

    return await asyncio.gather(*map(timed, range(clients)))


if __name__ == "__main__":
    main()
