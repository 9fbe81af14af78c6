"""Methods as data: what each round runs and sees, and how the answer is read out."""

import re
from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks.compaction import Compaction
from tasks.quote import quoted

ReadOut = Literal["last", "vote", "any"]


class Round(BaseModel):
    """K trajectories, and what the next round gets to see of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(ge=1, le=100_000, description="trajectories, K")
    sees: int | Literal["all"] = Field(
        "all",
        description="messages of the last round in each prompt: all, or a random subset of this many for each",
    )
    compaction: Compaction = Field("conclusion", description="what the next round sees of each trajectory")

    @model_validator(mode="before")
    @classmethod
    def _width_alone(cls, value: Any) -> Any:
        return {"width": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _sees_something(self) -> Self:
        if self.sees != "all" and self.sees < 1:
            raise ValueError(f"sees: {self.sees} given; a round sees 'all' messages or at least 1")
        return self


class Method(BaseModel):
    """A list of rounds, the last included, and a read-out.

    `last`: the last round is one trajectory, its message is the answer. `vote`: majority over the last round's answers;
    over one round alone it is Self-Consistency and is estimated by resampling the pool. `any`: right where one of the
    last round's answers is; over one round alone it is pass@N.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9@,.\[\]_-]{1,64}$")
    rounds: tuple[Round, ...] = Field(min_length=1, max_length=1_000)
    read_out: ReadOut = "last"

    @property
    def resamples_pool(self) -> bool:
        """True where the pool alone gives the result: Self-Consistency and pass@N need no generation of their own."""
        return self.read_out != "last" and len(self.rounds) == 1

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
}

FORMS = (
    "low, medium, high, rsa, sc@N, pass@N, sequential@N, full@N, rsa@N,m,T, a list such as [16, 4], or {name, rounds}"
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
