"""What `pacore curate` does: sources, benchmarks to keep clear of, and the campaigns whose verdicts filter."""

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tasks.benchmarks import BUILT_IN
from tasks.benchmarks.card import Fields
from tasks.campaign.campaign_file import (
    BenchmarkSource,
    CampaignError,
    absolute,
    explain,
    read_mapping,
)


class Source(BaseModel):
    """Problems of one origin: a line of the funnel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$", description="what the funnel calls it")
    path: str = Field(
        min_length=1, description=f"JSONL, Parquet or CSV: a path, pattern or URI; or {', '.join(BUILT_IN)}"
    )
    fields: Fields | None = Field(
        None, description="which columns hold id, problem and answer; absent: these, or the released form"
    )
    limit: int | None = Field(None, ge=1, description="only the first so many rows")

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.path in BUILT_IN and self.limit is None:
            raise ValueError(f"limit: {self.path} is generated; say how many problems")
        return self


class Stage2(BaseModel):
    """Which runs decide stage 2."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: str = Field(description="a campaign file of the checkpoint, on the same problems")
    method: str = Field(description="the method whose accuracy counts, such as medium")


class Verl(BaseModel):
    """How many messages a training prompt shows, |M| ~ U(a, b), and their draws."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    messages: tuple[Annotated[int, Field(ge=1)], int] = Field((16, 24), description="[a, b], both included")
    seed: int = 0
    epochs: int = Field(1, ge=1, description="files, each with message sets of its own")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.messages[1] < self.messages[0]:
            raise ValueError(f"messages: {list(self.messages)} given; the first is the lesser")
        return self


def _source(given: object) -> object:
    return {"path": given} if isinstance(given, str) else given


class Curation(BaseModel):
    """One curation. Relative paths in the file are relative to the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: str = Field(min_length=1, description="the folder that is written: a path or URI")
    sources: tuple[Source, ...] = Field(min_length=1)
    benchmarks: tuple[Annotated[BenchmarkSource, BeforeValidator(_source)], ...] = Field(
        (), description="what no problem may be taken from: names or files, as a campaign's benchmark"
    )
    campaign: str | None = Field(
        None, description="a campaign file on OUT/problems.jsonl, whose pool decides stage 1; absent: end before it"
    )
    stage_2: Stage2 | None = Field(None, description="absent: no stage 2")
    verl: Verl = Verl()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [source.name for source in self.sources]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"sources: {', '.join(sorted(twice))} stands twice; give each a name of its own")
        if self.stage_2 and not self.campaign:
            raise ValueError("stage_2: needs campaign, whose pool decides stage 1")
        return self


def load_curation(path: str | os.PathLike[str]) -> Curation:
    """The curation in a YAML file.

    Raises:
        CampaignError: no such file, no YAML, or a key that is unknown, missing or wrong.
    """
    file = Path(path)
    given = read_mapping(file, "a curation is a mapping of keys such as sources, benchmarks, out")
    try:
        curation = Curation.model_validate(given)
    except ValidationError as error:
        raise CampaignError(f"{file}: {explain(error, Curation)}") from error
    folder = file.resolve().parent

    def place(path: str) -> str:
        return absolute(path, folder) if "." in path or "/" in path else path

    return curation.model_copy(
        update={
            "out": absolute(curation.out, folder),
            "sources": tuple(one.model_copy(update={"path": place(one.path)}) for one in curation.sources),
            "benchmarks": tuple(one.model_copy(update={"path": place(one.path)}) for one in curation.benchmarks),
            "campaign": curation.campaign and absolute(curation.campaign, folder),
            "stage_2": curation.stage_2
            and curation.stage_2.model_copy(update={"campaign": absolute(curation.stage_2.campaign, folder)}),
        }
    )
