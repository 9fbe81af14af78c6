"""`pacore serve`, asked by the real OpenAI client; the engine is the simulator."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import openai
import pyarrow.dataset as ds
import pytest
import uvicorn
import yaml

from flows.serve.app import make_app
from flows.serve.server import listen
from tasks.campaign.prompt import PromptTemplate
from tasks.serving.answer import open_answerer
from tasks.serving.serving_file import load_serving
from tests.flows.conftest import Ended, Simulate
from tests.simulator import Fault, Simulator

QUESTION: list[Any] = [{"role": "user", "content": "What is 1 + 1?"}]
TEMPLATE = PromptTemplate((Path(__file__).parents[2] / "tasks/campaign/synthesis.jinja").read_text(encoding="utf-8"))
Answers = Callable[..., "Served"]


class Served:
    """A server beside the test, and its simulator."""

    def __init__(self, url: str, engine: Simulator, key: str | None) -> None:
        self.root, self.engine, self.key = url, engine, key

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.root}/v1", api_key=self.key or "none", max_retries=0)

    @property
    def async_client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.root}/v1", api_key=self.key or "none", max_retries=0)

    def ask(self, messages: list[Any] = QUESTION, **options: Any) -> Any:
        return self.client.chat.completions.create(model="sim-low", messages=messages, **options)

    def refused(self, messages: list[Any] = QUESTION, **options: Any) -> openai.APIStatusError:
        with pytest.raises(openai.APIStatusError) as refusal:
            self.ask(messages, **options)
        return refusal.value

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.root + path) as answer:
            return str(answer.read().decode())


def write(folder: Path, url: str, **keys: Any) -> Path:
    file = folder / "serve.yaml"
    engine = {"urls": [url], "tries": 1}
    file.write_text(yaml.safe_dump({"sampler": {"model": "sim"}, "engine": engine, "method": "low", **keys}))
    return file


@contextmanager
def beside(file: Path, key: str | None) -> Iterator[str]:
    """The application in a thread of its own; yields its URL."""
    serving, loop = load_serving(file), asyncio.new_event_loop()
    with listen("127.0.0.1", 0) as listener:
        server: list[uvicorn.Server] = []

        async def run() -> None:
            async with open_answerer(serving) as answerer:
                config = uvicorn.Config(make_app(answerer, key), log_level="warning", lifespan="off")
                server.append(uvicorn.Server(config))
                await server[0].serve(sockets=[listener])

        thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            until(lambda: bool(server) and server[0].started)
            yield url
        finally:
            server[0].should_exit = True
            thread.join()
            loop.close()


@pytest.fixture
def served(simulate: Simulate, tmp_path: Path) -> Iterator[Answers]:
    """Serve over a simulator with these options; `keys` go into the file."""
    with ExitStack() as stack:

        def start(keys: dict[str, Any] | None = None, key: str | None = None, **options: Any) -> Served:
            engine = stack.enter_context(simulate(**{"keep_bodies": True, **options}))
            file = write(tmp_path, engine.url, **(keys or {}))
            server: AbstractContextManager[str] = beside(file, key)
            return Served(stack.enter_context(server), engine, key)

        yield start


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# --- an answer --------------------------------------------------------------------------------------


def test_an_answer_is_the_last_trajectorys_message_after_all_rounds(served: Answers) -> None:
    here = served()
    reply = here.ask(seed=7)
    first, last = here.engine.bodies[:4], here.engine.bodies[4]
    assert [body["messages"] for body in first] == [QUESTION] * 4
    assert len({body["seed"] for body in here.engine.bodies}) == 5
    assert last["messages"][0]["content"].count("Reference ") >= 4
    assert "What is 1 + 1?" in last["messages"][0]["content"]
    (choice,) = reply.choices
    assert "boxed" in choice.message.content
    assert choice.finish_reason == "stop"
    assert reply.model == "sim-low"


def test_usage_counts_all_trajectories(served: Answers) -> None:
    here = served()
    usage = here.ask(n=2).usage
    assert usage.completion_tokens == here.engine.seen["tokens"] == 10 * 64
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    details = usage.completion_tokens_details.model_dump()
    assert (details["trajectories"], details["last_trajectory_tokens"]) == (10, 128)
    assert details["last_trajectory_tokens"] < details["reasoning_tokens"] < usage.completion_tokens


def test_a_seed_repeats_an_answer_and_another_seed_another(served: Answers) -> None:
    here = served()
    texts = [here.ask(seed=seed).choices[0].message.content for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]
    assert here.ask().choices[0].message.content != here.ask().choices[0].message.content


def test_n_answers_are_those_of_n_seeds(served: Answers) -> None:
    here = served()
    together = [choice.message.content for choice in here.ask(n=3, seed=5).choices]
    assert together == [here.ask(seed=seed).choices[0].message.content for seed in (5, 6, 7)]


def test_any_seed_is_understood(served: Answers) -> None:
    here = served()
    for seed in (-1, 2**63 - 1):
        assert here.ask(seed=seed).choices[0].message.content


def test_a_stream_shows_the_rounds_then_the_answer(served: Answers) -> None:
    here = served()
    whole = here.ask(seed=3)
    parts = list(here.ask(seed=3, stream=True, stream_options={"include_usage": True}))
    *chunks, last = parts
    deltas = [chunk.choices[0].delta for chunk in chunks]
    reasoning = [delta.reasoning for delta in deltas if getattr(delta, "reasoning", None)]
    assert [line.split(":")[0] for line in reasoning] == ["round 1 of 2"] * 4 + ["round 2 of 2"]
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.usage == whole.usage
    assert {chunk.id for chunk in parts} == {parts[0].id}


def test_a_stream_without_the_option_has_no_usage(served: Answers) -> None:
    parts = list(served().ask(stream=True, n=2))
    assert all(part.usage is None for part in parts)
    assert {part.choices[0].index for part in parts} == {0, 1}


def test_sampling_options_shape_every_trajectory_and_absent_ones_are_the_files(served: Answers) -> None:
    here = served({"sampler": {"model": "sim", "temperature": 0.5, "top_p": 0.9, "max_tokens": 40}})
    reply = here.ask(temperature=0.7, max_completion_tokens=30)
    asked = [(body["temperature"], body["top_p"], body["max_tokens"]) for body in here.engine.bodies]
    assert asked == [(0.7, 0.9, 30)] * 5
    assert reply.choices[0].finish_reason == "length"
    here.ask(max_tokens=4000)
    assert here.engine.bodies[-1]["max_tokens"] == 40


def test_stop_cuts_the_answer_and_not_the_thinking(served: Answers) -> None:
    here = served()
    (choice,) = here.ask(seed=1, stop="boxed").choices
    assert choice.message.content + "boxed" in here.ask(seed=1).choices[0].message.content
    assert all("stop" not in body for body in here.engine.bodies)


# --- conversations ----------------------------------------------------------------------------------


def test_only_the_last_turn_is_rewritten_and_earlier_ones_stay(served: Answers) -> None:
    here = served()
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    chat = [
        {"role": "system", "content": "Be brief."},
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "2"}]},
    ]
    here.ask(chat)
    first, last = here.engine.bodies[0]["messages"], here.engine.bodies[-1]["messages"]
    assert [turn["content"] for turn in first] == ["Be brief.", "What is 1 + 1?", "", "2"]
    assert first[2]["tool_calls"] == [call]
    assert last[:3] == first[:3]
    assert (last[3]["role"], last[3]["tool_call_id"]) == ("tool", "c1")
    assert "Reference 4" in last[3]["content"]


def test_what_a_client_echoes_of_an_answer_is_sent_on_as_text(served: Answers) -> None:
    here = served()
    answer = here.ask().choices[0].message.model_dump()
    here.ask([*QUESTION, answer, {"role": "user", "content": "Sure?"}])
    assert here.engine.bodies[-2]["messages"][1] == {"role": "assistant", "content": answer["content"]}


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"extra_body": {"no_such": 1}}, "no_such"),
        ({"n": 0}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 200_000}, "max_tokens"),
        ({"messages": [*QUESTION, {"role": "assistant", "content": "2"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
        ({"messages": []}, "messages"),
    ],
)
def test_what_can_not_be_honoured_is_refused_by_name(served: Answers, options: dict[str, Any], param: str) -> None:
    here = served()
    refusal = here.refused(**options)
    assert (refusal.status_code, refusal.param) == (400, param)
    assert here.engine.seen["received"] == 0


def test_what_changes_nothing_is_accepted(served: Answers) -> None:
    nothing = {"logprobs": False, "tools": [], "presence_penalty": 0, "user": "u", "response_format": {"type": "text"}}
    assert served().ask(**nothing).choices


def test_a_model_that_is_not_served_is_not_found(served: Answers) -> None:
    with pytest.raises(openai.NotFoundError, match="sim-low"):
        served().client.chat.completions.create(model="gpt", messages=QUESTION)


def test_a_prompt_that_does_not_fit_says_so(served: Answers) -> None:
    refusal = served(window=1000).refused([{"role": "user", "content": "x" * 8000}])
    assert (refusal.status_code, refusal.code) == (400, "context_length_exceeded")
    assert "750 are allowed" in refusal.message


def test_a_later_prompt_that_does_not_fit_says_so_too(served: Answers) -> None:
    here = served({"sampler": {"model": "sim", "max_tokens": 120}}, window=400, reasoning="none", median_tokens=120)
    refusal = here.refused()
    assert (refusal.status_code, refusal.code) == (400, "context_length_exceeded")
    assert "280 are allowed" in refusal.message
    assert here.engine.seen["finished"] == 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "status"), [("503", 503), ("500", 502), ("400", 400)])
def test_an_engines_error_is_one_clear_message(served: Answers, fault: str, status: int, stream: bool) -> None:
    here = served(faults=[Fault(fault, nth=(2,))])
    if stream:
        with pytest.raises(openai.APIError, match="injected fault"):
            list(here.ask(stream=True))
    else:
        refusal = here.refused()
        assert refusal.status_code == status
        assert "injected fault" in refusal.message


def test_a_quorum_allows_for_trajectories_that_fail(served: Answers) -> None:
    here = served({"quorum": 0.5}, faults=[Fault("500", nth=(2,))])
    assert here.ask().usage.completion_tokens_details.model_dump()["trajectories"] == 4


# --- limits and keys --------------------------------------------------------------------------------


def test_a_key_is_asked_for_where_there_is_one(served: Answers) -> None:
    here = served(key="secret")
    assert here.ask().choices
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{here.root}/v1", api_key="other", max_retries=0).models.list()
    assert json.loads(here.get("/health")) == {"status": "ok"}
    assert "pacore_requests_total" in here.get("/metrics")


def test_a_body_that_is_too_long_is_refused(served: Answers) -> None:
    refusal = served({"limits": {"body_bytes": 1000}}).refused([{"role": "user", "content": "x" * 1000}])
    assert refusal.status_code == 413


def test_more_requests_than_allowed_are_told_to_come_again(served: Answers) -> None:
    here = served({"limits": {"requests": 1}}, first_token_seconds=0.5)
    thread = threading.Thread(target=here.ask)
    thread.start()
    until(lambda: here.engine.seen["running"] > 0)
    refusal = here.refused()
    thread.join()
    assert refusal.status_code == 429
    assert int(refusal.response.headers["Retry-After"]) > 0
    assert here.ask().choices


def test_the_model_and_what_was_done_can_be_asked_for(served: Answers) -> None:
    here = served()
    here.ask()
    (card,) = here.client.models.list().data
    assert (card.id, card.model_dump()["max_model_len"]) == ("sim-low", 131_072)
    metrics = here.get("/metrics")
    assert 'pacore_requests_total{status="200"} 1.0' in metrics
    assert 'pacore_trajectories_total{round="1"} 4.0' in metrics
    assert f'pacore_tokens_total{{kind="completion"}} {here.engine.seen["tokens"]:.1f}' in metrics


# --- clients that go, servers that end --------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_aborts_everything_upstream_within_a_second(served: Answers, stream: bool) -> None:
    here = served(first_token_seconds=60)
    body = json.dumps({"model": "sim-low", "messages": QUESTION, "stream": stream}).encode()
    host, port = here.root.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        until(lambda: here.engine.seen["running"] == 4)
    until(lambda: here.engine.seen["aborted"] == 4, seconds=1)
    assert here.engine.seen["running"] == 0
    until(lambda: "pacore_requests_running 0.0" in here.get("/metrics"))
    assert 'pacore_requests_total{status="499"} 1.0' in here.get("/metrics")


async def test_sixty_four_clients_at_once_get_an_answer_each(served: Answers) -> None:
    here = served(seconds_per_token=0.0005)
    async with here.async_client as client:
        asked = [client.chat.completions.create(model="sim-low", messages=QUESTION, seed=seed) for seed in range(64)]
        replies = await asyncio.gather(*asked)
    assert len({reply.choices[0].message.content for reply in replies}) > 32
    assert here.engine.seen["finished"] == 320


@contextmanager
def process(file: Path, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "flows.cli", "serve", str(file), "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}) as running:
        assert running.stderr
        try:
            line = running.stderr.readline()
            yield running, line.split(" on ")[1].split("/v1")[0]
        finally:
            running.kill()


def test_sigterm_lets_answers_end_and_takes_no_new_ones(simulate: Simulate, tmp_path: Path) -> None:
    with simulate(first_token_seconds=0.7) as engine, process(write(tmp_path, engine.url)) as (server, url):
        here, replies = Served(url, engine, None), list[Any]()
        thread = threading.Thread(target=lambda: replies.append(here.ask()))
        thread.start()
        until(lambda: engine.seen["running"] == 4)
        server.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(openai.APIConnectionError):
            here.ask()
        thread.join()
        assert server.wait(10) == 0
        assert replies[0].choices[0].message.content


def test_what_outlasts_the_grace_period_is_aborted(simulate: Simulate, tmp_path: Path) -> None:
    with simulate(first_token_seconds=60) as engine:
        with process(write(tmp_path, engine.url, grace_seconds=1)) as (server, url):
            statuses: list[int] = []
            here = Served(url, engine, None)
            asking = threading.Thread(target=lambda: statuses.append(here.refused().status_code))
            asking.start()
            until(lambda: engine.seen["running"] == 4)
            server.send_signal(signal.SIGTERM)
            assert server.wait(6) == 0
            asking.join()
        assert engine.seen["aborted"] == 4
        assert statuses == [503]


# --- the store --------------------------------------------------------------------------------------


def test_answers_are_kept_as_a_campaign_keeps_its_own(served: Answers, tmp_path: Path) -> None:
    here = served({"store": "store"})
    reply = here.ask(seed=2)
    rows = {row["id"]: row for row in read(tmp_path / "store/trajectories")}
    rounds = sorted(read(tmp_path / "store/rounds"), key=lambda row: row["round"])
    (question,) = read(tmp_path / "store/questions")
    assert [len(row["trajectories"]) for row in rounds] == [4, 1]
    assert {(row["problem_id"], row["run"], row["method"]) for row in rounds} == {(reply.id, 2, "low")}
    assert rows[rounds[1]["trajectories"][0]]["message"] == reply.choices[0].message.content
    assert sorted(rows) == sorted(id for row in rounds for id in row["trajectories"])
    assert json.loads(question["chat"]) == QUESTION
    assert {question["problem"]} == {row["problem"] for row in rows.values()}


def test_a_store_that_refuses_costs_no_answer(served: Answers, tmp_path: Path) -> None:
    here = served({"store": "store"})
    (tmp_path / "store").write_text("in the way")
    texts = [here.ask(seed=1).choices[0].message.content]
    (tmp_path / "store").unlink()
    texts += [here.ask(seed=2).choices[0].message.content]
    assert len(read(tmp_path / "store/trajectories")) == 10
    assert all(texts)


def read(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.dataset(folder, partitioning="hive").to_table().to_pylist()
    return rows


# --- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"method": "sc@4"}, "votes"),
        ({"methods": ["low"]}, "methods is no key"),
        ({"pool": 2}, "set pool to at least 4"),
        ({"api_key_env": "NOT_SET"}, "NOT_SET is not set"),
        ({"template": "none.jinja"}, "can not be read"),
        ({"sampler": None}, "sampler"),
        ({}, "cannot be reached"),
    ],
)
def test_bad_input_is_one_clear_line(
    pacore: Callable[..., Ended], tmp_path: Path, keys: dict[str, Any], complaint: str
) -> None:
    ended = pacore("serve", write(tmp_path, "http://127.0.0.1:9/v1", **keys), "--port", "0")
    assert ended.code == 2
    assert complaint in ended.complaint


def test_an_address_that_is_taken_is_one_clear_line(pacore: Callable[..., Ended], tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        ended = pacore("serve", write(tmp_path, "http://127.0.0.1:9/v1"), "--port", str(port))
    assert ended.code == 2
    assert f"127.0.0.1:{port}: can not listen there" in ended.complaint
