"""What shapes a generation: the model, its revision, and every sampling parameter."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Sampler(BaseModel):
    """One way of drawing text from one model. Defaults are the paper's (Section 3.2).

    Two samplers with equal fields draw from the same distribution, so their trajectories are shared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, description="name under which the server knows the model")
    revision: str | None = Field(None, description="weights revision, for when a name is served with new weights")
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int | None = Field(None, ge=1)
    min_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(
        None, ge=1, description="longest generation in tokens; absent: to the end of the window"
    )
    stop: tuple[str, ...] = Field((), description="strings that end a generation")
    chat_template: dict[str, Any] = Field({}, description="options of the model's chat template, e.g. enable_thinking")
    answer_schema: dict[str, Any] | None = Field(None, description="JSON schema that the server holds the answer to")
