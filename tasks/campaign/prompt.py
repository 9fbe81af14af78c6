"""P(x, M): the prompt of a round (Section 2.1, Appendix B, Table 6)."""

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from infra.engine import Chat

PromptName = Literal["synthesis", "summary", "distill", "select"]
"""What a round asks for: a solution from messages (P), a summary of one trajectory, a workspace out of many, or the
number of the best message."""

PAPER_TEMPLATE = Path(__file__).with_name("synthesis.jinja")
ORDER_SEED = 42
T = TypeVar("T")


class PromptTemplate:
    """A Jinja template over `original_prompt` (text) and `ref_responses` (list of messages).

    Values are data: nothing that stands in a problem or a message is read as template.
    A source that is no template raises `jinja2.TemplateSyntaxError`.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._compiled = SandboxedEnvironment(undefined=jinja2.StrictUndefined).from_string(source)

    def write(self, problem: Chat, messages: Sequence[str]) -> Chat:
        """The chat with its last user (or tool) turn rewritten to hold the messages; as it is when there are none.

        Earlier turns stay as they are, so a conversation can be given for a problem (Appendix B).
        """
        if not messages:
            return problem
        turn = last_turn(problem)
        content = self._compiled.render(original_prompt=problem[turn]["content"], ref_responses=messages)
        return [*problem[:turn], {**problem[turn], "content": content}, *problem[turn + 1 :]]


def template_of(prompt: PromptName, synthesis: PromptTemplate) -> PromptTemplate:
    """The template of what a round asks for; `synthesis` is the campaign's."""
    return synthesis if prompt == "synthesis" else _shipped(prompt)


@lru_cache
def _shipped(prompt: PromptName) -> PromptTemplate:
    return PromptTemplate(PAPER_TEMPLATE.with_name(f"{prompt}.jinja").read_text(encoding="utf-8"))


def last_turn(chat: Chat) -> int:
    """Index of the most recent user or tool turn. Raises ValueError where there is none."""
    for index in reversed(range(len(chat))):
        if chat[index]["role"] in ("user", "tool"):
            return index
    raise ValueError("the chat has no user turn to answer")


def in_prompt_order(trajectories: Sequence[T], messages: Sequence[str]) -> list[tuple[T, str]]:
    """Messages as the next prompt shows them: by length, then shuffled with a fixed seed, empty ones left out.

    So position tells nothing of finishing time. The order is that of the paper's reference code.
    """
    pairs = sorted(zip(trajectories, messages, strict=True), key=lambda pair: len(pair[1]))
    random.Random(ORDER_SEED).shuffle(pairs)
    return [(trajectory, message) for trajectory, message in pairs if message.strip()]
