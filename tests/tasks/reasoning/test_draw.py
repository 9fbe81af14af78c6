from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.engine import Chat, Completion, Engine
from infra.sampler import Sampler
from tasks.campaign.method import Method
from tasks.campaign.plan import Plan
from tasks.campaign.prompt import in_prompt_order
from tasks.fingerprint import seed_of
from tasks.reasoning.draw import Draw, chosen_from_pool, pool_draw, round_draws
from tasks.reasoning.generate import trajectory_row
from tasks.reasoning.workbench import Workbench


class CountingEngine:
    """Counts a token a character, and generates nothing."""

    async def count_tokens(self, chat: Chat, sampler: Sampler) -> int:
        return sum(len(turn["content"]) for turn in chat)

    async def close(self) -> None:
        pass


Bench = Callable[..., Workbench]


@pytest.fixture
def bench(plan: Callable[..., Plan]) -> Bench:
    def make(limit: int = 10**6, **keys: Any) -> Workbench:
        engine: Engine = CountingEngine()  # type: ignore[assignment]
        bench = Workbench(plan(**keys), engine)
        bench.prompts.limit = limit
        return bench

    return make


async def finish(bench: Workbench, draws: list[Draw], messages: list[str]) -> list[str]:
    """Store a trajectory for each draw; return their ids."""
    for draw, message in zip(draws, messages, strict=True):
        done = Completion("hm", message, "stop", 1, 0, 1, 1, "test", datetime.now(UTC), 0.0, 1)
        await bench.add(trajectory_row("sim", draw, done, None))
    return [draw.id for draw in draws]


async def two_rounds(bench: Workbench, method: Method, run: int, messages: list[str]) -> tuple[list[Draw], list[Draw]]:
    """The draws of a run's rounds 1 and 2, where round 1 ended with these messages."""
    pair = bench.plan.problems[0], run
    first = await round_draws(bench, method, 1, pair, [])
    return first, await round_draws(bench, method, 2, pair, await finish(bench, first, messages))


# --- the pool -------------------------------------------------------------------------------------


@given(st.text("0123456789abcdef", min_size=1), st.integers(0, 100), st.integers(1, 64), st.data())
def test_a_run_takes_different_draws_of_the_pool_and_a_narrower_method_the_first_of_a_wider_ones(
    problem: str, run: int, pool: int, data: st.DataObject
) -> None:
    wide = data.draw(st.integers(1, pool))
    narrow = data.draw(st.integers(1, wide))
    chosen = chosen_from_pool(problem, run, wide, pool)
    assert len(set(chosen)) == wide
    assert set(chosen) <= set(range(pool))
    assert chosen_from_pool(problem, run, narrow, pool) == chosen[:narrow]


def test_the_choice_depends_on_problem_and_run_and_on_nothing_else() -> None:
    assert chosen_from_pool("a", 0, 8, 512) == chosen_from_pool("a", 0, 8, 512)
    choices = [chosen_from_pool(problem, run, 8, 512) for problem in "ab" for run in range(10)]
    assert len(set(map(tuple, choices))) == 20


def test_every_draw_of_the_pool_is_taken_about_equally_often() -> None:
    taken = [draw for run in range(2000) for draw in chosen_from_pool("a", run, 4, 16)]
    assert all(400 < taken.count(draw) < 600 for draw in range(16))


async def test_round_1_asks_for_draws_of_the_pool_and_the_bare_problem(bench: Bench) -> None:
    here = bench(pool=32)
    problem = here.plan.problems[0]
    draws = await round_draws(here, here.plan.method("low"), 1, (problem, 3), [])
    chosen = chosen_from_pool(problem.fingerprint, 3, 4, 32)
    assert draws == [pool_draw(here.plan, problem, number) for number in chosen]
    assert all(draw.chat == problem.chat for draw in draws)


# --- later rounds ---------------------------------------------------------------------------------


async def test_all_trajectories_of_a_round_get_one_prompt_with_all_messages_and_seeds_of_their_own(
    bench: Bench,
) -> None:
    here = bench(pool=8, methods=[[4, 3]])
    first, second = await two_rounds(here, here.plan.method("[4,3]"), 0, ["a", "bb", "ccc", "dddd"])
    ordered = in_prompt_order([draw.id for draw in first], ["a", "bb", "ccc", "dddd"])
    assert len(second) == 3
    for draw in second:
        assert draw.chat == here.plan.template.write(here.plan.problems[0].chat, [message for _, message in ordered])
        assert draw.references == tuple(id for id, _ in ordered)
    assert len({seed_of(draw.id) for draw in second}) == 3


async def test_an_empty_message_stands_neither_in_the_prompt_nor_among_its_references(bench: Bench) -> None:
    here = bench()
    first, (second,) = await two_rounds(here, here.plan.method("low"), 0, ["a", "", " \n", "b"])
    assert sorted(second.references) == sorted([first[0].id, first[3].id])
    assert "Reference 2:" in second.chat[0]["content"]
    assert "Reference 3:" not in second.chat[0]["content"]


async def test_a_full_method_shows_whole_trajectories(bench: Bench) -> None:
    here = bench(methods=["full@2"])
    _, (second,) = await two_rounds(here, here.plan.method("full@2"), 0, ["a", "b"])
    assert "Reference 1:\n<think>hm</think>" in second.chat[0]["content"]


async def test_draws_of_different_rounds_never_coincide_even_with_equal_prompts(bench: Bench) -> None:
    here = bench(pool=4, methods=[[4, 4, 4]], runs=3)
    method = here.plan.method("[4,4,4]")
    pool = [pool_draw(here.plan, here.plan.problems[0], number) for number in range(4)]
    every = list(pool)
    for run in range(3):
        last: list[str] = []
        for number in (1, 2, 3):
            draws = await round_draws(here, method, number, (here.plan.problems[0], run), last)
            last = await finish(here, draws, [""] * 4)
            every += draws if number > 1 else []
    assert len({draw.prompt for draw in every}) == 1
    assert len({draw.id for draw in every}) == 4 + 3 * (4 + 4)
    assert len({seed_of(draw.id) for draw in every}) == 4 + 3 * (4 + 4)


async def test_the_same_store_gives_the_same_draws_to_another_process(bench: Bench) -> None:
    method_of = {"pool": 8, "methods": ["rsa@6,2,2"]}
    one = bench(**method_of)
    first, second = await two_rounds(one, one.plan.method("rsa@6,2,2"), 0, list("abcdef"))
    await one.trajectories.commit()
    other = bench(**method_of)
    other.trajectories.refresh()
    pair = other.plan.problems[0], 0
    assert await round_draws(other, other.plan.method("rsa@6,2,2"), 1, pair, []) == first
    assert await round_draws(other, other.plan.method("rsa@6,2,2"), 2, pair, [draw.id for draw in first]) == second


async def test_rsa_shows_each_trajectory_its_own_random_subset(bench: Bench) -> None:
    here = bench(pool=12, methods=["rsa@12,3,2"])
    first, second = await two_rounds(here, here.plan.method("rsa@12,3,2"), 0, [letter * 3 for letter in "abcdefghijkl"])
    subsets = [frozenset(draw.references) for draw in second]
    assert all(len(subset) == 3 and subset <= {draw.id for draw in first} for subset in subsets)
    assert len(set(subsets)) > 6
    assert all(draw.chat[0]["content"].count("Reference ") == 3 + 1 for draw in second)  # and "Reference Responses:"


async def test_a_subset_of_more_than_there_are_is_all(bench: Bench) -> None:
    here = bench(methods=["rsa@2,9,2"])
    first, second = await two_rounds(here, here.plan.method("rsa@2,9,2"), 0, ["a", "b"])
    assert {frozenset(draw.references) for draw in second} == {frozenset(draw.id for draw in first)}


# --- prompts that do not fit ----------------------------------------------------------------------


async def test_by_default_a_prompt_that_does_not_fit_is_a_draw_with_an_error(bench: Bench) -> None:
    here = bench(limit=700)
    _, (second,) = await two_rounds(here, here.plan.method("low"), 0, ["a" * 500, "b", "c", "d"])
    assert second.error is not None
    assert "tokens and 700 are allowed" in second.error


async def test_a_message_that_was_dropped_is_recorded_and_no_reference(bench: Bench) -> None:
    here = bench(limit=700, overflow={"policy": "drop_longest"})
    first, (second,) = await two_rounds(here, here.plan.method("low"), 0, ["a" * 500, "b", "c", "d"])
    assert (second.error, second.overflow) == (None, "dropped the 1 longest of 4")
    assert set(second.references) == {draw.id for draw in first[1:]}


async def test_messages_that_were_cut_are_recorded(bench: Bench) -> None:
    here = bench(limit=700, overflow={"policy": "truncate_messages"})
    _, (second,) = await two_rounds(here, here.plan.method("low"), 0, ["a" * 500, "b", "c", "d"])
    assert second.error is None
    assert second.overflow is not None
    assert second.overflow.startswith("truncated 1 of 4 to their last")
    assert len(second.references) == 4
    assert len(second.chat[0]["content"]) == 700
