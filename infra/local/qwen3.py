"""The forward pass of a Qwen3 model in numpy, such that no row's result depends on the rows beside it.

A matrix library rounds differently with the number of rows and with a row's place among them. So rows go through the
matrices in tiles of a fixed width, laid side by side as columns: each column is a lane of the processor's vectors, and
all lanes compute alike. How wide a tile may be is found by trying, once, when the model is loaded.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infra.local.checkpoint import Floats, Shape

Attend = Callable[[int, Floats, Floats, Floats], Floats]
"""Layer number, queries [B, heads, head_dim], keys and values [B, kv_heads, head_dim] → [B, heads · head_dim]."""

TILES = (16, 8, 4, 2, 1)
LARGEST_SCORE = 80.0
"""The exponential of ± this, and 4,096 times it, is a normal 32-bit number."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's matrices, [outputs, inputs], each with the norm before it multiplied in."""

    qkv: Floats
    norms: Floats  # of queries and keys, [heads + kv_heads, head_dim]; the softmax's scale is in the queries'
    out: Floats
    gate_up: Floats
    down: Floats


class LocalModel:
    """A Qwen3 model. `tile` is how many rows go through a matrix at once: give it multiples of that."""

    def __init__(self, shape: Shape, weights: dict[str, Floats]) -> None:
        self.shape = shape
        self._embedding = weights["model.embed_tokens.weight"]
        head = self._embedding if shape.tie_word_embeddings else weights["lm_head.weight"]
        self._head = np.ascontiguousarray(head * weights["model.norm.weight"])
        self._layers = [_layer(shape, weights, number) for number in range(shape.num_hidden_layers)]
        self._turns = _turns(shape)
        matrices = [matrix for layer in self._layers[:1] for matrix in (layer.qkv, layer.out, layer.down)]
        self.tile = exact_tile([*matrices, self._layers[0].gate_up, self._head])

    @property
    def peaked(self) -> bool:
        """Whether attention scores can be too large for an exponential in 32 bits; queries and keys are normed."""
        heads, width = self.shape.num_attention_heads, self.shape.head_dim
        highest = max(
            float(np.abs(layer.norms[:heads]).max() * np.abs(layer.norms[heads:]).max()) for layer in self._layers
        )
        return highest * width > LARGEST_SCORE

    def forward(self, tokens: NDArray[np.intp], positions: NDArray[np.intp], attend: Attend) -> Floats:
        """The last layer's output for B tokens, [B / tile, hidden, tile]."""
        x = self._tiles(self._embedding[tokens])
        turn = self._turns[positions][:, None]
        for number, layer in enumerate(self._layers):
            x += layer.out @ self._tiles(attend(number, *self._heads(layer, x, turn)))
            x += layer.down @ _gated(layer.gate_up @ self._normed(x))
        return x

    def logits(self, x: Floats) -> Floats:
        """Scores of the next token, [B, vocabulary], of what `forward` gave."""
        return self._rows(self._head @ self._normed(x))

    def _heads(self, layer: Layer, x: Floats, turn: NDArray[np.complex64]) -> tuple[Floats, Floats, Floats]:
        """Queries, keys and values. A turn by the position is a product of complex numbers."""
        shape = self.shape
        queries = shape.num_attention_heads
        both = queries + shape.num_key_value_heads
        heads = self._rows(layer.qkv @ self._normed(x)).reshape(len(turn), -1, shape.head_dim)
        qk = heads[:, :both]
        qk = qk * (np.float32(1) / np.sqrt(np.vecdot(qk, qk) / shape.head_dim + shape.rms_norm_eps))[..., None]
        qk *= layer.norms
        pairs = qk.view(np.complex64)
        pairs *= turn
        return qk[:, :queries], qk[:, queries:], heads[:, both:]

    def _normed(self, x: Floats) -> Floats:
        square = np.add.reduce(x * x, axis=1, keepdims=True)
        normed: Floats = x * (np.float32(1) / np.sqrt(square / x.shape[1] + self.shape.rms_norm_eps))
        return normed

    def _tiles(self, rows: Floats) -> Floats:
        return np.ascontiguousarray(rows.reshape(-1, self.tile, rows.shape[-1]).swapaxes(1, 2))

    def _rows(self, tiles: Floats) -> Floats:
        return np.ascontiguousarray(tiles.swapaxes(1, 2)).reshape(-1, tiles.shape[1])


def exact_tile(matrices: Iterable[Floats]) -> int:
    """The widest tile in which a column's products do not depend on its place, tried on these matrices."""
    chooser = np.random.default_rng(0)
    tried = [(matrix, chooser.standard_normal((matrix.shape[1], TILES[0]), np.float32)) for matrix in matrices]
    return next(width for width in TILES if all(_place_is_free(matrix, noise[:, :width]) for matrix, noise in tried))


def _place_is_free(matrix: Floats, noise: Floats) -> bool:
    width = noise.shape[1]
    turned = [np.ascontiguousarray(np.roll(noise, place, axis=1)) for place in range(width)]
    products = [np.roll(matrix @ columns, -place, axis=1) for place, columns in enumerate(turned)]
    return all(np.array_equal(product, products[0]) for product in products)


def _gated(x: Floats) -> Floats:
    """silu(gate) · up."""
    inner = x.shape[1] // 2
    gate, up = x[:, :inner], x[:, inner:]
    with np.errstate(over="ignore"):
        sigmoid: Floats = np.reciprocal(np.exp(-gate) + np.float32(1))
    sigmoid *= gate
    sigmoid *= up
    return sigmoid


def _layer(shape: Shape, weights: dict[str, Floats], number: int) -> Layer:
    def weight(name: str) -> Floats:
        return weights[f"model.layers.{number}.{name}.weight"]

    def paired(rows: Floats) -> Floats:
        """Heads' rows reordered so that the two halves that rotate together lie side by side."""
        heads = rows.reshape(-1, 2, shape.head_dim // 2, *rows.shape[1:])
        return heads.swapaxes(1, 2).reshape(rows.shape)

    qkv = [paired(weight("self_attn.q_proj")), paired(weight("self_attn.k_proj")), weight("self_attn.v_proj")]
    q_norm = paired(weight("self_attn.q_norm")) * np.float32(shape.head_dim**-0.5)
    norms = [(q_norm, shape.num_attention_heads), (paired(weight("self_attn.k_norm")), shape.num_key_value_heads)]
    return Layer(
        qkv=np.ascontiguousarray(np.concatenate(qkv) * weight("input_layernorm")),
        norms=np.concatenate([np.tile(norm, (heads, 1)) for norm, heads in norms]),
        out=weight("self_attn.o_proj"),
        gate_up=np.ascontiguousarray(
            np.concatenate([weight("mlp.gate_proj"), weight("mlp.up_proj")]) * weight("post_attention_layernorm")
        ),
        down=weight("mlp.down_proj"),
    )


def _turns(shape: Shape) -> NDArray[np.complex64]:
    """What a position multiplies each pair with, [window, head_dim / 2]; angles in 32 bits, as in transformers."""
    exponents = np.arange(0, shape.head_dim, 2, dtype=np.float32) / np.float32(shape.head_dim)
    frequencies = np.float32(1) / np.float32(shape.rope_parameters.rope_theta) ** exponents
    angles = np.arange(shape.max_position_embeddings, dtype=np.float32)[:, None] * frequencies
    return np.exp(1j * angles).astype(np.complex64)
