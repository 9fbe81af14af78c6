"""Keys and values of the requests in flight, and how one new token of each attends to them.

Every product has a size that depends on the request's own length alone, so its result does not depend on the batch.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from infra.local.checkpoint import Floats, Shape
from infra.local.prompts import PAGE, Prompt
from infra.local.qwen3 import LocalModel

FIRST_ROWS = 8


class Row(Protocol):
    """What a lane needs to know of a request."""

    @property
    def prompt(self) -> Prompt:
        """Its prompt, read."""
        ...


R = TypeVar("R", bound=Row)


@dataclass(slots=True)
class Part:
    """Attention over some of the keys: sums of weighted values and of weights, and the score that weighs 1."""

    out: Floats  # [rows, heads, head_dim]
    total: Floats  # [rows, heads]
    peak: Floats | None  # [rows, heads]; None: 0


class Lane(Generic[R]):
    """Requests whose own keys (all but the prompt's shared pages) take the same number of pages; a row for each."""

    def __init__(self, shape: Shape, pages: int) -> None:
        self.rows: list[R] = []
        self.lengths = np.zeros(FIRST_ROWS, np.intp)
        self.capacity = pages * PAGE
        self._pages, self._heads = pages, shape.num_key_value_heads
        size = (shape.num_hidden_layers, FIRST_ROWS, self._heads, self.capacity, shape.head_dim)
        self._keys, self._values = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._hidden = np.full((FIRST_ROWS, self.capacity), -np.inf, np.float32)

    def add(self, row: R, keys: Floats, values: Floats) -> None:
        """Give a request a place, with the keys and values that it has, [layers, kv_heads, length, head_dim]."""
        place, length = len(self.rows), keys.shape[2]
        if place == len(self.lengths):
            self._grow()
        self.rows.append(row)
        self._keys[:, place, :, :length] = keys
        self._values[:, place, :, :length] = values
        self._hidden[place, :length], self._hidden[place, length:] = 0, -np.inf
        self.lengths[place] = length

    def remove(self, row: R) -> tuple[Floats, Floats]:
        """Free a request's place and return its keys and values; the last row moves there."""
        place, last = self.rows.index(row), len(self.rows) - 1
        kept = np.s_[:, place, :, : self.lengths[place]]
        keys, values = self._keys[kept].copy(), self._values[kept].copy()
        used = self.lengths[last]
        self.rows[place] = self.rows[last]
        self.rows.pop()
        self.lengths[place], self._hidden[place] = used, self._hidden[last]
        for cache in (self._keys, self._values):
            cache[:, place, :, :used] = cache[:, last, :, :used]
        return keys, values

    def _grow(self) -> None:
        double = [np.concatenate([cache, np.zeros_like(cache)], axis=1) for cache in (self._keys, self._values)]
        self._keys, self._values = double
        self._hidden = np.concatenate([self._hidden, self._hidden])
        self.lengths = np.concatenate([self.lengths, self.lengths])

    def full(self) -> list[R]:
        """Requests that have no room for another token."""
        return [self.rows[place] for place in np.flatnonzero(self.lengths[: len(self.rows)] == self.capacity)]

    def extend(self) -> None:
        """Make room for one more token of each request: its key is seen from now on."""
        count = len(self.rows)
        self._hidden[np.arange(count), self.lengths[:count]] = 0
        self.lengths[:count] += 1

    def attend(self, layer: int, q: Floats, k: Floats, v: Floats, peaked: bool) -> Part:
        """Store the new keys and values, and attend to all own ones."""
        count, width = len(q), q.shape[-1]
        places, newest = np.arange(count), self.lengths[:count] - 1
        keys, values = self._keys[layer, :count], self._values[layer, :count]
        keys[places, :, newest], values[places, :, newest] = k, v
        scores = np.empty((count, self._heads, q.shape[1] // self._heads, self.capacity), np.float32)
        by_page = scores.reshape(*scores.shape[:3], self._pages, PAGE).swapaxes(2, 3)
        paged = (count, self._heads, self._pages, PAGE, width)
        np.matmul(q.reshape(count, self._heads, 1, -1, width), keys.reshape(paged).swapaxes(-1, -2), out=by_page)
        scores += self._hidden[:count, None, None]
        peak = scores.max(-1) if peaked else None
        if peak is not None:
            scores -= peak[..., None]
        np.exp(scores, out=scores)
        out = np.add.reduce(by_page @ values.reshape(paged), axis=2)
        flat = (count, q.shape[1])
        return Part(
            out.reshape(*flat, width), scores.sum(-1).reshape(flat), None if peak is None else peak.reshape(flat)
        )


class Lanes(Generic[R]):
    """All requests in flight, ordered by lane."""

    def __init__(self, model: LocalModel) -> None:
        self._model, self._peaked = model, model.peaked
        self._lanes: dict[int, Lane[R]] = {}
        self._groups: list[tuple[Prompt, NDArray[np.intp]]] = []

    @property
    def rows(self) -> Iterator[R]:
        """The requests, in the order of the rows of a step."""
        return (row for lane in self._lanes.values() for row in lane.rows)

    def add(self, rows: Iterable[R]) -> None:
        """Take requests in, whose prompts have been read."""
        for row in rows:
            self._place(row, row.prompt.rest_keys, row.prompt.rest_values)
        self._regroup()

    def remove(self, gone: Iterable[R]) -> None:
        """Let requests go."""
        for row in gone:
            next(lane for lane in self._lanes.values() if row in lane.rows).remove(row)
        self._regroup()

    def extend(self) -> bool:
        """Make room for one more token of each request; say whether that changed the order of the rows."""
        moved = [(row, *lane.remove(row)) for lane in self._lanes.values() for row in lane.full()]
        for row, keys, values in moved:
            self._place(row, keys, values)
        if moved:
            self._regroup()
        for lane in self._lanes.values():
            lane.extend()
        return bool(moved)

    def attend(self, layer: int, q: Floats, k: Floats, v: Floats) -> Floats:
        """One token of each request, then padding, attends to all before it. See `qwen3.Attend`."""
        out, totals = np.zeros(q.shape, np.float32), np.ones(q.shape[:2], np.float32)
        peaks = np.zeros(q.shape[:2], np.float32)
        end = 0
        for lane in self._lanes.values():
            start, end = end, end + len(lane.rows)
            if start < end:
                own = lane.attend(layer, q[start:end], k[start:end], v[start:end], self._peaked)
                out[start:end], totals[start:end] = own.out, own.total
                if own.peak is not None:
                    peaks[start:end] = own.peak
        for prompt, rows in self._groups:
            part = attend_shared(prompt, layer, q[rows], self._model.tile, self._peaked)
            if part.peak is not None:
                peak = np.maximum(part.peak, peaks[rows])
                old, new = np.exp(peaks[rows] - peak), np.exp(part.peak - peak)
                out[rows] *= old[..., None]
                totals[rows] *= old
                part.out, part.total = part.out * new[..., None], part.total * new
            out[rows] += part.out
            totals[rows] += part.total
        out /= totals[..., None]
        return out.reshape(len(q), -1)

    def _place(self, row: R, keys: Floats, values: Floats) -> None:
        pages = pages_for(keys.shape[2] + 1)
        if pages not in self._lanes:
            self._lanes[pages] = Lane(self._model.shape, pages)
        self._lanes[pages].add(row, keys, values)

    def _regroup(self) -> None:
        """Bring together the rows that share a prompt's pages."""
        members: dict[int, list[int]] = defaultdict(list)
        prompts: dict[int, Prompt] = {}
        for number, row in enumerate(self.rows):
            if row.prompt.keys.size:
                members[id(row.prompt)].append(number)
                prompts[id(row.prompt)] = row.prompt
        self._groups = [(prompts[key], np.array(rows)) for key, rows in members.items()]


def pages_for(length: int) -> int:
    """Pages that hold so many tokens, with few sizes between them: 1, 2, 3, 4, 6, 8, 12, 16 and so on."""
    pages = step = 1
    while pages * PAGE < length:
        pages += step
        step = step * 2 if pages == 4 * step else step
    return pages


def attend_shared(prompt: Prompt, layer: int, q: Floats, tile: int, peaked: bool) -> Part:
    """Queries of several requests, [G, heads, head_dim], over the pages of the prompt that they share.

    As in the model's own matrices, queries are columns, a tile at a time.
    """
    keys, values = prompt.keys[layer], prompt.values[layer]
    count, heads, width = q.shape
    kv_heads = len(keys)
    columns = count * heads // kv_heads
    tiles = -(-columns // tile)
    turned = np.zeros((kv_heads, width, tiles * tile), np.float32)
    turned[..., :columns] = q.reshape(count, kv_heads, -1, width).transpose(1, 3, 0, 2).reshape(kv_heads, width, -1)
    lanes = np.ascontiguousarray(turned.reshape(kv_heads, 1, width, tiles, tile).transpose(3, 0, 1, 2, 4))
    scores = keys @ lanes  # [tiles, kv_heads, pages, PAGE, tile]
    peak = scores.max((2, 3), keepdims=True) if peaked else None
    if peak is not None:
        scores -= peak
    np.exp(scores, out=scores)
    weighed = np.add.reduce(values @ scores, axis=2)  # [tiles, kv_heads, head_dim + 1, tile]

    def rows(lanes: Floats) -> Floats:
        """[tiles, kv_heads, n, tile] → [G, heads, n]."""
        flat = lanes.transpose(0, 3, 1, 2).reshape(tiles * tile, kv_heads, -1)[:columns]
        return flat.reshape(count, heads // kv_heads, kv_heads, -1).swapaxes(1, 2).reshape(count, heads, -1)

    out = rows(weighed)
    return Part(out[..., :width], out[..., width], None if peak is None else rows(peak[:, :, 0])[..., 0])
