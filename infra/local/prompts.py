"""Prompts that were read: their keys, values and first scores, kept for the requests that share them."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from infra.local.checkpoint import Floats
from infra.local.qwen3 import LocalModel

PAGE = 64
"""Tokens whose keys are multiplied at once. Fixed sizes keep every product the same, whatever else is in the batch."""
READ_AT_ONCE = 256
CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that was read. Its whole pages are shared; the rest is copied into each request's own lane."""

    length: int
    keys: Floats  # [layers, kv_heads, pages, PAGE, head_dim]
    values: Floats  # [layers, kv_heads, pages, head_dim + 1, PAGE]; the last ones are 1, to sum the weights with
    rest_keys: Floats  # [layers, kv_heads, rest, head_dim]
    rest_values: Floats
    logits: Floats  # of the first token of an answer, [vocabulary]

    @property
    def size(self) -> int:
        """Bytes."""
        arrays = (self.keys, self.values, self.rest_keys, self.rest_values, self.logits)
        return sum(array.nbytes for array in arrays)


class Prompts:
    """Reads each prompt once, and keeps the latest used ones up to so many bytes."""

    def __init__(self, model: LocalModel, limit: int = CACHE_BYTES) -> None:
        self._model, self._limit = model, limit
        self._kept: OrderedDict[tuple[int, ...], Prompt] = OrderedDict()
        self._bytes = 0

    def get(self, tokens: tuple[int, ...]) -> tuple[Prompt, bool]:
        """The prompt, and whether it was there already."""
        if found := self._kept.get(tokens):
            self._kept.move_to_end(tokens)
            return found, True
        prompt = self._kept[tokens] = read(self._model, tokens)
        self._bytes += prompt.size
        while self._bytes > self._limit and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].size
        return prompt, False


def read(model: LocalModel, tokens: tuple[int, ...]) -> Prompt:
    """Compute a prompt's keys and values, alone and by blocks: they depend on nothing but the prompt."""
    shape, length = model.shape, len(tokens)
    room = -(-length // READ_AT_ONCE) * READ_AT_ONCE
    keys = np.zeros((shape.num_hidden_layers, shape.num_key_value_heads, room, shape.head_dim), np.float32)
    values = np.zeros_like(keys)
    for start in range(0, length, READ_AT_ONCE):
        count = min(length - start, READ_AT_ONCE)
        x = _read_block(model, tokens, start, start + -(-count // model.tile) * model.tile, keys, values)
    last = (count - 1) // model.tile
    logits = model.logits(x[last : last + 1])[(count - 1) % model.tile].copy()
    whole = length // PAGE * PAGE
    paged = (*keys.shape[:2], whole // PAGE, PAGE, shape.head_dim)
    turned = values[:, :, :whole].reshape(paged).swapaxes(-1, -2)
    return Prompt(
        length=length,
        keys=keys[:, :, :whole].reshape(paged),
        values=np.concatenate([turned, np.ones_like(turned[..., :1, :])], axis=-2),
        rest_keys=keys[:, :, whole:length].copy(),
        rest_values=values[:, :, whole:length].copy(),
        logits=logits,
    )


def _read_block(
    model: LocalModel, tokens: tuple[int, ...], start: int, end: int, all_keys: Floats, all_values: Floats
) -> Floats:
    """The model's output for tokens start … end − 1; those past the prompt's end are padding that none looks at."""
    count, shape = end - start, model.shape
    later = np.triu(np.full((count, count), -np.inf, np.float32), 1)

    def attend(layer: int, q: Floats, k: Floats, v: Floats) -> Floats:
        keys, values = all_keys[layer, :, :end], all_values[layer, :, :end]
        keys[:, start:], values[:, start:] = k.swapaxes(0, 1), v.swapaxes(0, 1)
        grouped = q.reshape(count, len(keys), -1, shape.head_dim).transpose(1, 2, 0, 3)
        scores = grouped @ keys[:, None].swapaxes(-1, -2)
        scores[..., start:] += later
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        out: Floats = scores @ values[:, None] / scores.sum(-1, keepdims=True)
        return out.transpose(2, 0, 1, 3).reshape(count, -1)

    block = np.zeros(count, np.intp)
    block[: len(tokens) - start] = tokens[start:end]
    positions = np.minimum(np.arange(start, end), shape.max_position_embeddings - 1)
    return model.forward(block, positions, attend)
