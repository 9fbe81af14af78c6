"""The one interface to whatever generates text: complete a chat with a sampler and a seed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from infra.sampler import Sampler

Chat = list[dict[str, str]]
"""Messages as the chat API takes them: `{"role": ..., "content": ...}`, oldest first."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished generation. Counts are tokens, as the server stated them."""

    reasoning: str | None
    content: str | None
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    engine: str
    started: datetime
    seconds: float
    attempts: int


class EngineError(Exception):
    """A generation that did not come to be. The text says what was wrong, where, and what to do."""

    attempts: int = 1
    hindered: bool = False
    """It failed because of an outage or overload, not for itself."""


class TooLong(EngineError):
    """The prompt and the room for the answer exceed the model's window. Permanent."""


class Rejected(EngineError):
    """The server understood and refused: unknown model, bad key, bad parameter. Permanent."""


class Overloaded(EngineError):
    """The server has too much to do now (429, 503). `retry_after`: seconds that it asks to be left alone for."""

    retry_after: float = 0.0


class Unreachable(EngineError):
    """No server answers, or it broke off in the middle."""


class Stalled(EngineError):
    """The server took the request and sent no token within the allowed time."""


class Away(EngineError):
    """No server has answered for longer than the settings allow. No request failed for itself: the run has to end."""


class Engine(Protocol):
    """Completes chats. One instance belongs to one event loop and is shared by all its tasks."""

    async def check(self, sampler: Sampler) -> None:
        """Raise `EngineError` unless the engine is reachable, accepts the key and serves the model."""
        ...

    async def window(self, sampler: Sampler) -> int:
        """Tokens of prompt and answer together that the model can hold."""
        ...

    async def count_tokens(self, chat: Chat, sampler: Sampler) -> int:
        """Tokens of the chat as the model's chat template writes it, generation prompt included."""
        ...

    async def complete(self, chat: Chat, sampler: Sampler, seed: int) -> Completion:
        """Generate one answer; the same seed gives the same text. Raises `EngineError`."""
        ...

    async def close(self) -> None:
        """Abort what is in flight and give connections back."""
        ...
