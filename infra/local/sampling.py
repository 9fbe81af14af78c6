"""Which token comes next: seeded, for all rows at once, each row by its own numbers alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infra.local.checkpoint import Floats
from infra.sampler import Sampler

Doubles = NDArray[np.float64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
COLDEST = 1e-5
"""Below this, as in vLLM, the likeliest token is taken."""


@dataclass(frozen=True, slots=True)
class Dials:
    """The samplers and seeds of B rows, as columns [B, 1]."""

    keys: NDArray[np.uint64]
    temperature: Doubles
    top_p: Doubles
    top_k: NDArray[np.intp]
    min_p: Doubles

    @classmethod
    def of(cls, samplers: Sequence[Sampler], seeds: Sequence[int], vocabulary: int) -> "Dials":
        """The dials of requests with these samplers and seeds."""
        column = (-1, 1)
        return cls(
            mix(np.array([seed % 2**64 for seed in seeds], np.uint64)),
            np.array([sampler.temperature for sampler in samplers]).reshape(column),
            np.array([sampler.top_p for sampler in samplers]).reshape(column),
            np.array([sampler.top_k or vocabulary for sampler in samplers]).reshape(column),
            np.array([sampler.min_p or 0.0 for sampler in samplers]).reshape(column),
        )


def choose(logits: Floats, dials: Dials, numbers: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Draw a token for each row, the `numbers`-th of its request. The filters come in vLLM's order."""
    likeliest: NDArray[np.intp] = logits.argmax(-1)
    cold = dials.temperature < COLDEST
    if cold.all():
        return likeliest
    scores = logits / np.where(cold, 1.0, dials.temperature)
    scores -= scores.max(-1, keepdims=True)
    weights: Doubles = np.exp(scores)
    if dials.min_p.any():
        weights[weights < dials.min_p] = 0  # the likeliest weighs 1
    if (dials.top_k < weights.shape[-1]).any() or (dials.top_p < 1).any():
        weights = _top(weights, dials)
    reached = np.cumsum(weights, axis=-1)
    total = reached[:, -1:]
    drawn = np.minimum(uniform(dials.keys, numbers)[:, None] * total, np.nextafter(total, 0))
    tokens: NDArray[np.intp] = np.where(cold[:, 0], likeliest, (reached <= drawn).sum(-1))
    return tokens


def _top(weights: Doubles, dials: Dials) -> Doubles:
    """Drop what is not among the top_k, then what is not among those that make up top_p of the rest."""
    order = np.argsort(-weights, axis=-1, kind="stable")
    falling = np.take_along_axis(weights, order, -1)
    falling[np.arange(weights.shape[-1]) >= dials.top_k] = 0
    before = np.cumsum(falling, axis=-1) - falling
    falling[(before >= dials.top_p * falling.sum(-1, keepdims=True)) & (dials.top_p < 1)] = 0
    kept = np.empty_like(weights)
    np.put_along_axis(kept, order, falling, -1)
    return kept


def uniform(keys: NDArray[np.uint64], numbers: NDArray[np.uint64]) -> Doubles:
    """A number in [0, 1) for each key and count: SplitMix64, whose n-th number needs none before it."""
    return (mix(keys + numbers * GOLDEN) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
