"""The two prompts that the shipped model sees: a bare problem, and the paper's Table 6."""

from collections.abc import Sequence

from tasks.campaign.prompt import PAPER_TEMPLATE, PromptTemplate

THINK, END_THINK = "<think>", "</think>"
TABLE_6 = PromptTemplate(PAPER_TEMPLATE.read_text(encoding="utf-8"))


def chat_prompt(content: str) -> str:
    """One user turn, and the assistant's turn opened: what the checkpoint's chat template writes."""
    return f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


def synthesis_prompt(problem: str, messages: Sequence[str]) -> str:
    """The user turn of rounds 2 and on."""
    return TABLE_6.write([{"role": "user", "content": problem}], messages)[-1]["content"]
