"""Writes a model as a plain Hugging Face folder that transformers and vLLM load, and reads it back."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from tasks.training.model import Qwen3, Shape
from tasks.training.tokenizer import END, PAD
from tasks.training.tokenizer import save as save_tokenizer

FOLDER_DTYPE = torch.bfloat16


def write(model: Qwen3, tokenizer: Tokenizer, folder: Path) -> None:
    """Write config.json, generation_config.json, model.safetensors and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        f"model.{name}": weight.detach().to(FOLDER_DTYPE).contiguous() for name, weight in model.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save_tokenizer(tokenizer, folder, model.shape.max_position_embeddings)
    special = {
        "eos_token_id": tokenizer.token_to_id(END),
        "pad_token_id": tokenizer.token_to_id(PAD),
    }
    _json(folder / "config.json", _config(model.shape) | special)
    _json(
        folder / "generation_config.json",
        special | {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0},
    )


def read(folder: Path) -> tuple[Qwen3, Tokenizer]:
    """The model (32-bit parameters) and the tokenizer of a folder."""
    config = json.loads((folder / "config.json").read_text())
    rope = config["rope_parameters"]["rope_theta"]
    fields = {name: config[name] for name in Shape.__dataclass_fields__ if name in config}
    model = Qwen3(Shape(**fields | {"rope_theta": rope}))
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict({n.removeprefix("model."): w.float() for n, w in weights.items()})
    return model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))


def _config(shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "dtype": "bfloat16",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_attention_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "rope_theta": shape.rope_theta,
        "max_position_embeddings": shape.max_position_embeddings,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "use_cache": True,
        "use_sliding_window": False,
    }


def _json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
