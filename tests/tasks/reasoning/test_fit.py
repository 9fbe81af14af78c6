from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reasoning.fit import DoesNotFitError, Fitted, Policy, fit

PROBLEM, EACH = 10, 3


async def tokens(messages: Sequence[str]) -> int:
    """Ten for the problem, three and its length for each message."""
    return PROBLEM + sum(EACH + len(message) for message in messages)


@pytest.mark.parametrize("policy", ["fail", "drop_longest", "truncate_messages"])
async def test_what_fits_is_left_as_it_is(policy: Policy) -> None:
    messages = ["aaaa", "b"]
    assert await fit(messages, tokens, await tokens(messages), policy) == Fitted(messages, [0, 1], None)


async def test_by_default_a_prompt_that_does_not_fit_fails_with_its_size_and_the_remedy() -> None:
    with pytest.raises(DoesNotFitError, match=r"the prompt has 17 tokens and 16 are allowed.*overflow\.policy"):
        await fit(["aaaa"], tokens, 16, "fail")


async def test_drop_longest_leaves_whole_messages_out_the_longest_first_and_says_how_many() -> None:
    fitted = await fit(["aaaa", "b", "ccccc", "dd"], tokens, 20, "drop_longest")
    assert fitted == Fitted(["b", "dd"], [1, 3], "dropped the 2 longest of 4")


async def test_drop_longest_may_leave_the_problem_alone_where_that_fits() -> None:
    assert await fit(["a" * 50], tokens, 12, "drop_longest") == Fitted([], [], "dropped the 1 longest of 1")


async def test_truncate_messages_keeps_the_ends_of_the_long_ones_and_says_so() -> None:
    fitted = await fit(["0123456789", "ab", "9876543210"], tokens, 10 + 9 + 2 + 8, "truncate_messages")
    assert fitted == Fitted(["6789", "ab", "3210"], [0, 1, 2], "truncated 2 of 3 to their last 4 characters")


@pytest.mark.parametrize("policy", ["fail", "drop_longest", "truncate_messages"])
async def test_a_problem_that_alone_is_too_long_fails_whatever_the_policy(policy: Policy) -> None:
    with pytest.raises(DoesNotFitError):
        await fit(["aaaa", "b"], tokens, PROBLEM - 1, policy)


async def test_a_problem_too_long_without_any_message_is_told_to_be_shortened() -> None:
    with pytest.raises(DoesNotFitError, match="shorten the problem"):
        await fit([], tokens, PROBLEM - 1, "drop_longest")


async def test_messages_that_can_not_be_cut_to_one_character_fail() -> None:
    with pytest.raises(DoesNotFitError, match="use fewer messages"):
        await fit(["aaaa", "bbbb"], tokens, PROBLEM + 2 * EACH + 1, "truncate_messages")


@given(
    st.lists(st.text("ab", min_size=1, max_size=30), min_size=1, max_size=8),
    st.integers(0, 150),
    st.sampled_from(["fail", "drop_longest", "truncate_messages"]),
)
async def test_the_result_fits_and_what_was_done_is_recorded(messages: list[str], limit: int, policy: Policy) -> None:
    try:
        fitted = await fit(messages, tokens, limit, policy)
    except DoesNotFitError:
        assert await tokens(messages) > limit
        return
    assert await tokens(fitted.messages) <= limit
    assert (fitted.overflow is None) == (fitted.messages == messages)
    assert len(fitted.kept) == len(fitted.messages)
    for index, message in zip(fitted.kept, fitted.messages, strict=True):
        assert message
        assert messages[index].endswith(message)
        assert policy == "truncate_messages" or message == messages[index]


@given(st.lists(st.text("ab", min_size=1, max_size=30), min_size=1, max_size=8), st.integers(PROBLEM, 150))
async def test_drop_longest_drops_no_more_than_it_must(messages: list[str], limit: int) -> None:
    fitted = await fit(messages, tokens, limit, "drop_longest")
    dropped = [message for index, message in enumerate(messages) if index not in fitted.kept]
    assert all(len(message) >= len(kept) for message in dropped for kept in fitted.messages)
    if dropped:
        assert await tokens([*fitted.messages, min(dropped, key=len)]) > limit


@given(st.lists(st.text("ab", min_size=1, max_size=30), min_size=1, max_size=8), st.integers(PROBLEM, 150))
async def test_truncate_messages_cuts_no_more_than_it_must(messages: list[str], limit: int) -> None:
    try:
        fitted = await fit(messages, tokens, limit, "truncate_messages")
    except DoesNotFitError:
        assert await tokens([message[-1:] for message in messages]) > limit
        return
    if fitted.overflow:
        longer = max(map(len, fitted.messages)) + 1
        assert await tokens([message[-longer:] for message in messages]) > limit
