"""The local engine's forward pass against transformers, on the same folder."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from infra.local.chat import LocalChat
from infra.local.checkpoint import read_shape, read_weights
from infra.local.engine import SHIPPED
from infra.local.prompts import read
from infra.local.qwen3 import LocalModel
from tests.contract.conftest import HERE, VLLM_VENV, absent

PYTHON = VLLM_VENV / "bin/python"
LENGTHS = (1, 15, 16, 130, 300, 700)
CHAT = [
    {"role": "user", "content": "Reach 24 from 2, 3 and 4. ∑ naïve"},
    {"role": "assistant", "content": "<think>\n2*3=6\n</think>\n\n24=2*3*4"},
    {"role": "user", "content": "Again."},
]

REFERENCE = """
import json, sys
import numpy, torch
from transformers import AutoTokenizer, Qwen3ForCausalLM

folder, out, tokens, chat = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
model = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
with torch.no_grad():
    numpy.save(out, model(torch.tensor([tokens])).logits[0].numpy())
tokenizer = AutoTokenizer.from_pretrained(folder)
print(json.dumps(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)))
"""


@pytest.fixture(scope="module", params=["random", "shipped"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with grouped heads and a head of its own, and the one that comes with the project."""
    if not PYTHON.exists():
        absent("transformers", "tests/contract/setup_vllm.sh")
    if request.param == "shipped":
        if not SHIPPED.exists():
            absent("the shipped model", f"train it into {SHIPPED}")
        return SHIPPED
    folder = tmp_path_factory.mktemp("model")
    subprocess.run([PYTHON, HERE / "tiny_qwen3.py", folder], check=True, capture_output=True)
    return folder


def test_logits_and_the_chat_s_tokens_are_those_of_transformers(folder: Path, tmp_path: Path) -> None:
    shape = read_shape(folder)
    model = LocalModel(shape, read_weights(folder, shape))
    tokens = np.random.default_rng(0).integers(0, shape.vocab_size, max(LENGTHS)).tolist()
    arguments = [folder, tmp_path / "logits.npy", json.dumps(tokens), json.dumps(CHAT)]
    done = subprocess.run([PYTHON, "-c", REFERENCE, *arguments], check=True, capture_output=True, text=True)
    wanted = np.load(tmp_path / "logits.npy")
    for length in LENGTHS:
        found = read(model, tuple(tokens[:length])).logits
        assert found == pytest.approx(wanted[length - 1], abs=1e-3)
    chat = LocalChat(folder)
    assert list(chat.tokens(chat.prompt(CHAT, {}))) == json.loads(done.stdout)
