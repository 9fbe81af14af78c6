"""The local engine against transformers and against vLLM, on the same folder."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from infra.engine import Chat, Completion, Engine
from infra.local.chat import LocalChat
from infra.local.checkpoint import read_shape, read_weights
from infra.local.engine import SHIPPED, LocalEngine, LocalSettings
from infra.local.prompts import read
from infra.local.qwen3 import LocalModel
from infra.openai_engine import OpenAIEngine, OpenAISettings
from infra.sampler import Sampler
from tasks.benchmarks import BUILT_IN
from tasks.campaign.prompt import PAPER_TEMPLATE, PromptTemplate
from tasks.compaction import conclusion
from tests.contract.conftest import HERE, VLLM_VENV, absent, free_port, server, show_on_failure

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


GREEDY = Sampler(model="shipped", temperature=0.0, max_tokens=400)
PROBLEMS = 4
"""Of each benchmark; asked bare, and with 4 and with 16 references."""


@pytest.fixture(scope="module")
def shipped_on_vllm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a vLLM server with the shipped model in 32 bits, as the local engine computes."""
    if not (VLLM_VENV / "bin/vllm").exists():
        absent("vLLM", "tests/contract/setup_vllm.sh")
    log, port = tmp_path_factory.mktemp("vllm") / "log", free_port()
    show_on_failure(request.config, "vLLM", log)
    base = f"http://127.0.0.1:{port}"
    command = [HERE / "serve_vllm.sh", SHIPPED, port, GREEDY.model, "--dtype", "float32"]
    with server(command, f"{base}/health", log, seconds=240):
        yield f"{base}/v1"


async def test_greedy_text_is_vllm_s_to_the_letter(shipped_on_vllm: str) -> None:
    local = LocalEngine(LocalSettings())
    vllm = OpenAIEngine(OpenAISettings(urls=(shipped_on_vllm,)))
    try:
        chats = await bare_and_synthesis_chats(local)
        found = await answers(local, chats, GREEDY)
        wanted = await answers(vllm, chats, GREEDY)
    finally:
        await local.close()
        await vllm.close()
    assert [said(done) for done in found] == [said(done) for done in wanted]
    assert all("Answer: " in (done.content or "") for done in found)


async def bare_and_synthesis_chats(engine: Engine) -> list[Chat]:
    """Problems of both benchmarks, bare and with references that the engine drew."""
    template = PromptTemplate(PAPER_TEMPLATE.read_text(encoding="utf-8"))
    drawn = Sampler(model=GREEDY.model, max_tokens=GREEDY.max_tokens)
    chats: list[Chat] = []
    for name in ("countdown", "arithmetic"):
        for problem in BUILT_IN[name]("validation", PROBLEMS):
            pool = await answers(engine, [problem.chat] * 16, drawn)
            messages = [conclusion(done.content) for done in pool]
            chats += [problem.chat, *(template.write(problem.chat, messages[:count]) for count in (4, 16))]
    return chats


async def answers(engine: Engine, chats: list[Chat], sampler: Sampler) -> list[Completion]:
    return await asyncio.gather(*(engine.complete(chat, sampler, seed) for seed, chat in enumerate(chats)))


def said(done: Completion) -> tuple[str | None, str | None, str, int, int]:
    return done.reasoning, done.content, done.finish_reason, done.prompt_tokens, done.completion_tokens
