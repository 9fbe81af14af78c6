"""Streams that no server should send: each is one of two errors, and none becomes an answer."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.answer_stream import AnswerStream, BrokenStreamError
from infra.engine import Rejected

COUNTS = {"prompt_tokens": 3, "completion_tokens": 2}


def stream(*chunks: Any, usage: Any = COUNTS, finish_reason: Any = "stop") -> AnswerStream:
    """What comes of these deltas, then an end."""
    answer = AnswerStream()
    end = {"choices": [{"delta": {}, "finish_reason": finish_reason}], "usage": usage}
    told = [{"choices": [{"delta": delta}]} for delta in chunks]
    answer.take([b"data: " + json.dumps(chunk).encode() for chunk in [*told, end]] + [b"data: [DONE]"])
    return answer


def finish(answer: AnswerStream) -> Any:
    return answer.completion("http://a", datetime.now(UTC), 1.0, 1)


def test_a_good_stream_is_an_answer() -> None:
    done = finish(stream({"reasoning": "so"}, {"content": "4"}, {"content": "2"}))
    assert (done.reasoning, done.content, done.prompt_tokens, done.completion_tokens) == ("so", "42", 3, 2)


@pytest.mark.parametrize("delta", [{"content": 5}, {"reasoning": ["a"]}, {"content": {"a": 1}}])
def test_text_that_is_no_text(delta: Any) -> None:
    with pytest.raises(BrokenStreamError, match="no text"):
        finish(stream(delta))


@pytest.mark.parametrize("finish_reason", [None, ["stop"], 7])
def test_an_end_without_a_reason(finish_reason: Any) -> None:
    with pytest.raises(BrokenStreamError, match="finish reason"):
        finish(stream({"content": "4"}, finish_reason=finish_reason))


@pytest.mark.parametrize(
    "usage",
    [
        {},
        [1],
        {"prompt_tokens": 3},
        {**COUNTS, "prompt_tokens": "3"},
        {**COUNTS, "completion_tokens": -1},
        {**COUNTS, "completion_tokens": 1 << 64},
        {**COUNTS, "completion_tokens_details": {"reasoning_tokens": [1]}},
    ],
)
def test_counts_that_the_store_could_not_hold(usage: Any) -> None:
    with pytest.raises(Rejected, match="token counts"):
        finish(stream({"content": "4"}, usage=usage))


@pytest.mark.parametrize(
    "event", [b'{"choices": 1.5}', b'{"choices": [1]}', b"[]", b"{", b'{"choices": [{"delta": 1}]}']
)
def test_a_chunk_that_is_none(event: bytes) -> None:
    with pytest.raises(BrokenStreamError, match="no completion chunk"):
        AnswerStream().take([b"data: " + event])
