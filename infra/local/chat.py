"""Chats to tokens and tokens to text, by the checkpoint's own template and tokenizer."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from infra.answer_stream import CLOSE, OPEN, split_thinking
from infra.engine import Chat, Rejected
from infra.local.checkpoint import read_bytes, read_json

TEMPLATE, TOKENIZER, TOKENIZER_CONFIG = "chat_template.jinja", "tokenizer.json", "tokenizer_config.json"
PROMPTS_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """What a generation says, its tags dropped, and how many of its tokens lie before the last `</think>`."""

    reasoning: str | None
    content: str | None
    reasoning_tokens: int


class LocalChat:
    """The tokenizer and the chat template of a checkpoint's folder. Raises `Rejected` where they cannot be read."""

    def __init__(self, folder: Path) -> None:
        try:
            self._tokenizer = Tokenizer.from_str(read_bytes(folder / TOKENIZER).decode())
        except Rejected:
            raise
        except Exception as error:  # the library raises nothing narrower
            raise Rejected(f"{folder / TOKENIZER} is no tokenizer ({error}): fetch it again") from None
        self._config = read_json(folder / TOKENIZER_CONFIG)
        self._template = _compile(folder, self._config)
        self._close: int | None = self._tokenizer.token_to_id(CLOSE)
        self._open: int | None = self._tokenizer.token_to_id(OPEN)
        self._encode = lru_cache(PROMPTS_REMEMBERED)(self._encode_anew)

    def prompt(self, chat: Chat, options: dict[str, Any]) -> str:
        """The chat as the template writes it, up to where the answer begins."""
        named = {name: value for name, value in self._config.items() if name.endswith("_token")}
        given = {**named, "messages": chat, "add_generation_prompt": True, **options}
        try:
            return self._template.render(given)
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise Rejected(f"the chat template refuses the chat: {error}; correct sampler.chat_template") from None

    def tokens(self, prompt: str) -> tuple[int, ...]:
        """The prompt's tokens."""
        return self._encode(prompt)

    def _encode_anew(self, prompt: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(prompt, add_special_tokens=False).ids)

    def text(self, tokens: list[int]) -> str:
        """The text of tokens, special ones left out."""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

    def answer(self, prompt: str, tokens: list[int], text: str) -> Answer:
        """Split a text at its last `</think>`, as vLLM does: newlines after it stay with the content.

        A prompt that ends on `<think>` has opened the reasoning already.
        """
        opened = prompt.rstrip().endswith(OPEN)
        reasoning, content = split_thinking(OPEN + text if opened else text)
        return Answer(reasoning, content, self._count(reasoning, content, tokens))

    def _count(self, reasoning: str | None, content: str | None, tokens: list[int]) -> int:
        if reasoning is None:
            return 0
        if self._close in tokens:
            tokens = tokens[: len(tokens) - 1 - tokens[::-1].index(self._close)]
        elif content is not None:  # the tag was spelt in pieces
            return len(self._tokenizer.encode(reasoning, add_special_tokens=False).ids)
        return len(tokens) - (tokens[:1] == [self._open])


def _compile(folder: Path, config: dict[str, Any]) -> Template:
    """The chat template, in the environment that transformers gives it: what it can do is bounded."""
    inline = config.get("chat_template")
    source = inline if isinstance(inline, str) else read_bytes(folder / TEMPLATE).decode()
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise Rejected(f"the chat template of {folder} cannot be read: {error}") from None


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
