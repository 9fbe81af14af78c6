"""C: what is kept of one trajectory for the next round (Section 2.1)."""

from typing import Literal

Compaction = Literal["conclusion", "full"]
"""`conclusion`: what follows the last `</think>`. `full`: the whole trajectory (the ablation of Figure 4, right)."""


def conclusion(content: str | None) -> str:
    """What follows the last `</think>`; the whole text where there is none; nothing where nothing was concluded."""
    return (content or "").rsplit("</think>", 1)[-1]


def full(reasoning: str | None, content: str | None) -> str:
    """Reasoning and conclusion as the model wrote them."""
    return f"<think>{reasoning}</think>{content or ''}" if reasoning else content or ""
