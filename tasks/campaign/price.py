"""What tokens cost: GPU-hours, or money where a price is given."""

from datetime import datetime, timedelta
from typing import Self

import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.store.tables import trajectories_table


class Price(BaseModel):
    """Either a million completion tokens have a price, or so many GPUs serve, whose hours may have one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_million_tokens: float | None = Field(None, gt=0, description="money for a million completion tokens")
    gpus: int | None = Field(None, ge=1, description="GPUs that serve the campaign")
    gpu_hour: float | None = Field(None, gt=0, description="money for one GPU-hour; absent: GPU-hours are reported")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.per_million_tokens is None) == (self.gpus is None) or (self.gpu_hour and not self.gpus):
            raise ValueError("give either per_million_tokens, or gpus and perhaps gpu_hour")
        return self

    @property
    def unit(self) -> str:
        """What costs are counted in."""
        return "GPU-hours" if self.gpus and not self.gpu_hour else "money"


def cost_of_a_token(price: Price | None, store: str, partition: str, problems: list[str]) -> float | None:
    """In the price's unit; None without a price, or where GPUs have not been seen at work.

    GPU time is the time during which at least one trajectory of these problems was being generated: pauses between two
    runs of a campaign cost nothing, and each token bears an equal share.

    Raises:
        StoreError: the store can not be read.
    """
    if price is None:
        return None
    if price.per_million_tokens:
        return price.per_million_tokens / 1e6
    columns = ["started", "seconds", "completion_tokens"]
    rows = trajectories_table(store).read(partition, columns, pc.field("problem").isin(problems)).to_pylist()
    spans = [(row["started"], row["started"] + timedelta(seconds=row["seconds"])) for row in rows if row["seconds"]]
    tokens = sum(row["completion_tokens"] for row in rows if row["seconds"])
    hours = busy(spans).total_seconds() / 3600 * (price.gpus or 0)
    return hours * (price.gpu_hour or 1.0) / tokens if tokens else None


def busy(spans: list[tuple[datetime, datetime]]) -> timedelta:
    """How much time the spans cover together."""
    total, until = timedelta(), None
    for start, end in sorted(spans):
        if until is None or start > until:
            total, until = total + (end - start), end
        elif end > until:
            total, until = total + (end - until), end
    return total
