"""What `pacore serve` serves: a file like a campaign's, without a benchmark."""

import os
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from infra.engines import EngineSettings, with_absolute_folder
from infra.openai_engine import OpenAISettings
from infra.sampler import Sampler
from tasks.campaign.campaign_file import (
    Campaign,
    CampaignError,
    Overflow,
    absolute,
    explain,
    load_campaign,
    parse_methods,
    read_mapping,
)
from tasks.campaign.method import Method, parse_method


class Limits(BaseModel):
    """What one server takes on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: int = Field(64, ge=1, description="requests in flight at once")
    body_bytes: int = Field(16 << 20, ge=1, description="longest request")


class Serving(BaseModel):
    """A model, a method, and how they are offered. Relative paths in the file are relative to the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sampler: Sampler
    engine: EngineSettings
    method: Annotated[
        Method, BeforeValidator(lambda value: value if isinstance(value, Method) else parse_method(value))
    ] = Field(description="a preset by name, a list such as [16, 4], or {name, rounds}")
    pool: int | None = Field(
        None,
        ge=1,
        description="choose first rounds as a campaign with this pool does: seed r as its run r",
    )
    template: str | None = Field(None, description="Jinja file of the synthesis prompt; absent: the paper's")
    overflow: Overflow = Overflow()
    quorum: float = Field(1.0, gt=0, le=1, description="share of a round's trajectories that must be there to go on")
    store: str | None = Field(None, min_length=1, description="where answers are kept; absent: nowhere")
    limits: Limits = Limits()
    api_key_env: str | None = Field(
        None,
        min_length=1,
        description="environment variable that holds the key that clients must give; absent: PACORE_SERVE_API_KEY",
    )
    grace_seconds: int = Field(30, ge=1, description="from SIGTERM to the end of the process")

    @model_validator(mode="after")
    def _answers(self) -> Self:
        if self.method.read_out != "last":
            raise ValueError(
                f"method: {self.method.name} votes, which needs a grader; "
                "serve a method that ends in one trajectory, such as low"
            )
        if self.pool and self.method.widths[0] > self.pool:
            raise ValueError(
                f"pool: {self.pool} given, but {self.method.name} draws {self.method.widths[0]} in its first round; "
                f"set pool to at least {self.method.widths[0]}"
            )
        return self

    @property
    def name(self) -> str:
        """What clients call it."""
        return f"{self.sampler.model}-{self.method.name}"


def load_serving(path: str | os.PathLike[str], method: str | None = None) -> Serving:
    """What a YAML file says is to be served; a campaign's file will do.

    Args:
        path: the file.
        method: in place of the file's: a name that the campaign gave, or whatever a file can say of a method.

    Raises:
        CampaignError: no such file, no YAML, or a key that is unknown, missing or wrong.
    """
    file = Path(path)
    given = read_mapping(file, "a file to serve is a mapping of keys such as sampler, engine, method")
    if {"benchmark", "each"} & given.keys():
        given, folder = _of_campaign(load_campaign(file), method), file.parent
    else:
        given, folder = {**given, **({"method": yaml.safe_load(method)} if method else {})}, file.resolve().parent
    try:
        serving = Serving.model_validate(given)
    except ValidationError as error:
        raise CampaignError(f"{file}: {explain(error, Serving)}") from error
    changes: dict[str, Any] = {
        "engine": with_absolute_folder(serving.engine, folder),
        "store": serving.store and absolute(serving.store, folder),
        "template": serving.template and absolute(serving.template, folder),
    }
    if isinstance(serving.engine, OpenAISettings):  # who asks does not wait until an engine comes back
        changes["engine"] = serving.engine.model_copy(update={"patience_seconds": 0})
    return serving.model_copy(update=changes)


def _of_campaign(campaign: Campaign, method: str | None) -> dict[str, Any]:
    methods = parse_methods(campaign)
    if method is None:
        meant: Any = next((one for one in methods if one.read_out == "last"), methods[0])
    else:
        meant = next((one for one in methods if one.name == method), None) or yaml.safe_load(method)
    shared = ("sampler", "engine", "pool", "template", "overflow", "quorum", "store")
    return {**{key: getattr(campaign, key) for key in shared}, "method": meant}
