"""An answer as a server streams it: lines of an event stream in, a completion out."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from infra.engine import Completion, Rejected

OPEN, CLOSE = "<think>", "</think>"


class BrokenStreamError(Exception):
    """A stream that cannot become an answer: the status that it states, if any, and why."""

    def __init__(self, status: int | None, said: object) -> None:
        super().__init__(said)
        self.status, self.said = status, said


Count = Annotated[int, Field(ge=0, lt=1 << 62)]


class PromptDetails(BaseModel):
    """Of `Usage`."""

    cached_tokens: Count | None = None


class CompletionDetails(BaseModel):
    """Of `Usage`."""

    reasoning_tokens: Count | None = None


class Usage(BaseModel):
    """The token counts that end a stream."""

    model_config = ConfigDict(strict=True)

    prompt_tokens: Count
    completion_tokens: Count
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


@dataclass
class AnswerStream:
    """An answer as it streams in.

    Chunks are read as plain JSON: the SDK's objects cost four times the CPU, once for every token.
    """

    reasoning: list[str] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: object = None
    done: bool = False

    def take(self, lines: list[bytes]) -> bool:
        """Add what lines of the event stream hold; say whether there was any."""
        events = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        for event in events:
            if event == b"[DONE]":
                self.done = True
            else:
                self._add(event)
        return bool(events)

    def _add(self, event: bytes) -> None:
        try:
            chunk = from_json(event)
            if error := chunk.get("error"):
                code = error.get("code") if isinstance(error, dict) else None
                raise BrokenStreamError(code if isinstance(code, int) else None, error)
            self.usage = chunk.get("usage") or self.usage
            for choice in chunk.get("choices") or ():
                delta = choice.get("delta") or {}
                if reasoning := delta.get("reasoning") or delta.get("reasoning_content"):
                    self.reasoning.append(reasoning)
                if content := delta.get("content"):
                    self.content.append(content)
                self.finish_reason = choice.get("finish_reason") or self.finish_reason
        except (ValueError, AttributeError, TypeError) as error:
            raise BrokenStreamError(None, f"a chunk that is no completion chunk: {event!r}") from error

    def completion(self, url: str, started: datetime, seconds: float, attempt: int) -> Completion:
        """The finished answer; raises where the stream was not one."""
        match self.finish_reason:
            case reason if not isinstance(reason, str):
                raise BrokenStreamError(None, "the stream ended without a finish reason")
            case "abort" | "error" | "cancelled":
                raise BrokenStreamError(None, f"the server gave up (finish reason {self.finish_reason!r})")
            case "content_filter":
                raise Rejected(f"{url} withheld the answer (finish reason 'content_filter')")
        if not self.usage and not self.done:
            raise BrokenStreamError(None, "the stream ended before its token counts")
        try:
            usage = Usage.model_validate(self.usage)
        except ValidationError:
            raise Rejected(f"{url} states no token counts: it must support stream_options.include_usage") from None
        try:
            reasoning, content = "".join(self.reasoning) or None, "".join(self.content) or None
        except TypeError:
            raise BrokenStreamError(None, "a chunk whose text is no text") from None
        if reasoning is None and content is not None:
            reasoning, content = split_thinking(content)
        return Completion(
            reasoning=reasoning,
            content=content,
            finish_reason=self.finish_reason,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=(usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens) or 0,
            completion_tokens=usage.completion_tokens,
            reasoning_tokens=(usage.completion_tokens_details and usage.completion_tokens_details.reasoning_tokens)
            or 0,
            engine=url,
            started=started,
            seconds=seconds,
            attempts=attempt,
        )


def split_thinking(text: str) -> tuple[str | None, str | None]:
    """Reasoning and content of a text that the server left whole. Only the tags between them are dropped.

    The content is what follows the last `</think>` (paper, Section 2.1). A text that opens with `<think>` and
    never closes it is all reasoning; one without tags is all content.
    """
    opened = text.lstrip().startswith(OPEN)
    reasoning, close, content = text.rpartition(CLOSE)
    if not close and not opened:
        return None, text
    if not close:
        reasoning, content = text, ""
    if opened:
        reasoning = reasoning.replace(OPEN, "", 1)
    return reasoning or None, content or None
