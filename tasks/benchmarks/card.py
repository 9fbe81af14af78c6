"""Cards: what a published benchmark is, where its rows are, and how the paper runs it (Section 3.2). No text of it."""

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

CARDS = Path(__file__).with_name("cards")

Shape = Literal["gpqa", "gsm8k", "hle", "livecodebench", "multichallenge"]


class Fields(BaseModel):
    """Which column of the benchmark's rows holds what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = "id"
    problem: str = Field("problem", description="text of the question, or a chat: a list of {role, content}")
    answer: str = "answer"


class Card(BaseModel):
    """One file of `cards/`, called as the benchmark is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    source: tuple[str, ...] = Field(description="files on the Hugging Face hub or elsewhere, read in this order")
    version: str = Field(description="which edition these rows are")
    licence: str
    size: int = Field(description="problems, counted when it is loaded")
    runs: int = Field(description="as the paper runs it, or as its own authors do")
    grader: str
    judge_prompt: str | None = Field(None, description="of the grader judge")
    instruction: str = ""
    fields: Fields = Fields()
    shape: Shape | None = Field(None, description="how a row becomes a problem, where columns do not say: shapes.py")

    @property
    def hub_name(self) -> str | None:
        """Organisation and name on the Hugging Face hub."""
        _, is_there, path = self.source[0].partition("hf://datasets/")
        return "/".join(path.split("/")[:2]) if is_there else None

    def within(self, source: str) -> str:
        """Where a file of the source lies in a copy of its repository."""
        return source.removeprefix(f"hf://datasets/{self.hub_name}/") if self.hub_name else source.rpartition("/")[2]


@cache
def cards() -> dict[str, Card]:
    """All cards by name."""
    files = sorted(CARDS.glob("*.yaml"))
    return {
        file.stem: Card.model_validate({"name": file.stem, **yaml.safe_load(file.read_text(encoding="utf-8"))})
        for file in files
    }
