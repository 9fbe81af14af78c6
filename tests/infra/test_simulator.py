"""The simulator behaves as the tests and benchmarks that stand on it assume."""

import asyncio
import json
import sys
import time
from typing import Any

import aiohttp

from tests.simulator import Fault, Simulator


async def ask(server: Simulator, seed: int = 0, **fields: Any) -> tuple[int, str]:
    """Status and body of one chat request."""
    chat = [{"role": "user", "content": "What is 2 + 2?"}]
    body = {"model": "sim", "messages": chat, "seed": seed, **fields}
    address = f"{server.url}/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(address, json=body) as response:
        return response.status, await response.text()


async def answer(server: Simulator, seed: int = 0, **fields: Any) -> dict[str, Any]:
    """The choice of one request that is not streamed."""
    status, text = await ask(server, seed, **fields)
    assert status == 200
    choice: dict[str, Any] = json.loads(text)["choices"][0]
    return choice


async def get(server: Simulator, path: str) -> str:
    root = server.url.removesuffix("/v1")
    async with aiohttp.ClientSession() as session, session.get(root + path) as response:
        return await response.text()


async def test_the_same_request_has_the_same_text_on_every_server() -> None:
    async with Simulator(sigma=1) as one, Simulator(sigma=1) as two:
        texts = [await answer(one, 1), await answer(two, 1), await answer(one, 2)]
    assert texts[0] == texts[1] != texts[2]


async def test_streamed_and_whole_answers_are_the_same() -> None:
    async with Simulator() as server:
        whole = (await answer(server))["message"]
        _, text = await ask(server, stream=True)
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert "".join(d.get("reasoning", "") for d in deltas) == whole["reasoning"]
    assert "".join(d.get("content", "") for d in deltas) == whole["content"]
    assert events[-1]["usage"]["completion_tokens"] == 64
    assert text.endswith("data: [DONE]\n\n")


async def test_lengths_have_a_heavy_tail_around_the_median() -> None:
    async with Simulator(median_tokens=100, sigma=1) as server:
        sizes = sorted([len((await answer(server, seed))["message"]["reasoning"]) for seed in range(200)])
    assert 0.75 < sizes[100] / (90 * 5) < 1.33
    assert sizes[-1] > 5 * sizes[100]


async def test_max_tokens_cuts_and_an_unfinished_thought_has_no_content() -> None:
    async with Simulator() as server:
        cut = await answer(server, max_tokens=10)
    assert cut["finish_reason"] == "length"
    assert cut["message"]["content"] is None


async def test_requests_past_the_slots_wait_and_past_the_queue_are_refused() -> None:
    async with Simulator(slots=2, max_queued=1, first_token_seconds=0.2) as server:
        began = time.monotonic()
        statuses = [status for status, _ in await asyncio.gather(*(ask(server, seed) for seed in range(4)))]
        assert sorted(statuses) == [200, 200, 200, 503]
        assert server.seen["peak_running"] == 2
        assert time.monotonic() - began > 0.4


async def test_latency_is_that_of_the_tokens_and_not_of_the_chunks() -> None:
    for chunk in (1, 64):
        async with Simulator(median_tokens=64, seconds_per_token=0.005, tokens_per_chunk=chunk) as server:
            began = time.monotonic()
            await ask(server, stream=True)
            assert 0.3 < time.monotonic() - began < 0.7


async def test_errors_look_like_those_of_vllm() -> None:
    async with Simulator(window=30, api_key="k") as server:
        assert (await ask(server))[0] == 401
    async with Simulator(window=30) as server:
        status, text = await ask(server, max_tokens=25)
        assert (status, json.loads(text)["error"]["param"]) == (400, "max_tokens")
        status, text = await ask(server, messages=[{"role": "user", "content": "x" * 200}])
        assert (status, json.loads(text)["error"]["param"]) == (400, "input_tokens")
        assert (await ask(server, model="other"))[0] == 404


async def test_the_nth_request_fails_and_the_rest_do_not() -> None:
    async with Simulator(faults=[Fault("500", nth=(2,))]) as server:
        assert [(await ask(server))[0] for _ in range(3)] == [200, 500, 200]


async def test_a_share_of_requests_fails() -> None:
    async with Simulator(fault=["503=0.2"]) as server:
        statuses = [(await ask(server))[0] for _ in range(100)]
    assert 8 < statuses.count(503) < 35


async def test_faults_and_counts_are_set_over_the_control_endpoint() -> None:
    async with Simulator(keep_bodies=True) as server:
        await ask(server, 7)
        assert json.loads(await get(server, "/control"))["bodies"][0]["seed"] == 7
        order = {"faults": [{"kind": "503", "nth": [1]}], "reset": True}
        async with aiohttp.ClientSession() as session:
            await session.post(server.url.replace("/v1", "/control"), json=order)
        assert (await ask(server))[0] == 503
        assert json.loads(await get(server, "/control"))["received"] == 1


async def test_the_metrics_have_the_names_of_vllm() -> None:
    async with Simulator() as server:
        await ask(server)
        metrics = await get(server, "/metrics")
    assert 'vllm:generation_tokens_total{engine="0",model_name="sim"} 64' in metrics
    assert "vllm:num_requests_waiting" in metrics


async def test_thousands_are_carried_at_once() -> None:
    async with Simulator(slots=2000, first_token_seconds=2, keep_bodies=False) as server:
        chat = [{"role": "user", "content": "x"}]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one(seed: int) -> int:
                body = {"model": "sim", "messages": chat, "seed": seed, "stream": True}
                async with session.post(f"{server.url}/chat/completions", json=body) as response:
                    return len(await response.read())

            assert all(await asyncio.gather(*(one(seed) for seed in range(2000))))
        assert server.seen["peak_running"] > 1500
        assert server.seen["finished"] == 2000


async def test_it_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "tests.simulator", "--slots", "3", "--median-tokens", "20"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    url = (await process.stdout.readline()).decode().strip()
    server = Simulator(port=int(url.split(":")[2].removesuffix("/v1")))
    assert (await answer(server))["finish_reason"] == "stop"
    process.kill()
    await process.wait()
