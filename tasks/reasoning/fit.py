"""Does the prompt fit the window, and if not, what gives way: never in silence."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Policy = Literal["fail", "drop_longest", "truncate_messages"]
Tokens = Callable[[Sequence[str]], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Fitted:
    """The messages that the prompt holds, which of those given they are, and what was done (None: nothing)."""

    messages: list[str]
    kept: list[int]
    overflow: str | None = None


class DoesNotFitError(ValueError):
    """The prompt exceeds the window and the policy does not mend it."""


async def fit(messages: Sequence[str], tokens: Tokens, limit: int, policy: Policy) -> Fitted:
    """Make |x| + Σ|m| ≤ limit as the policy says.

    Args:
        messages: in prompt order.
        tokens: counts the prompt's tokens with the messages it is given.
        limit: the window less the room for the answer, in tokens.
        policy: `fail`, `drop_longest` (whole messages, the longest first) or `truncate_messages` (all to one greatest
            length in characters, keeping their ends, where conclusions stand).

    Raises:
        DoesNotFitError: policy `fail`, or the problem alone is too long.
    """
    every = list(range(len(messages)))
    needed = await tokens(messages)
    if needed <= limit:
        return Fitted(list(messages), every)
    if policy == "fail" or not messages:
        raise DoesNotFitError(
            f"the prompt has {needed} tokens and {limit} are allowed (window less room for the answer); "
            + (
                "choose overflow.policy drop_longest or truncate_messages, or fewer messages"
                if messages
                else "shorten the problem"
            )
        )
    return await (_drop_longest if policy == "drop_longest" else _truncate)(messages, tokens, limit)


def as_sent(messages: Sequence[str], overflow: str | None) -> list[str]:
    """A prompt's kept messages as it holds them, from what its row says was done to them."""
    cut = re.search(r"to their last (\d+) characters$", overflow or "")
    return [message[-int(cut[1]) :] for message in messages] if cut else list(messages)


async def _drop_longest(messages: Sequence[str], tokens: Tokens, limit: int) -> Fitted:
    by_length = sorted(range(len(messages)), key=lambda index: len(messages[index]))

    async def fits(count: int) -> bool:
        return await tokens([messages[index] for index in sorted(by_length[:count])]) <= limit

    count = await _greatest(fits, len(messages))
    if not count and not await fits(0):
        raise DoesNotFitError(f"the problem alone exceeds the {limit} tokens that are allowed; shorten the problem")
    kept = sorted(by_length[:count])
    return Fitted(
        [messages[index] for index in kept],
        kept,
        f"dropped the {len(messages) - count} longest of {len(messages)}",
    )


async def _truncate(messages: Sequence[str], tokens: Tokens, limit: int) -> Fitted:
    def cut(length: int) -> list[str]:
        return [message[-length:] if length else "" for message in messages]

    async def fits(length: int) -> bool:
        return await tokens([message for message in cut(length) if message]) <= limit

    length = await _greatest(fits, max(map(len, messages)))
    if not length:
        raise DoesNotFitError(
            f"not one character a message fits into the {limit} tokens that are allowed; use fewer messages"
        )
    number = sum(len(message) > length for message in messages)
    return Fitted(
        cut(length),
        list(range(len(messages))),
        f"truncated {number} of {len(messages)} to their last {length} characters",
    )


async def _greatest(fits: Callable[[int], Awaitable[bool]], too_many: int) -> int:
    """The greatest number below `too_many` that fits, found by bisection; 0 if none does."""
    low, high = 0, too_many
    while high - low > 1:
        middle = (low + high) // 2
        if await fits(middle):
            low = middle
        else:
            high = middle
    return low
