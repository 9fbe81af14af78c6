"""Prompts that fit the model's window: the template over messages in their order, less what the policy gives up."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from infra.engine import Chat, Engine
from infra.sampler import Sampler
from infra.token_bound import at_most_tokens
from tasks.campaign.campaign_file import CampaignError, Overflow
from tasks.campaign.prompt import PromptName, PromptTemplate, in_prompt_order, template_of
from tasks.fingerprint import prompt_fingerprint, sampler_fingerprint
from tasks.reasoning.fit import DoesNotFitError, fit


@dataclass(frozen=True)
class Prompt:
    """A chat as it is sent. `references`: whose messages stand in it, in its order. `error`: why it can not be sent."""

    chat: Chat
    references: tuple[str, ...] = ()
    overflow: str | None = None
    error: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Its identity."""
        return prompt_fingerprint(self.chat)


class PromptWriter:
    """Writes P(x, M) for one sampler (Section 2.1). Nothing fits before `keep_room` was told of the window."""

    def __init__(self, engine: Engine, sampler: Sampler, template: PromptTemplate, overflow: Overflow) -> None:
        self.engine = engine
        self.sampler = sampler
        self.template = template
        self.overflow = overflow
        self.fingerprint = sampler_fingerprint(sampler)
        self.limit = 0

    def keep_room(self, window: int) -> None:
        """Limit prompts to what the room for the answer leaves of the window, in tokens.

        Raises:
            CampaignError: the room asked for is more than the window.
        """
        room = self.overflow.room or self.sampler.max_tokens or window // 4
        if room >= window:
            raise CampaignError(
                f"{room} tokens are to be kept free for the answer, but the window has {window}; "
                "lower overflow.room or sampler.max_tokens"
            )
        self.limit = window - room

    async def tokens(self, chat: Chat) -> int:
        """Tokens of a prompt, exact where it matters: what surely fits is not counted by the server."""
        bound = at_most_tokens(chat, self.sampler)
        return bound if bound <= self.limit else await self.engine.count_tokens(chat, self.sampler)

    async def too_long(self, problem: Chat) -> str | None:
        """Why a problem alone can not be sent; None where it can."""
        tokens = await self.tokens(problem)
        return f"the problem alone has {tokens} tokens, {self.limit} are allowed" if tokens > self.limit else None

    async def write(
        self, problem: Chat, trajectories: Sequence[str], messages: Sequence[str], prompt: PromptName = "synthesis"
    ) -> Prompt:
        """The problem with the messages of these trajectories written into it, by the template of what is asked for."""
        template = template_of(prompt, self.template)
        ordered = in_prompt_order(trajectories, messages)
        given = [message for _, message in ordered]

        async def tokens(kept: Sequence[str]) -> int:
            return await self.tokens(template.write(problem, kept))

        try:
            fitted = await fit(given, tokens, self.limit, self.overflow.policy)
        except DoesNotFitError as error:
            every = tuple(id for id, _ in ordered)
            return Prompt(template.write(problem, given), every, error=str(error))
        kept = tuple(ordered[index][0] for index in fitted.kept)
        return Prompt(template.write(problem, fitted.messages), kept, fitted.overflow)
