"""Continuous batching: requests join and leave between steps; a step gives each one more token."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from infra.local.chat import LocalChat
from infra.local.checkpoint import Floats
from infra.local.lanes import Lanes
from infra.local.prompts import Prompt, Prompts
from infra.local.qwen3 import LocalModel
from infra.local.sampling import Dials, choose
from infra.sampler import Sampler


@dataclass(eq=False, slots=True)
class Request:
    """One generation, from its prompt to its last token."""

    tokens: tuple[int, ...]
    sampler: Sampler
    seed: int
    limit: int
    """Most tokens to generate."""
    generated: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    cached: bool = False
    """Whether its prompt had been read before."""
    cancelled: bool = False
    _prompt: Prompt | None = None

    @property
    def prompt(self) -> Prompt:
        """The prompt's keys and values; there from joining to leaving the batch."""
        if self._prompt is None:
            raise AssertionError("the request is not in a batch")
        return self._prompt

    def join(self, prompt: Prompt, cached: bool) -> None:
        """Enter a batch with a prompt that was read."""
        self._prompt, self.cached = prompt, cached

    def leave(self) -> None:
        """Let go of the prompt's keys and values."""
        self._prompt = None


class Batch:
    """The requests in flight. Not for several threads at once."""

    def __init__(self, model: LocalModel, chat: LocalChat, ends: Iterable[int]) -> None:
        self._model, self._chat, self._ends = model, chat, frozenset(ends)
        self._prompts = Prompts(model)
        self._lanes: Lanes[Request] = Lanes(model)
        self._rows: list[Request] = []
        self._dials = self._dials_of([])

    def __len__(self) -> int:
        return len(self._rows)

    def join(self, requests: Sequence[Request]) -> list[Request]:
        """Read the requests' prompts, each once, and draw their first tokens; return those that this finished."""
        for request in requests:
            request.join(*self._prompts.get(request.tokens))
        if requests:
            self._draw(requests, np.stack([request.prompt.logits for request in requests]), self._dials_of(requests))
        self._lanes.add([request for request in requests if not request.finish_reason])
        self._arrange()
        return self._leave(requests)

    def step(self) -> list[Request]:
        """Give each request its next token, and return those that this finished. The cancelled leave first."""
        self._leave(self._rows)
        if self._lanes.extend():
            self._arrange()
        if not self._rows:
            return []
        count, tile = len(self._rows), self._model.tile
        fed = np.zeros((2, -(-count // tile) * tile), np.intp)
        fed[0, :count] = [request.generated[-1] for request in self._rows]
        fed[1, :count] = [len(request.tokens) + len(request.generated) - 1 for request in self._rows]
        logits = self._model.logits(self._model.forward(fed[0], fed[1], self._lanes.attend))
        self._draw(self._rows, logits[:count], self._dials)
        return self._leave(self._rows)

    def _draw(self, requests: Sequence[Request], logits: Floats, dials: Dials) -> None:
        """Append a token to each request, and note whether that was its last."""
        numbers = np.array([len(request.generated) for request in requests], np.uint64)
        for request, token in zip(requests, choose(logits, dials, numbers).tolist(), strict=True):
            request.generated.append(token)
            if token in self._ends or (request.sampler.stop and self._stopped(request)):
                request.finish_reason = "stop"
            elif len(request.generated) >= request.limit:
                request.finish_reason = "length"

    def _stopped(self, request: Request) -> bool:
        """Whether the newest tokens hold a stop string; a token is a byte at least."""
        longest = max(len(stop.encode()) for stop in request.sampler.stop)
        newest = self._chat.text(request.generated[-longest - 1 :])
        return any(stop in newest for stop in request.sampler.stop)

    def _leave(self, requests: Sequence[Request]) -> list[Request]:
        """Let go of the requests that are finished or cancelled, and return the finished."""
        gone = [request for request in requests if request.finish_reason or request.cancelled]
        if gone:
            self._lanes.remove(set(gone).intersection(self._rows))
            for request in gone:
                request.leave()
            self._arrange()
        return [request for request in gone if request.finish_reason]

    def _arrange(self) -> None:
        self._rows = list(self._lanes.rows)
        self._dials = self._dials_of(self._rows)

    def _dials_of(self, requests: Sequence[Request]) -> Dials:
        samplers, seeds = [request.sampler for request in requests], [request.seed for request in requests]
        return Dials.of(samplers, seeds, self._model.shape.vocab_size)
