"""A chat completion as a client asks for it. What can not be honoured is refused, never passed over in silence."""

import json
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from flows.serve.refusal import Refusal
from infra.engine import Chat
from infra.sampler import Sampler

MOST_CHOICES = 128
IGNORED = {"user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier"}
"""What says who asks, and does not change an answer."""
UNLESS: dict[str, Any] = {
    "logprobs": False,
    "top_logprobs": 0,
    "tools": [],
    "tool_choice": "none",
    "functions": [],
    "function_call": "none",
    "parallel_tool_calls": True,
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "logit_bias": {},
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "store": False,
}
"""What is refused unless it says this, which changes nothing."""
WHY = {
    "logprobs": "what an answer's tokens were likely to be depends on trajectories that the answer does not show",
    "top_logprobs": "what an answer's tokens were likely to be depends on trajectories that the answer does not show",
    "tools": "trajectories are texts and call no tools; what tools said can stand in messages of role tool",
    "functions": "trajectories are texts and call no functions",
    "response_format": "only text is given",
    "store": "whether answers are kept is the server's to say",
}


def _text(content: Any) -> Any:
    """Content as text: parts that are all text are joined by newlines, as vLLM does."""
    if not isinstance(content, list):
        return content
    for part in content:
        if not (isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            raise ValueError("only text is understood: parts of type text")
    return "\n".join(part["text"] for part in content)


class Turn(BaseModel):
    """One message. What clients echo of an answer (reasoning, refusals, nulls) is left out of what is sent on."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str | None, BeforeValidator(_text)] = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    def as_sent(self) -> dict[str, Any]:
        """For the engine. Models know `developer` as `system`."""
        role = "system" if self.role == "developer" else self.role
        return {
            "role": role,
            "content": self.content or "",
            **self.model_dump(exclude={"role", "content"}, exclude_none=True),
        }


class StreamOptions(BaseModel):
    """How an answer is streamed."""

    model_config = ConfigDict(strict=True)

    include_usage: bool = False


class ChatRequest(BaseModel):
    """`POST /v1/chat/completions`. Sampling options are those of every trajectory; absent ones are the server's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    messages: list[Turn] = Field(min_length=1)
    n: int = Field(1, ge=1, le=MOST_CHOICES)
    seed: int | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=1)
    min_p: float | None = Field(None, ge=0, le=1)
    stop: Annotated[list[str], BeforeValidator(lambda stop: [stop] if isinstance(stop, str) else stop)] = []
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()

    @property
    def chat(self) -> Chat:
        """The messages for the engine. Some hold more than text, as the chat API allows."""
        return cast(Chat, [turn.as_sent() for turn in self.messages])

    def sampler(self, served: Sampler) -> Sampler:
        """The server's sampler with this request's options. What the server allows at most stays so."""
        asked = {name: getattr(self, name) for name in ("temperature", "top_p", "top_k", "min_p")}
        limits = [limit for limit in (self.max_completion_tokens, self.max_tokens, served.max_tokens) if limit]
        asked["max_tokens"] = min(limits, default=None)
        return served.model_copy(update={name: value for name, value in asked.items() if value is not None})

    def cut(self, text: str) -> str | None:
        """The text up to the first of the stop strings; None where none stands in it."""
        found = [at for stop in self.stop if stop and (at := text.find(stop)) >= 0]
        return text[: min(found)] if found else None


def read_request(body: bytes, served: str) -> ChatRequest:
    """The request in a body.

    Args:
        body: JSON.
        served: the model that is served.

    Raises:
        Refusal: it is none, or asks for what can not be done; `param` says where.
    """
    try:
        given = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Refusal(400, f"the body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise Refusal(400, "the body is no JSON object")
    asked = {name: value for name, value in given.items() if value is not None and name not in IGNORED}
    for name in UNLESS.keys() & asked.keys():
        if asked.pop(name) != UNLESS[name]:
            raise Refusal(
                400, f"{name} is not supported: {WHY.get(name, 'leave it out')}", name, "unsupported_parameter"
            )
    try:
        request = ChatRequest.model_validate(asked)
    except ValidationError as error:
        raise _explain(error) from None
    if request.model != served:
        message = f"the model {json.dumps(request.model)} is not served here; {json.dumps(served)} is"
        raise Refusal(404, message, "model", "model_not_found")
    if request.messages[-1].role not in ("user", "tool"):
        last = f"messages[{len(request.messages) - 1}].role"
        raise Refusal(400, "the last message is to be answered: its role is user or tool", last)
    return request


def _explain(error: ValidationError) -> Refusal:
    problem = error.errors()[0]
    first, *rest = (part for part in problem["loc"] if part != "function-before[_text(), nullable[str]]")
    where = str(first) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)
    if problem["type"] == "extra_forbidden":
        return Refusal(400, f"{where} is not supported: leave it out", where, "unsupported_parameter")
    if problem["type"] == "missing":
        return Refusal(400, f"{where} is missing", where)
    return Refusal(400, f"{where}: {problem['msg'].removeprefix('Value error, ')}", where)
