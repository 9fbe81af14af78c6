"""A checkpoint folder of the Qwen3 architecture, in Hugging Face's format: its shape and its weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from infra.engine import Rejected

Floats = NDArray[np.float32]

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Rope(BaseModel):
    """The rotary embedding. Only the plain one is computed here."""

    rope_type: Literal["default"] = "default"
    rope_theta: float = 10_000.0


class Shape(BaseModel):
    """What config.json says of the model, under its own names; another architecture does not pass."""

    model_type: Literal["qwen3"]
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    max_position_embeddings: int
    tie_word_embeddings: bool = False
    rope_parameters: Rope
    eos_token_id: int | list[int] | None = None
    hidden_act: Literal["silu"] = "silu"
    attention_bias: Literal[False] = False
    use_sliding_window: Literal[False] = False
    rope_scaling: None = None


def read_shape(folder: Path) -> Shape:
    """The model's shape; raises `Rejected` for a folder that is missing or holds another architecture."""
    if not folder.is_dir():
        raise Rejected(f"{folder} is no folder: engine.model must name a checkpoint's folder")
    config = read_json(folder / CONFIG)
    if "rope_parameters" not in config:
        config["rope_parameters"] = {"rope_theta": config.get("rope_theta", Rope().rope_theta)}
    try:
        return Shape.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise Rejected(
            f"{folder / CONFIG}: {name}: {first['msg']}; the local engine runs plain Qwen3 models only, "
            "serve others with vLLM"
        ) from None


def read_weights(folder: Path, shape: Shape) -> dict[str, Floats]:
    """All tensors by name, in 32 bits; raises `Rejected` where one is missing or of another size.

    The file is a length, a JSON header and the tensors' bytes; safetensors' own library gives numpy no bfloat16.
    """
    raw = read_bytes(folder / WEIGHTS)
    try:
        data = 8 + int.from_bytes(raw[:8], "little")
        stored = json.loads(raw[8:data])
        weights = {name: _floats(stored[name], raw[data:]) for name in sizes(shape) if name in stored}
    except (ValueError, KeyError, TypeError) as error:
        raise Rejected(f"{folder / WEIGHTS} cannot be read ({error!r}): fetch it again") from None
    for name, size in sizes(shape).items():
        found = weights[name].shape if name in weights else "absent"
        if found != size:
            raise Rejected(f"{folder / WEIGHTS}: {name} is {found}, {CONFIG} says {size}: fetch the folder again")
    return weights


def sizes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """The tensors that a model of this shape has."""
    hidden, inner, head = shape.hidden_size, shape.intermediate_size, shape.head_dim
    queries, keys = shape.num_attention_heads * head, shape.num_key_value_heads * head
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.q_norm": (head,),
        "self_attn.k_norm": (head,),
        "self_attn.o_proj": (hidden, queries),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    vocabulary = (shape.vocab_size, hidden)
    return {
        "model.embed_tokens.weight": vocabulary,
        "model.norm.weight": (hidden,),
        **({} if shape.tie_word_embeddings else {"lm_head.weight": vocabulary}),
        **{
            f"model.layers.{number}.{name}.weight": size
            for number in range(shape.num_hidden_layers)
            for name, size in layer.items()
        },
    }


def _floats(tensor: Mapping[str, Any], data: bytes) -> Floats:
    """A stored tensor in 32 bits. A bfloat16 is the upper half of a float32; numpy has no name for it."""
    start, end = tensor["data_offsets"]
    kind = {"BF16": "<u2", "F16": "<f2", "F32": "<f4"}[tensor["dtype"]]
    values = np.frombuffer(data[start:end], kind)
    if tensor["dtype"] == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32).reshape(tensor["shape"])


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of the folder; raises `Rejected` where there is none."""
    try:
        content = json.loads(read_bytes(path))
    except ValueError as error:
        raise Rejected(f"{path} is no JSON ({error}): fetch it again") from None
    if not isinstance(content, dict):
        raise Rejected(f"{path} holds no JSON object: fetch it again")
    return content


def read_bytes(path: Path) -> bytes:
    """A file of the folder; raises `Rejected` where it is missing."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Rejected(f"{path} cannot be read ({error.strerror}): the checkpoint's folder must hold it") from None
