"""Chats completed in this process, on the CPU, by a small model: no server, no GPU, no network."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from infra.engine import Chat, Completion, Rejected, TooLong, Unreachable
from infra.local.batch import Batch, Request
from infra.local.chat import LocalChat
from infra.local.checkpoint import Shape, read_json, read_shape, read_weights
from infra.local.loop import LocalLoop, one_blas_thread
from infra.local.qwen3 import LocalModel
from infra.sampler import Sampler

SHIPPED = Path(__file__).parents[1] / "model"
"""The checkpoint that comes with the project."""
GENERATION = "generation_config.json"


class LocalSettings(BaseModel):
    """Which checkpoint runs, and how many requests at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local"] = "local"
    model: Path = Field(default=SHIPPED, description="folder of a Qwen3 checkpoint in Hugging Face's format")
    in_flight: int = Field(default=64, ge=1, description="requests in the batch at once")


@dataclass(frozen=True)
class _Loaded:
    shape: Shape
    chat: LocalChat
    loop: LocalLoop


class LocalEngine:
    """Completes chats with a model in this process. See `infra.engine.Engine` for the methods.

    `sampler.model` names the model in the store and is compared with nothing: the folder says what runs. The same
    seed gives the same text whatever else is in flight.
    """

    def __init__(self, settings: LocalSettings) -> None:
        self.settings = settings
        self._loading = asyncio.Lock()
        self._loaded: _Loaded | None = None
        self._closed = False

    async def check(self, sampler: Sampler) -> None:
        """Load the checkpoint; raises `Rejected` where a file of it is missing or not for this engine."""
        if sampler.answer_schema:
            raise Rejected("the engine local holds no answer to a schema; remove sampler.answer_schema")
        await self._load()

    async def window(self, sampler: Sampler) -> int:
        """What the checkpoint's config.json states."""
        return (await self._load()).shape.max_position_embeddings

    async def count_tokens(self, chat: Chat, sampler: Sampler) -> int:
        """The exact count, by the checkpoint's chat template and tokenizer."""
        loaded = await self._load()
        return len(loaded.chat.tokens(loaded.chat.prompt(chat, sampler.chat_template)))

    async def complete(self, chat: Chat, sampler: Sampler, seed: int) -> Completion:
        """Generate one answer, when its turn comes."""
        loaded = await self._load()
        started, began = datetime.now(UTC), time.monotonic()
        prompt = loaded.chat.prompt(chat, sampler.chat_template)
        tokens = loaded.chat.tokens(prompt)
        request = Request(tokens, sampler, seed, self._room(len(tokens), loaded.shape, sampler))
        await loaded.loop.run(request)
        text = loaded.chat.text(request.generated)
        text = text[: min((at for stop in sampler.stop if (at := text.find(stop)) >= 0), default=None)]
        answer = loaded.chat.answer(prompt, request.generated, text)
        return Completion(
            reasoning=answer.reasoning,
            content=answer.content,
            finish_reason=request.finish_reason or "length",
            prompt_tokens=len(tokens),
            cached_tokens=len(tokens) if request.cached else 0,
            completion_tokens=len(request.generated),
            reasoning_tokens=answer.reasoning_tokens,
            engine="local",
            started=started,
            seconds=time.monotonic() - began,
            attempts=1,
        )

    def _room(self, prompt: int, shape: Shape, sampler: Sampler) -> int:
        """Tokens that the answer may have."""
        window = shape.max_position_embeddings
        room = sampler.max_tokens or window - prompt
        if not prompt or prompt + max(room, 1) > window:
            raise TooLong(
                f"{prompt} tokens of prompt and {max(room, 1)} of answer exceed the window of {window}: "
                "shorten the prompt or lower sampler.max_tokens"
            )
        return room

    async def close(self) -> None:
        """End the thread that generates. Callers still waiting get `Unreachable`."""
        self._closed = True
        if self._loaded:
            await self._loaded.loop.close()

    async def _load(self) -> _Loaded:
        async with self._loading:
            if self._closed:
                raise Unreachable("the engine was closed")
            if not self._loaded:
                shape, chat, batch = await asyncio.to_thread(_read, self.settings.model)
                self._loaded = _Loaded(shape, chat, LocalLoop(batch, self.settings.in_flight))
            return self._loaded


def _read(folder: Path) -> tuple[Shape, LocalChat, Batch]:
    shape, chat = read_shape(folder), LocalChat(folder)
    generation = read_json(folder / GENERATION) if (folder / GENERATION).exists() else {}
    ends = generation.get("eos_token_id", shape.eos_token_id)
    ends = ends if isinstance(ends, list) else [ends]
    with one_blas_thread():  # as in the loop: the model tries how BLAS rounds
        model = LocalModel(shape, read_weights(folder, shape))
    return shape, chat, Batch(model, chat, ends)
