from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sampler import Sampler
from tasks.fingerprint import (
    DRAWS_PER_ROUND,
    draw_number,
    fingerprint,
    prompt_fingerprint,
    sampler_fingerprint,
    seed_of,
    trajectory_id,
)

PLAIN = Sampler(model="m")


def test_a_fingerprint_stays_what_it_was_in_stores_already_written() -> None:
    assert fingerprint({"b": [1, None], "a": "π"}) == "36bc434e502eccc40cb0b31587822a33"


def test_the_order_of_keys_does_not_matter() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


@pytest.mark.parametrize(("one", "other"), [("1", 1), (["ab"], ["a", "b"]), ("a", "a "), (None, "null"), ([], {})])
def test_values_that_differ_have_different_fingerprints(one: Any, other: Any) -> None:
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"},
        {"revision": "r1"},
        {"temperature": 0.6},
        {"top_p": 0.95},
        {"top_k": 20},
        {"min_p": 0.1},
        {"max_tokens": 100},
        {"stop": ("x",)},
        {"chat_template": {"enable_thinking": False}},
    ],
)
def test_everything_that_shapes_sampling_makes_another_sampler(change: dict[str, Any]) -> None:
    assert sampler_fingerprint(PLAIN.model_copy(update=change)) != sampler_fingerprint(PLAIN)


def test_a_default_that_is_spelled_out_makes_no_other_sampler() -> None:
    assert sampler_fingerprint(Sampler(model="m", temperature=1.0, top_k=None)) == sampler_fingerprint(PLAIN)


def test_a_sampler_written_with_whole_numbers_is_the_same_sampler() -> None:
    one, other = Sampler.model_validate({"model": "m", "temperature": 2}), Sampler(model="m", temperature=2.0)
    assert sampler_fingerprint(one) == sampler_fingerprint(other)


def test_every_turn_and_role_of_a_chat_enters_its_fingerprint() -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    others = [chat[:1], chat[::-1], [{**chat[0], "role": "system"}, chat[1]], [chat[0], {**chat[1], "content": "c"}]]
    assert len({prompt_fingerprint(each) for each in [chat, *others]}) == 5


def test_sampler_prompt_and_draw_all_enter_a_trajectorys_id() -> None:
    assert len({trajectory_id(*key) for key in [("s", "p", 0), ("t", "p", 0), ("s", "q", 0), ("s", "p", 1)]}) == 4


def test_no_two_draws_of_a_prompt_share_a_seed() -> None:
    assert len({seed_of(trajectory_id("s", "p", draw)) for draw in range(10_000)}) == 10_000


@given(st.text(), st.text(), st.integers(0, 1 << 40))
def test_a_seed_is_a_number_that_every_server_takes(sampler: str, prompt: str, draw: int) -> None:
    assert 0 <= seed_of(trajectory_id(sampler, prompt, draw)) < 2**63


@given(
    st.tuples(st.integers(2, 99), st.integers(0, 10_000), st.integers(0, 511)),
    st.tuples(st.integers(2, 99), st.integers(0, 10_000), st.integers(0, 511)),
)
def test_two_trajectories_of_a_method_never_share_a_draw_number(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    numbers = [draw_number(number, run, 512, k) for number, run, k in (one, other)]
    assert (numbers[0] == numbers[1]) == (one == other)


@given(st.integers(2, 99), st.integers(0, 10_000), st.integers(0, 511), st.integers(0, DRAWS_PER_ROUND - 1))
def test_a_later_round_never_draws_what_the_pool_drew(number: int, run: int, k: int, pooled: int) -> None:
    assert draw_number(number, run, 512, k) != pooled
