"""The local engine on a small random checkpoint: what it says, and that a batch changes nothing of it."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import infra.local.batch
from infra.engine import Chat, Completion, EngineError, Rejected, TooLong, Unreachable
from infra.local.chat import LocalChat
from infra.local.checkpoint import Floats, Shape, read_shape, read_weights, sizes
from infra.local.engine import LocalEngine, LocalSettings
from infra.local.lanes import pages_for
from infra.local.prompts import PAGE, Prompt, Prompts, read
from infra.local.qwen3 import LocalModel
from infra.local.sampling import Dials, choose, uniform
from infra.sampler import Sampler

SAMPLER = Sampler(model="any", max_tokens=24)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if think is defined and think %}<think>\n{% endif %}"
    "{% endif %}"
)
SHAPE: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 2048,
    "rope_theta": 10_000.0,
}


def write_checkpoint(folder: Path, **config: Any) -> Path:
    """A folder as transformers writes it, with random weights and a tokenizer of single bytes."""
    tokenizer = Tokenizer(models.BPE(vocab={byte: at for at, byte in enumerate(alphabet())}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(["<think>", "</think>"])
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id("<|im_end|>")
    written = {**SHAPE, "vocab_size": tokenizer.get_vocab_size(), "eos_token_id": end, **config}
    (folder / "config.json").write_text(json.dumps(written))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "model.safetensors").write_bytes(random_weights(read_shape(folder)))
    return folder


def alphabet() -> list[str]:
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def random_weights(shape: Shape) -> bytes:
    chooser = np.random.default_rng(0)
    header, data = {}, b""
    for name, size in sizes(shape).items():
        values = (chooser.standard_normal(size, np.float32) * 0.15 + (len(size) == 1)).astype(np.float32)
        start = len(data)
        data += (values.view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": list(size), "data_offsets": [start, len(data)]}
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder: Path) -> LocalModel:
    return load(folder)


def load(folder: Path) -> LocalModel:
    shape = read_shape(folder)
    return LocalModel(shape, read_weights(folder, shape))


@asynccontextmanager
async def engine_on(folder: Path, in_flight: int = 64) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(LocalSettings(model=folder, in_flight=in_flight))
    try:
        yield engine
    finally:
        await engine.close()


def ask(text: str) -> Chat:
    return [{"role": "user", "content": text}]


def said(done: Completion) -> tuple[str | None, str | None, str, int]:
    return done.reasoning, done.content, done.finish_reason, done.completion_tokens


# --- what it says --------------------------------------------------------------------------------


async def test_a_completion_carries_text_and_counts(folder: Path) -> None:
    async with engine_on(folder) as engine:
        done = await engine.complete(ask("Hello"), SAMPLER, seed=1)
        counted = await engine.count_tokens(ask("Hello"), SAMPLER)
    assert done.content
    assert done.prompt_tokens == counted == len("_user\nHello_\n_assistant\n")
    assert 0 < done.completion_tokens <= 24
    assert (done.engine, done.attempts, done.cached_tokens) == ("local", 1, 0)


@pytest.mark.parametrize("tied", [True, False])
async def test_at_temperature_0_each_token_is_the_likeliest_after_all_before_it(tmp_path: Path, tied: bool) -> None:
    folder = write_checkpoint(tmp_path / "model", tie_word_embeddings=tied)
    model, chat = load(folder), LocalChat(folder)
    question = "x" * (2 * PAGE - 20)
    async with engine_on(folder) as engine:
        done = await engine.complete(ask(question), Sampler(model="any", temperature=0, max_tokens=40), seed=1)
    tokens = list(chat.tokens(chat.prompt(ask(question), {})))
    start = len(tokens)
    for _ in range(done.completion_tokens):
        tokens.append(int(read(model, tuple(tokens)).logits.argmax()))
    assert chat.text(tokens[start:]) == done.content


async def test_scores_that_are_too_large_for_an_exponential_are_shifted(
    folder: Path, model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not model.peaked
    questions = ["short", "long " * 70]

    async def answers() -> list[Any]:
        async with engine_on(folder) as engine:
            return [said(await engine.complete(ask(question), SAMPLER, seed=1)) for question in questions]

    plain = await answers()
    monkeypatch.setattr(LocalModel, "peaked", True)
    assert await answers() == plain


async def test_a_generation_runs_to_its_limit_or_to_the_end_of_the_window(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", max_position_embeddings=200, eos_token_id=None)
    async with engine_on(folder) as engine:
        short = await engine.complete(ask("Hi"), Sampler(model="any", max_tokens=7), seed=1)
        whole = await engine.complete(ask("Hi"), Sampler(model="any"), seed=1)
    assert (short.finish_reason, short.completion_tokens) == ("length", 7)
    assert (whole.finish_reason, whole.completion_tokens + whole.prompt_tokens) == ("length", 200)


async def test_a_generation_ends_at_the_end_token(folder: Path) -> None:
    async with engine_on(folder) as engine:
        asked = (engine.complete(ask("Hi"), Sampler(model="any", max_tokens=1500), seed) for seed in range(8))
        done = await asyncio.gather(*asked)
    assert {answer.finish_reason for answer in done} == {"stop"}
    assert not any("<|im_end|>" in (answer.content or "") for answer in done)


async def test_a_stop_string_ends_a_generation_and_is_no_part_of_it(folder: Path) -> None:
    async with engine_on(folder) as engine:
        free = await engine.complete(ask("Hi"), Sampler(model="any", max_tokens=100), seed=3)
        assert free.content
        stop = free.content[5:8]
        stopped = await engine.complete(ask("Hi"), Sampler(model="any", max_tokens=100, stop=(stop,)), seed=3)
    assert stopped.content == free.content[: free.content.index(stop)]
    assert stopped.finish_reason == "stop"
    assert stopped.completion_tokens < free.completion_tokens


def test_text_is_split_at_the_last_close_and_newlines_stay_with_the_content(folder: Path) -> None:
    chat = LocalChat(folder)

    def split(prompt: str, text: str) -> Any:
        answer = chat.answer(prompt, list(chat.tokens(text)), text)
        return answer.reasoning, answer.content, answer.reasoning_tokens

    assert split("", "<think>\nab</think>\n\nThe answer.\n") == ("\nab", "\n\nThe answer.\n", 3)
    assert split("", "Just this.") == (None, "Just this.", 0)
    assert split("", "<think>\nab") == ("\nab", None, 3)
    assert split("…<think>\n", "ab</think>\n\n") == ("ab", "\n\n", 2)
    assert split("…<think>\n", "ab</think>") == ("ab", None, 2)
    assert split("…<think>\n", "ab") == ("ab", None, 2)


async def test_options_of_the_chat_template_count(folder: Path) -> None:
    async with engine_on(folder) as engine:
        plain = await engine.count_tokens(ask("Hi"), SAMPLER)
        thinking = Sampler(model="any", max_tokens=5, chat_template={"think": True})
        assert await engine.count_tokens(ask("Hi"), thinking) == plain + 2
        assert (await engine.complete(ask("Hi"), thinking, seed=1)).reasoning


# --- whatever else is in the batch ---------------------------------------------------------------


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, int], bytes]:
    """The bits of all logits that tokens were drawn from, by the request's key and the token's number."""
    seen: dict[tuple[int, int], bytes] = {}

    def recording(logits: Floats, dials: Dials, numbers: Any) -> Any:
        for key, number, row in zip(dials.keys.tolist(), numbers.tolist(), logits, strict=True):
            assert seen.setdefault((key, number), row.tobytes()) == row.tobytes()
        return choose(logits, dials, numbers)

    monkeypatch.setattr(infra.local.batch, "choose", recording)
    return seen


async def test_the_same_seed_gives_the_same_bits_whatever_else_is_in_the_batch(
    folder: Path, scores: dict[tuple[int, int], bytes]
) -> None:
    chooser = random.Random(0)
    questions = ["Hi", "What is 2 + 3?", "a" * 300, "b" * 120, "c" * 700]
    wanted = [
        (chooser.choice(questions), Sampler(model="any", max_tokens=chooser.randint(1, 160)), seed)
        for seed in range(240)
    ]

    async def answers(in_flight: int) -> dict[int, Any]:
        async with engine_on(folder, in_flight) as engine:
            order = chooser.sample(wanted, len(wanted))
            done = await asyncio.gather(*(engine.complete(ask(text), sampler, seed) for text, sampler, seed in order))
        return {seed: said(answer) for (_, _, seed), answer in zip(order, done, strict=True)}

    alone = await answers(1)
    count = len(scores)
    for in_flight in (3, 17, 64, 200):
        assert await answers(in_flight) == alone
    assert len(scores) == count > 10_000


async def test_another_seed_gives_another_text(folder: Path) -> None:
    async with engine_on(folder) as engine:
        texts = {(await engine.complete(ask("Hi"), SAMPLER, seed)).content for seed in range(10)}
    assert len(texts) == 10


# --- drawing -------------------------------------------------------------------------------------


def drawn(probabilities: list[float], sampler: Sampler, count: int = 20_000) -> np.ndarray:
    """Shares of the tokens in so many draws."""
    with np.errstate(divide="ignore"):
        logits = np.log(np.array(probabilities, np.float32))
    dials = Dials.of([sampler] * count, range(count), len(logits))
    tokens = choose(np.tile(logits, (count, 1)), dials, np.zeros(count, np.uint64))
    return np.bincount(tokens, minlength=len(logits)) / count


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({}, [0.1, 0.4, 0, 0.3, 0.2]),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7, 0]),
        ({"top_p": 0.75}, [0, 4 / 9, 0, 3 / 9, 2 / 9]),
        ({"min_p": 0.6}, [0, 4 / 7, 0, 3 / 7, 0]),
        ({"top_k": 3, "top_p": 0.5}, [0, 4 / 7, 0, 3 / 7, 0]),
        ({"temperature": 0.5}, [1 / 30, 16 / 30, 0, 9 / 30, 4 / 30]),
        ({"temperature": 0}, [0, 1, 0, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_the_sampler_says(options: dict[str, Any], shares: list[float]) -> None:
    found = drawn([0.1, 0.4, 0, 0.3, 0.2], Sampler(model="any", **options))
    assert found == pytest.approx(shares, abs=0.015)
    assert not found[np.array(shares) == 0].any()


def test_a_row_s_sampler_is_its_own() -> None:
    samplers = [Sampler(model="any", temperature=0), Sampler(model="any"), Sampler(model="any", top_k=1)]
    logits = np.tile(np.array([0.0, 0.1, 0.0], np.float32), (300, 1))
    tokens = choose(logits, Dials.of(samplers * 100, range(300), 3), np.zeros(300, np.uint64))
    assert (set(tokens[::3]), set(tokens[1::3]), set(tokens[2::3])) == ({1}, {0, 1, 2}, {1})


def test_random_numbers_are_uniform_over_counts_and_over_seeds() -> None:
    counts = np.arange(50_000, dtype=np.uint64)
    dials = Dials.of([SAMPLER] * 50_000, range(50_000), 3)
    for numbers in (uniform(dials.keys[:1], counts), uniform(dials.keys, counts[:1])):
        assert np.histogram(numbers, 20, (0, 1))[0] == pytest.approx(2_500, abs=250)
        assert np.corrcoef(numbers[1:], numbers[:-1])[0, 1] == pytest.approx(0, abs=0.02)


# --- prompts -------------------------------------------------------------------------------------


async def test_a_prompt_that_requests_share_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    def counting(model: LocalModel, tokens: tuple[int, ...]) -> Prompt:
        reads.append(len(tokens))
        return read(model, tokens)

    monkeypatch.setattr("infra.local.prompts.read", counting)
    async with engine_on(folder) as engine:
        done = await asyncio.gather(*(engine.complete(ask("y" * 300), SAMPLER, seed) for seed in range(20)))
    assert len(reads) == 1
    assert sorted(answer.cached_tokens for answer in done) == [0] + [done[0].prompt_tokens] * 19


def test_the_prompts_that_were_used_longest_ago_are_forgotten(model: LocalModel) -> None:
    first, second, third = ((number,) * 50 for number in (1, 2, 3))
    prompts = Prompts(model, limit=read(model, first).size * 2)
    prompts.get(first)
    prompts.get(second)
    prompts.get(first)
    prompts.get(third)
    assert [prompts.get(tokens)[1] for tokens in (first, third, second)] == [True, True, False]


def test_pages_grow_by_halves() -> None:
    found = sorted({pages_for(length) for length in range(1, 16 * PAGE)})
    assert found == [1, 2, 3, 4, 6, 8, 12, 16]
    assert all(pages_for(length) * PAGE >= length for length in range(1, 5_000))


# --- refusals ------------------------------------------------------------------------------------


async def test_a_prompt_that_leaves_no_room_is_too_long(folder: Path) -> None:
    async with engine_on(folder) as engine:
        assert await engine.window(SAMPLER) == 2048
        for length, sampler in ((2048, Sampler(model="any")), (2020, SAMPLER)):
            with pytest.raises(TooLong, match="window of 2048"):
                await engine.complete(ask("z" * length), sampler, seed=1)


@pytest.mark.parametrize(
    "name", ["", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
)
async def test_check_names_what_is_missing(tmp_path: Path, name: str) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / name).rename(tmp_path / "elsewhere")
    assert str(folder / name) in await refusal(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "llama"},
        {"attention_bias": True},
        {"use_sliding_window": True},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}},
        {"rope_scaling": {"factor": 2}},
        {"hidden_size": 32},
        {"head_dim": None},
    ],
)
async def test_what_it_cannot_run_is_refused_with_the_name_of_it(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | config))
    assert "config.json" in await refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
async def test_a_torn_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / name).write_bytes((folder / name).read_bytes()[:100])
    assert str(folder / name) in await refusal(folder)


async def test_a_chat_that_the_template_refuses_is_rejected(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}")
    async with engine_on(folder) as engine:
        with pytest.raises(Rejected, match="no system role"):
            await engine.complete(ask("Hi"), SAMPLER, seed=1)


async def refusal(folder: Path) -> str:
    async with engine_on(folder) as engine:
        with pytest.raises(EngineError) as caught:
            await engine.check(SAMPLER)
    assert isinstance(caught.value, Rejected)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the loop ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose answers only the window ends."""
    return write_checkpoint(tmp_path_factory.mktemp("endless"), max_position_embeddings=200_000, eos_token_id=None)


async def test_a_cancelled_request_frees_its_place(endless: Path) -> None:
    async with engine_on(endless, in_flight=1) as engine:
        running = asyncio.create_task(engine.complete(ask("Hi"), Sampler(model="any"), seed=1))
        waiting = asyncio.create_task(engine.complete(ask("Hi"), Sampler(model="any"), seed=2))
        await asyncio.sleep(0.2)
        running.cancel()
        waiting.cancel()
        async with asyncio.timeout(5):
            assert (await engine.complete(ask("Hi"), SAMPLER, seed=3)).content


async def test_closing_ends_what_is_in_flight(endless: Path) -> None:
    async with engine_on(endless) as engine:
        running = asyncio.create_task(engine.complete(ask("Hi"), Sampler(model="any"), seed=1))
        await asyncio.sleep(0.2)
        await engine.close()
        with pytest.raises(Unreachable, match="closed"):
            await running
        with pytest.raises(Unreachable, match="closed"):
            await engine.complete(ask("Hi"), SAMPLER, seed=1)


async def test_the_event_loop_goes_on_meanwhile(endless: Path) -> None:
    async with engine_on(endless) as engine:
        running = [asyncio.create_task(engine.complete(ask("Hi"), Sampler(model="any"), n)) for n in range(64)]
        await asyncio.sleep(0.2)
        began, turns = time.monotonic(), 0
        while time.monotonic() < began + 0.5:
            await asyncio.sleep(0.001)
            turns += 1
        for task in running:
            task.cancel()
    assert turns > 20


async def test_a_broken_step_fails_all_that_wait(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Callable[..., None]:
        raise ZeroDivisionError("a defect")

    async with engine_on(folder) as engine:
        await engine.check(SAMPLER)
        monkeypatch.setattr(LocalModel, "forward", broken)
        for _ in range(2):
            with pytest.raises(Unreachable, match="a defect"):
                await engine.complete(ask("Hi"), SAMPLER, seed=1)
