"""What the engine relies on, checked on a real vLLM server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

DASHBOARD = Path(__file__).parents[2] / "infra/compose/grafana/campaigns.json"
MODEL = "tiny-qwen3"
CLOSE = "</think>"
TOKENIZE = "../tokenize"  # it lies beside /v1, not below
QUESTION = "What is 3 + 4? Think, then answer."
MANY = 24  # seeds among which some generations end after, and some before, the thinking is closed

Json = dict[str, Any]


@pytest.fixture(scope="module")
def client(vllm_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=vllm_url, timeout=120) as client:
        yield client


def request(question: str = QUESTION, **fields: Any) -> Json:
    return {"model": MODEL, "messages": [{"role": "user", "content": question}], **fields}


def complete(client: httpx.Client, **fields: Any) -> Json:
    response = client.post("/chat/completions", json=request(**fields))
    assert response.status_code == 200, response.text
    return response.json()


def error_of(response: httpx.Response) -> Json:
    return response.json()["error"]


@pytest.fixture(scope="module")
def generations(client: httpx.Client) -> list[Json]:
    """Whole generations of the same prompt, one a seed."""
    return complete(client, seed=100, n=MANY)["choices"]


def test_reasoning_is_in_message_reasoning_and_content_has_only_the_answer(generations: list[Json]) -> None:
    answered = [choice["message"] for choice in generations if choice["message"]["content"]]
    assert any(message["reasoning"] for message in answered)
    for message in answered:
        assert "reasoning_content" not in message
        assert CLOSE not in (message["reasoning"] or "") + message["content"]


def test_a_generation_that_ends_while_thinking_has_null_content(client: httpx.Client) -> None:
    choice = complete(client, seed=1, max_tokens=2)["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] is None
    assert choice["message"]["reasoning"]


def test_an_unfinished_think_may_stop_on_its_own_and_is_null_too(generations: list[Json]) -> None:
    unfinished = [choice for choice in generations if choice["message"]["content"] is None]
    assert unfinished
    assert {choice["finish_reason"] for choice in unfinished} == {"stop"}


def test_the_same_seed_gives_the_same_text_and_another_seed_another(client: httpx.Client) -> None:
    first, again, other = (complete(client, seed=seed, max_tokens=40)["choices"][0]["message"] for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_n_choices_use_consecutive_seeds(client: httpx.Client) -> None:
    together = complete(client, seed=7, n=3, max_tokens=40)["choices"]
    alone = [complete(client, seed=seed, max_tokens=40)["choices"][0] for seed in (7, 8, 9)]
    assert [choice["message"] for choice in together] == [choice["message"] for choice in alone]


def test_a_prompt_longer_than_the_window_is_a_400_that_names_input_tokens(client: httpx.Client) -> None:
    response = client.post("/chat/completions", json=request("7 " * 20_000))
    assert response.status_code == 400
    assert error_of(response)["param"] == "input_tokens"


def test_more_room_than_the_window_is_a_400_that_names_max_tokens(client: httpx.Client) -> None:
    response = client.post("/chat/completions", json=request(max_tokens=1_000_000))
    assert response.status_code == 400
    assert error_of(response)["param"] == "max_tokens"


def test_room_that_only_together_with_the_prompt_exceeds_the_window_is_cut_in_silence(
    client: httpx.Client,
) -> None:
    question = "7 " * 16_300
    counted = tokenize(client, question)
    body = complete(client, question=question, max_tokens=counted["max_model_len"], ignore_eos=True, seed=1)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == counted["max_model_len"] - counted["count"]


def test_an_unknown_model_is_a_404(client: httpx.Client) -> None:
    response = client.post("/chat/completions", json=request() | {"model": "no-such-model"})
    assert response.status_code == 404
    assert error_of(response)["param"] == "model"


def test_an_unknown_field_is_ignored(client: httpx.Client) -> None:
    assert complete(client, no_such_field=1, max_tokens=1)["choices"]


def tokenize(client: httpx.Client, question: str) -> Json:
    response = client.post(TOKENIZE, json=request(question))
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("question", [QUESTION, "naïve 参考 \N{GRINNING FACE}", "{{ x }} </think> <|im_end|>"])
def test_tokenize_counts_a_chat_as_usage_does(client: httpx.Client, question: str) -> None:
    usage = complete(client, question=question, max_tokens=1)["usage"]
    assert tokenize(client, question)["count"] == usage["prompt_tokens"]


def test_models_states_the_window(client: httpx.Client) -> None:
    (model,) = client.get("/models").json()["data"]
    assert model["id"] == MODEL
    assert model["max_model_len"] == tokenize(client, QUESTION)["max_model_len"]


def stream(client: httpx.Client, **fields: Any) -> list[str]:
    """The data lines of a streamed generation, `[DONE]` included."""
    body = request(stream=True, stream_options={"include_usage": True}, **fields)
    with client.stream("POST", "/chat/completions", json=body) as response:
        lines = [line for line in response.iter_lines() if line]
    return [line.removeprefix("data: ") for line in lines]


def joined(lines: list[str], key: str) -> str:
    """A field of all the deltas of a stream, in one string."""
    chunks = [json.loads(line) for line in lines[:-1]]
    return "".join(choice["delta"].get(key) or "" for chunk in chunks for choice in chunk["choices"])


def test_a_stream_ends_with_a_finish_reason_then_usage_then_done(client: httpx.Client) -> None:
    *chunks, usage, done = stream(client, seed=5, max_tokens=20, ignore_eos=True)
    assert done == "[DONE]"
    assert json.loads(usage)["choices"] == []
    assert json.loads(usage)["usage"]["completion_tokens"] == 20
    assert json.loads(chunks[-1])["choices"][0]["finish_reason"] == "length"
    assert not any(json.loads(chunk).get("usage") for chunk in chunks)


def test_a_stream_carries_reasoning_in_deltas_of_its_own(client: httpx.Client) -> None:
    lines = stream(client, seed=5, max_tokens=5, logit_bias={close_id(client): -100}, ignore_eos=True)
    assert joined(lines, "reasoning")
    assert joined(lines, "content") == ""


def test_a_stream_keeps_the_later_close_marks_that_the_whole_message_loses(client: httpx.Client) -> None:
    fields = {"seed": 5, "max_tokens": 60, "ignore_eos": True, "logit_bias": {close_id(client): 3}}
    whole = complete(client, **fields)["choices"][0]["message"]
    lines = stream(client, **fields)
    assert joined(lines, "reasoning") == (whole["reasoning"] or "")
    assert CLOSE in joined(lines, "content")
    assert joined(lines, "content").replace(CLOSE, "") == whole["content"]


def close_id(client: httpx.Client) -> str:
    """The number of the token that closes the thinking."""
    response = client.post(TOKENIZE, json={"model": MODEL, "prompt": CLOSE, "add_special_tokens": False})
    (token,) = response.json()["tokens"]
    return str(token)


def test_reasoning_tokens_are_counted_apart(client: httpx.Client) -> None:
    fields = {"seed": 5, "max_tokens": 20, "ignore_eos": True}
    thinking = complete(client, **fields, logit_bias={close_id(client): -100})["usage"]
    answering = complete(client, **fields, chat_template_kwargs={"enable_thinking": False})["usage"]
    assert thinking["completion_tokens_details"]["reasoning_tokens"] == 20
    assert answering["completion_tokens_details"]["reasoning_tokens"] == 0


def test_the_metrics_that_the_dashboard_asks_for_are_exported(client: httpx.Client) -> None:
    exported = set(re.findall(r"^vllm:\w+", client.get("../metrics").text, re.MULTILINE))
    asked = set(re.findall(r"vllm:\w+", DASHBOARD.read_text()))
    assert "vllm:num_requests_waiting" in asked  # the autoscaler's too
    assert asked <= exported
