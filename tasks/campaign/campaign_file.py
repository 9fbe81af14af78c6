"""The campaign file: benchmark × sampler × methods × runs, in YAML."""

import itertools
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from infra.engines import ENGINES, EngineSettings, with_absolute_folder
from infra.sampler import Sampler
from tasks.benchmarks.card import Card, Fields, cards
from tasks.benchmarks.split import Split
from tasks.campaign.method import Method, parse_method
from tasks.campaign.price import Price
from tasks.campaign.quote import quoted
from tasks.graders import BUILT_IN
from tasks.graders.judge import JudgeSettings

DEPTH, VALUES = 30, 100_000
"""Most levels and values of a file."""
TOLD = 8
"""Mistakes of a file that are told at once."""
MOST = 1_000_000
"""Of trajectories a pool, and of runs."""


class CampaignError(ValueError):
    """Something in the campaign file, or in what it names, is wrong. One line: what, where, what would be right."""

    def __init__(self, line: str) -> None:
        super().__init__(" ".join(line.split("\n")))  # a quoted key may hold line breaks


def _without_key(uri: str) -> str:
    """A URI as it is. Raises ValueError where it holds more than a place: it would be stored with the campaign."""
    place = uri.partition("://")[2]
    if "@" in place.split("/", 1)[0] or "?" in place:
        raise ValueError(
            "the URI holds more than a place, and would be stored with the campaign; keys belong in the environment "
            "(for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
        )
    return uri


class BenchmarkSource(BaseModel):
    """Where the problems come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="a benchmark's name, or JSONL, Parquet or CSV: a path, a pattern with * or a URI")
    name: str | None = Field(None, description="of a published benchmark, where path is your own copy of it")
    fields: Fields | None = Field(None, description="which columns hold id, problem and answer")
    instruction: str | None = Field(
        None, description="appended to the question after a blank line, e.g. how to state the answer"
    )
    limit: int | None = Field(None, ge=1, le=100_000, description="only the first so many problems")
    split: Split = Field("test", description="of a built-in benchmark: train, validation or test")
    seed: int = Field(0, description="of what a benchmark leaves open, such as the order of choices")

    @field_validator("path")
    @classmethod
    def _path_without_key(cls, path: str) -> str:
        return _without_key(path)

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.name and self.name not in cards():
            raise ValueError(f"name: {quoted(self.name)} is no published benchmark; known: {', '.join(cards())}")
        return self

    @property
    def card(self) -> Card | None:
        """What is known of a published benchmark."""
        return cards().get(self.name or self.path)

    @property
    def known_as(self) -> str:
        """Its name, or that of its file without folder and ending."""
        return self.name or Path(self.path).stem


def _source(given: Any) -> Any:
    if isinstance(given, str):
        return {"path": given}
    return {"path": given["name"], **given} if isinstance(given, dict) and given.get("name") else given


class Overflow(BaseModel):
    """What is done when a prompt and the room for the answer exceed the model's window."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: Literal["fail", "drop_longest", "truncate_messages"] = "fail"
    room: int | None = Field(
        None,
        ge=1,
        description="tokens kept free for the answer; absent: sampler.max_tokens, or a quarter of the window",
    )


GraderChoice = Annotated[
    Annotated[str, Tag("name")] | Annotated[JudgeSettings, Tag("judge")],
    Discriminator(lambda given: "judge" if isinstance(given, dict | JudgeSettings) else "name"),
]


class Campaign(BaseModel):
    """One campaign. Relative paths in the file are relative to the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="letters, digits, '.', '_', '-'")
    benchmark: Annotated[BenchmarkSource, BeforeValidator(_source)]
    grader: GraderChoice = Field(description=f"{', '.join(BUILT_IN)}, module:function, or {{kind: judge, …}}")
    sampler: Sampler
    engine: EngineSettings
    pool: int = Field(
        ge=1, le=MOST, description="first-round trajectories generated for each problem, shared by all methods"
    )
    methods: tuple[Any, ...] = Field(
        min_length=1,
        description="presets by name, lists such as [16, 4], or {name, rounds}; see tasks/campaign/method.py",
    )
    store: str = Field(min_length=1, description="s3://bucket/prefix or a local folder")
    runs: int = Field(1, ge=1, le=MOST, description="independent repetitions of each method on each problem")
    template: str | None = Field(None, description="Jinja file of the synthesis prompt; absent: the paper's")
    overflow: Overflow = Overflow()
    quorum: float = Field(1.0, gt=0, le=1, description="share of a round's trajectories that must be there to go on")
    shard_size: int | None = Field(None, ge=1, description="problems a shard; absent: a few dozen shards a campaign")
    price: Price | None = Field(None, description="per_million_tokens, or gpus and perhaps gpu_hour")
    commit_seconds: float = Field(5.0, gt=0, description="finished trajectories wait at most so long to be stored")
    grace_seconds: float = Field(10.0, ge=1, description="from SIGTERM, SIGINT or SIGUSR1 to the end of the process")

    @property
    def grader_name(self) -> str:
        """What its verdicts are known by in the store."""
        return self.grader if isinstance(self.grader, str) else self.grader.name

    @field_validator("store")
    @classmethod
    def _store_without_key(cls, store: str) -> str:
        return _without_key(store)

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, given: Any) -> Any:
        """Grader and runs of a published benchmark, where the file leaves them open."""
        source = _source(given.get("benchmark")) if isinstance(given, dict) else None
        name = (source.get("name") or source.get("path")) if isinstance(source, dict) else None
        card = cards().get(name) if isinstance(name, str) else None
        if card is None:
            return given
        grader = given.get("grader") or card.grader
        if grader == "judge":
            raise ValueError(
                f"grader: {card.name} is graded by a model of your choice; give grader: "
                "{kind: judge, engine: {urls: […]}, sampler: {model: …}}"
            )
        if isinstance(grader, dict) and card.judge_prompt:
            grader = {"prompt": card.judge_prompt, **grader}
        return {"runs": card.runs, **given, "grader": grader}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        methods = parse_methods(self)
        names = [method.name for method in methods]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"methods: {', '.join(sorted(twice))} given more than once; name each method once")
        for method in methods:
            if method.widths[0] > self.pool:
                raise ValueError(
                    f"pool: {self.pool} given, but {method.name} draws {method.widths[0]} in its first round; "
                    f"set pool to at least {method.widths[0]}"
                )
        return self


def parse_methods(campaign: Campaign) -> list[Method]:
    """The campaign's methods in full. Raises ValueError."""
    try:
        return [parse_method(method) for method in campaign.methods]
    except ValueError as error:
        raise ValueError(f"methods: {error}") from error


def load_campaign(path: str | os.PathLike[str]) -> Campaign:
    """The one campaign in a YAML file.

    Raises:
        CampaignError: no such file, no YAML, a key that is unknown, missing or wrong, or several campaigns.
    """
    campaigns = load_campaigns(path)
    if len(campaigns) > 1:
        raise CampaignError(f"{path}: holds {len(campaigns)} campaigns (each); give a file with the one that is meant")
    return campaigns[0]


def load_campaigns(path: str | os.PathLike[str]) -> list[Campaign]:
    """The campaigns in a YAML file: one, or with `each` one an entry, whose keys add to or replace the others.

    Raises:
        CampaignError: no such file, no YAML, or a key that is unknown, missing or wrong.
    """
    file = Path(path)
    given = read_mapping(file, "a campaign is a mapping of keys such as name, benchmark, sampler, methods")
    campaigns = [_campaign(file, keys) for keys in _each(file, given)]
    names = [campaign.name for campaign in campaigns]
    if twice := {name for name in names if names.count(name) > 1}:
        raise CampaignError(f"{file}: each: {', '.join(sorted(twice))} stands twice; give each a name of its own")
    return campaigns


def read_mapping(file: Path, wanted: str) -> dict[str, Any]:
    """The keys of a YAML file. Raises `CampaignError`, which says what is `wanted` where they are none."""
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CampaignError(f"{file}: {error.strerror or error}; give the path of a campaign file") from error
    except RecursionError as error:
        raise CampaignError(f"{file}: nested too deep; {wanted}") from error
    except (yaml.YAMLError, ValueError, AttributeError, KeyError) as error:  # !!timestamp and !!bool raise all
        raise CampaignError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict):
        raise CampaignError(f"{file}: {wanted}")
    _check_values(file, given)
    return given


def _check_values(file: Path, given: dict[str, Any]) -> None:
    """Refuse what no campaign needs: text that is not Unicode, and aliases or brackets that unfold without end."""
    values: list[tuple[Any, int]] = [(given, 0)]
    for seen in itertools.count():
        if not values:
            return
        value, depth = values.pop()
        if depth > DEPTH or seen > VALUES:
            raise CampaignError(f"{file}: nested too deep or too large; at most {DEPTH} levels and {VALUES:,} values")
        if isinstance(value, dict):
            values += [(part, depth + 1) for item in value.items() for part in item]
        elif isinstance(value, list):
            values += [(part, depth + 1) for part in value]
        elif isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise CampaignError(f"{file}: {quoted(value)} is no Unicode text; correct its \\u escapes")
        elif not isinstance(value, str | int | float | None):
            raise CampaignError(f"{file}: {quoted(value)} is no plain value; write text, numbers, lists and mappings")


def _each(file: Path, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The keys of every campaign of a file. An entry without a name is called after its benchmark."""
    if "each" not in given:
        return [given]
    shared = {key: value for key, value in given.items() if key != "each"}
    entries = given["each"]
    if not (isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)):
        raise CampaignError(f"{file}: each is a list of mappings, such as - {{benchmark: countdown, runs: 8}}")
    return [{**shared, "name": _name_of(shared, entry), **entry} for entry in entries]


def _name_of(shared: dict[str, Any], entry: dict[str, Any]) -> str:
    benchmark = entry.get("benchmark", "")
    path = benchmark.get("name") or benchmark.get("path", "") if isinstance(benchmark, dict) else benchmark
    return f"{shared.get('name', '')}-{Path(str(path)).stem}"


def _campaign(file: Path, given: dict[str, Any]) -> Campaign:
    try:
        campaign = Campaign.model_validate(given)
    except ValidationError as error:
        raise CampaignError(f"{file}: {explain(error, Campaign)}") from error
    return _with_absolute_paths(campaign, file.resolve().parent)


def _with_absolute_paths(campaign: Campaign, folder: Path) -> Campaign:
    benchmark = campaign.benchmark
    if "." in benchmark.path or "/" in benchmark.path:
        benchmark = benchmark.model_copy(update={"path": absolute(benchmark.path, folder)})
    return campaign.model_copy(
        update={
            "benchmark": benchmark,
            "store": absolute(campaign.store, folder),
            "template": campaign.template and absolute(campaign.template, folder),
            "engine": with_absolute_folder(campaign.engine, folder),
            "grader": _with_absolute_paths_of_judge(campaign.grader, folder),
        }
    )


def _with_absolute_paths_of_judge(grader: str | JudgeSettings, folder: Path) -> str | JudgeSettings:
    if isinstance(grader, str):
        return grader
    own = "." in grader.prompt or "/" in grader.prompt
    return grader.model_copy(
        update={
            "engine": with_absolute_folder(grader.engine, folder),
            "prompt": absolute(grader.prompt, folder) if own else grader.prompt,
        }
    )


def absolute(path: str, folder: Path) -> str:
    """A path of a file in a folder; a URI as it is."""
    return path if "://" in path else str((folder / Path(path).expanduser()).resolve())


def explain(error: ValidationError, file: type[BaseModel]) -> str:
    """What is wrong with the keys of a file, on one line: the first mistakes, and how many more there are."""
    told = [_explain_one(dict(problem), file) for problem in error.errors()[:TOLD]]
    more = [f"and {error.error_count() - TOLD} more"] if error.error_count() > TOLD else []
    text = "; ".join(told + more)
    return re.sub(r"(?<=//)[^/@\s'\"]+@", "***@", text)  # a key in a URL


def _explain_one(problem: dict[str, Any], file: type[BaseModel]) -> str:
    where = ".".join(str(part)[:100] for part in _keys(problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{where} is missing{_meaning(problem['loc'], file)}"
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        known = ", ".join(_fields_at(problem["loc"][:-1], file))
        return f"{where} is no key; known here: {known}"
    if problem["type"] == "engine_kind":
        given = problem["input"].get("kind") if isinstance(problem["input"], dict) else problem["input"]
        return f"{where}.kind: {quoted(given)} given; {message[0].lower()}{message[1:]}"
    if problem["type"] == "value_error":
        return f"{where}: {message}" if where else message
    return (
        f"{where}: {quoted(problem['input'])} given; {message[0].lower()}{message[1:]}{_meaning(problem['loc'], file)}"
    )


def _keys(location: tuple[int | str, ...]) -> list[int | str]:
    """A location without the names of alternatives that pydantic puts into it."""
    tags = {*ENGINES, "judge"}
    return [
        part for place, part in enumerate(location) if part not in tags and location[place - 1 : place] != ("grader",)
    ]


def _meaning(location: tuple[int | str, ...], file: type[BaseModel]) -> str:
    model = _model_at(location[:-1], file)
    field = model.model_fields.get(str(location[-1])) if model and location else None
    return f" ({field.description})" if field and field.description else ""


def _fields_at(location: tuple[int | str, ...], file: type[BaseModel]) -> list[str]:
    model = _model_at(location, file)
    return list(model.model_fields) if model else []


def _model_at(location: tuple[int | str, ...], file: type[BaseModel]) -> type[BaseModel] | None:
    model = file
    for part in location:
        if isinstance(part, int) or part in ("engine", "grader"):
            continue
        if part in ENGINES:
            model = ENGINES[part]
            continue
        if part == "judge":
            model = JudgeSettings
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        models = [one for one in (annotation, *get_args(annotation)) if _is_model(one)]
        if not models:
            return None
        model = models[0]
    return model


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
