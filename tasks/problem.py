"""A problem: what is asked, and what is right."""

from dataclasses import dataclass
from functools import cached_property

from infra.engine import Chat
from tasks.fingerprint import fingerprint, prompt_fingerprint


@dataclass(frozen=True, eq=False)
class Problem:
    """A chat whose last user turn is the question, with its ground truth."""

    id: str
    chat: Chat
    ground_truth: str
    group: str = ""
    """The part of its benchmark that is scored apart, such as an axis of MultiChallenge."""

    @cached_property
    def fingerprint(self) -> str:
        """Also the fingerprint of its first-round prompt, the chat alone."""
        return prompt_fingerprint(self.chat)

    @cached_property
    def truth(self) -> str:
        """Fingerprint of the ground truth: verdicts hold for it alone."""
        return fingerprint(self.ground_truth)
