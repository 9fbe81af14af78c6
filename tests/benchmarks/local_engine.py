"""Tokens a second of the local engine, beside vLLM on the CPU serving the same folder.

    python -m tests.benchmarks.local_engine [MODEL_FOLDER] [--without-vllm]

`short` is a countdown problem of about 60 tokens, `synthesis` the paper's prompt with references, about 600; 16
requests share each prompt. The two engines are measured in turn, so a slow machine is slow for both, and each is asked
through its own engine here, HTTP included. The last line is one JSON object.
"""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.engine import Chat, Engine
from infra.local.engine import SHIPPED, LocalEngine, LocalSettings
from infra.openai_engine import OpenAIEngine, OpenAISettings
from infra.sampler import Sampler

SERVE = Path(__file__).parents[1] / "contract/serve_vllm.sh"
IN_FLIGHT = (1, 16, 64, 256)
SHARING = 16
REPEATS = 3
SAMPLER = Sampler(model="model", max_tokens=160)
REFERENCES = 32


def main() -> None:
    """Print a table, then the JSON line."""
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("--")]
    folder = folders[0] if folders else SHIPPED
    if "--without-vllm" in sys.argv:
        asyncio.run(compare(folder, None))
    else:
        with vllm(folder) as url:
            asyncio.run(compare(folder, url))


async def compare(folder: Path, url: str | None) -> None:
    """Measure each engine at each number in flight, with each kind of prompt."""
    results: dict[str, dict[str, float]] = {}
    for kind in ("short", "synthesis"):
        for in_flight in IN_FLIGHT:
            rates: dict[str, list[float]] = {}
            for turn in range(REPEATS):
                local: Engine = LocalEngine(LocalSettings(model=folder, in_flight=in_flight))
                engines = {"local": local}
                if url:
                    engines["vllm"] = OpenAIEngine(OpenAISettings(urls=(url,), in_flight=in_flight))
                for name, engine in engines.items():
                    rates.setdefault(name, []).append(await rate(engine, kind, in_flight, turn))
                    await engine.close()
            found = {name: round(sorted(each)[len(each) // 2]) for name, each in rates.items()}
            results[f"{kind}@{in_flight}"] = found
            spread = {name: f"{min(each):,.0f}-{max(each):,.0f}" for name, each in rates.items()}
            print(f"{kind:<10}{in_flight:>4} in flight, tokens/s: {found} of {spread}", flush=True)
    print(json.dumps(results))


async def rate(engine: Engine, kind: str, in_flight: int, turn: int) -> float:
    """Tokens a second over twice as many requests as are in flight."""
    count = max(2 * in_flight, 8)
    chats = [question(kind, f"{kind}/{in_flight}/{turn}/{number // SHARING}") for number in range(count)]
    await engine.complete(question("short", "warm"), SAMPLER, seed=0)
    began = time.monotonic()
    done = await asyncio.gather(*(engine.complete(chat, SAMPLER, seed) for seed, chat in enumerate(chats)))
    return sum(answer.completion_tokens for answer in done) / (time.monotonic() - began)


def question(kind: str, name: str) -> Chat:
    """A prompt that no other name has."""
    chooser = random.Random(name)
    a, b, c, target = (chooser.randint(2, 99) for _ in range(4))
    asked = f"Reach {target} from the numbers {a}, {b} and {c} with + - * /. Use each number once; show the tries, "
    asked += "then the answer. Answer: "
    if kind == "synthesis":
        tries = (f"Tried: {x}={a}+{b}-{c}. Answer: {x}" for x in (chooser.randint(0, 99) for _ in range(REFERENCES)))
        asked += "\n".join(f"Reference {number}:\n{text}" for number, text in enumerate(tries, 1))
    return [{"role": "user", "content": asked}]


@contextmanager
def vllm(folder: Path) -> Iterator[str]:
    """A vLLM server of the folder, with room for as many sequences as are measured."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [SERVE, folder, port, SAMPLER.model, "--max-num-seqs", max(IN_FLIGHT)]
    server = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 240
        while server.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            time.sleep(0.5)
        else:
            raise SystemExit(f"vLLM did not start: try {SERVE} {folder} {port}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
