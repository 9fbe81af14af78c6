"""Methods as data: what each round runs and sees, and how the answer is read out."""

import re
from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from tasks.campaign.prompt import PromptName
from tasks.campaign.quote import quoted
from tasks.compaction import Compaction

ReadOut = Literal["last", "vote", "any", "best"]


class Round(BaseModel):
    """K trajectories, and what the next round gets to see of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(ge=1, le=100_000, description="trajectories, K")
    sees: int | Literal["all", "own"] = Field(
        "all",
        description="messages of the last round in each prompt: all, a random subset of this many for each, or, with "
        "own, of the trajectory in the same place",
    )
    compaction: Compaction = Field("conclusion", description="what the next round sees of each trajectory")
    prompt: PromptName = Field("synthesis", description="what is asked for: synthesis, summary, distill or select")

    @model_validator(mode="before")
    @classmethod
    def _width_alone(cls, value: Any) -> Any:
        return {"width": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _sees_something(self) -> Self:
        if isinstance(self.sees, int) and self.sees < 1:
            raise ValueError(f"sees: {self.sees} given; a round sees 'all' messages, its 'own' or at least 1")
        return self

    @model_serializer(mode="wrap")
    def _prompt_where_it_is_not_synthesis(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A field that came later does not enter the identity of what was there before it."""
        found = dict(fields(self))
        if self.prompt == "synthesis":
            del found["prompt"]
        return found


class Method(BaseModel):
    """A list of rounds, the last included, and a read-out.

    `last`: the last round is one trajectory, its message is the answer. `vote`: majority over the last round's answers;
    over one round alone it is Self-Consistency and is estimated by resampling the pool. `any`: right where one of the
    last round's answers is; over one round alone it is pass@N. `best`: the last round is one trajectory that selects
    among the messages of the round before, see `tasks/campaign/select.jinja`; the one it names is the answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9@,.\[\]_-]{1,64}$")
    rounds: tuple[Round, ...] = Field(min_length=1, max_length=1_000)
    read_out: ReadOut = "last"

    @model_validator(mode="after")
    def _own_places(self) -> Self:
        for before, round in zip((None, *self.rounds), self.rounds, strict=False):
            if round.sees == "own" and (before is None or before.width != round.width):
                raise ValueError("sees: own needs a round before it that is as wide")
        return self

    @model_validator(mode="after")
    def _selects(self) -> Self:
        last = self.rounds[-1]
        if self.read_out == "best" and (len(self.rounds) < 2 or (last.width, last.prompt) != (1, "select")):
            raise ValueError("read_out: best needs a last round {width: 1, prompt: select} after others")
        return self

    @property
    def resamples_pool(self) -> bool:
        """True where the pool alone gives the result: Self-Consistency and pass@N need no generation of their own."""
        return self.read_out != "last" and len(self.rounds) == 1

    @property
    def other_prompts(self) -> list[PromptName]:
        """What its rounds ask for beside syntheses, in order."""
        return [round.prompt for round in self.rounds if round.prompt != "synthesis"]

    @property
    def widths(self) -> list[int]:
        """K of every round, the last included."""
        return [round.width for round in self.rounds]


PRESETS: dict[str, list[int]] = {"low": [4], "medium": [16], "high": [32, 4], "rsa": [16, 4, 10]}
"""K⃗ of the paper's levels (the last round of one is implied), and (N, m, T) of Recursive Self-Aggregation."""

NAMED: dict[str, Callable[..., dict[str, Any]]] = {
    r"sc@(\d{1,6})": lambda n: {"rounds": [n], "read_out": "vote"},
    r"pass@(\d{1,6})": lambda n: {"rounds": [n], "read_out": "any"},
    r"sequential@(\d{1,6})": lambda n: {"rounds": [1] * n},
    r"full@(\d{1,6})": lambda n: {"rounds": [{"width": n, "compaction": "full"}, 1]},
    r"rsa@(\d{1,6}),(\d{1,6}),(\d{1,6})": lambda n, m, t: {
        "rounds": [n] + [{"width": n, "sees": m}] * (t - 1),
        "read_out": "vote",
    },
    r"summary@(\d{1,6})": lambda n: {
        "rounds": [{"width": n, "compaction": "full"}, {"width": n, "sees": "own", "prompt": "summary"}, 1]
    },
    r"best@(\d{1,6})": lambda n: {"rounds": [n, {"width": 1, "prompt": "select"}], "read_out": "best"},
    r"pdr@(\d{1,6}),(\d{1,6})": lambda n, t: {"rounds": [n, {"width": 1, "prompt": "distill"}] * t + [1]},
}
"""Neighbours, as rounds. sc: Self-Consistency, arXiv 2203.11171. pass: Chen et al., arXiv 2107.03374. sequential:
Self-Refine, arXiv 2303.17651. full: PaCoRe without compaction, its Figure 4. rsa: Recursive Self-Aggregation, arXiv
2509.26626. summary: compaction by the model itself, each trajectory's summary a trajectory of its own. pdr:
Parallel-Distill-Refine, arXiv 2510.01123, T times N drafts and one workspace distilled from them, then the answer.
best: best-of-N (arXiv 2110.14168) with the model for its judge, as in Universal Self-Consistency, arXiv 2311.17311."""

FORMS = (
    "low, medium, high, rsa, sc@N, pass@N, sequential@N, full@N, summary@N, best@N, rsa@N,m,T, "
    "pdr@N,T, a list such as [16, 4], or {name, rounds}"
)


def parse_method(value: Any) -> Method:
    """A method from what a campaign file says: a preset's name, a list K⃗, or name and rounds.

    The last round of one trajectory is implied, as in the paper, where the read-out is `last`.

    Raises:
        ValueError: what was given, and the forms that are known.
    """
    if isinstance(value, list) and all(isinstance(width, int) for width in value):
        return _validated({"name": str(value).replace(" ", ""), "rounds": [*value, 1]})
    if isinstance(value, dict) and {"name", "rounds"} <= value.keys() and isinstance(value["rounds"], list):
        last = [1] if value.get("read_out", "last") == "last" else []
        return _validated({**value, "rounds": [*value["rounds"], *last]})
    if value == "rsa":
        return parse_method("rsa@" + ",".join(map(str, PRESETS["rsa"]))).model_copy(update={"name": "rsa"})
    if isinstance(value, str) and value in PRESETS:
        return _validated({"name": value, "rounds": [*PRESETS[value], 1]})
    if isinstance(value, str):
        for pattern, build in NAMED.items():
            if match := re.fullmatch(pattern, value.replace(" ", "")):
                return _validated({"name": match[0], **build(*map(int, match.groups()))})
    raise ValueError(f"{quoted(value)} is no method; known: {FORMS}")


def _validated(fields: dict[str, Any]) -> Method:
    try:
        return Method.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(
            f"method {quoted(fields['name'])}, {where}: {quoted(first['input'])} given; {first['msg']}; known: {FORMS}"
        ) from error
