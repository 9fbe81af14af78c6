"""An answer as a client gets it: one JSON object, or the events of a stream."""

import json
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tasks.serving.answer import Answer

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer as it is shown. `reasoning`: how the rounds went."""

    answer: Answer
    text: str
    reasoning: str
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What all parts of one reply share."""

    model: str
    system_fingerprint: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: list[Choice]) -> Json:
        """The reply to a request that does not stream."""
        shown = [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text, "reasoning": choice.reasoning},
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ]
        return {**self._head("chat.completion"), "choices": shown, "usage": usage(choices)}

    def delta(self, index: int, delta: Json, finish_reason: str | None = None) -> bytes:
        """An event that adds to one of the answers."""
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event({**self._head("chat.completion.chunk"), "choices": [choice]})

    def answer(self, index: int, choice: Choice) -> list[bytes]:
        """The events that hold an answer: a line each, then the end."""
        lines = [self.delta(index, {"content": line}) for line in choice.text.splitlines(keepends=True)]
        return [*lines, self.delta(index, {}, choice.finish_reason)]

    def usage(self, choices: list[Choice]) -> bytes:
        """The event that ends a stream whose client asked for usage."""
        return event({**self._head("chat.completion.chunk"), "choices": [], "usage": usage(choices)})

    def _head(self, kind: str) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.system_fingerprint,
        }


def event(data: Json) -> bytes:
    """An event of a stream."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def usage(choices: list[Choice]) -> Json:
    """Prompt tokens of what was asked; completion tokens of all trajectories: test-time compute is what was spent.

    As OpenAI counts: `reasoning_tokens` are those of the completion that the answer does not show.
    """
    answers = [choice.answer for choice in choices]
    prompt, spent = answers[0].prompt_tokens, sum(answer.spent_tokens for answer in answers)
    last = sum(answer.last["completion_tokens"] for answer in answers)
    shown = sum(answer.last["completion_tokens"] - answer.last["reasoning_tokens"] for answer in answers)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": spent,
        "total_tokens": prompt + spent,
        "completion_tokens_details": {
            "reasoning_tokens": spent - shown,
            "last_trajectory_tokens": last,
            "trajectories": sum(answer.trajectories for answer in answers),
        },
    }
