"""The OpenAI-compatible engine against the simulator, over real HTTP."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import stamina
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from infra.answer_stream import split_thinking
from infra.engine import Away, Chat, EngineError, Overloaded, Rejected, Stalled, TooLong, Unreachable
from infra.openai_engine import HINDRANCES, OpenAIEngine, OpenAISettings, retry_after
from infra.sampler import Sampler
from infra.token_bound import at_most_tokens
from tests.simulator import Fault, Simulator

CHAT: Chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}]
SAMPLER = Sampler(model="sim")
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def _no_waiting_between_attempts() -> Iterator[None]:
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


@asynccontextmanager
async def engine_for(*servers: Simulator | str, **options: Any) -> AsyncIterator[OpenAIEngine]:
    urls = tuple(server if isinstance(server, str) else server.url for server in servers)
    engine = OpenAIEngine(OpenAISettings(urls=urls, **{"patience_seconds": 0, **options}))
    try:
        yield engine
    finally:
        await engine.close()


async def refusal(engine: OpenAIEngine, sampler: Sampler = SAMPLER, chat: Chat = CHAT) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await engine.complete(chat, sampler, seed=1)
    assert "\n" not in str(caught.value)
    return caught.value


async def until(condition: Any, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


# --- what is sent, and what comes back -----------------------------------------------------------


async def test_a_completion_carries_text_counts_and_where_it_came_from() -> None:
    async with Simulator(median_tokens=100) as server, engine_for(server) as engine:
        done = await engine.complete(CHAT, SAMPLER, seed=1)
        again = await engine.complete(CHAT, SAMPLER, seed=2)
    assert done.reasoning
    assert done.content
    assert done.finish_reason == "stop"
    assert (done.completion_tokens, done.reasoning_tokens) == (100, 90)
    assert done.prompt_tokens > done.cached_tokens == 0
    assert again.cached_tokens > 0
    assert (done.engine, done.attempts) == (server.url, 1)
    assert done.started.tzinfo is not None
    assert done.seconds > 0


async def test_the_seed_and_n_1_are_always_sent_and_unset_options_never() -> None:
    async with Simulator(keep_bodies=True) as server, engine_for(server) as engine:
        await engine.complete(CHAT, SAMPLER, seed=0)
        await engine.complete(CHAT, SAMPLER, seed=2**63 - 1)
    plain = {"model": "sim", "messages": CHAT, "temperature": 1.0, "top_p": 1.0, "n": 1}
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    assert server.bodies == [{**plain, **stream, "seed": 0}, {**plain, **stream, "seed": 2**63 - 1}]


async def test_every_field_of_the_sampler_reaches_the_server() -> None:
    fields: dict[str, Any] = {
        "temperature": 0.0,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.1,
        "max_tokens": 7,
        "stop": ["a"],
    }
    sampler = Sampler(model="sim", chat_template={"enable_thinking": False}, **fields)
    async with Simulator(keep_bodies=True) as server, engine_for(server) as engine:
        await engine.complete(CHAT, sampler, seed=1)
    sent = server.bodies[0]
    assert fields.items() <= sent.items()
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}


async def test_the_same_seed_gives_the_same_text() -> None:
    async with Simulator(sigma=1) as server, engine_for(server) as engine:
        first, again, other = [await engine.complete(CHAT, SAMPLER, seed) for seed in (1, 1, 2)]
    assert (first.reasoning, first.content) == (again.reasoning, again.content)
    assert first.reasoning != other.reasoning


async def test_a_generation_cut_off_while_thinking_has_no_content() -> None:
    async with Simulator() as server, engine_for(server) as engine:
        done = await engine.complete(CHAT, Sampler(model="sim", max_tokens=20), seed=1)
    assert done.reasoning
    assert done.content is None
    assert (done.finish_reason, done.completion_tokens) == ("length", 20)


@pytest.mark.parametrize("style", ["reasoning_content", "raw"])
async def test_reasoning_is_found_however_the_server_sends_it(style: Any) -> None:
    async with Simulator() as plain, Simulator(reasoning=style) as server:
        async with engine_for(plain) as engine:
            expected = await engine.complete(CHAT, SAMPLER, seed=1)
        async with engine_for(server) as engine:
            done = await engine.complete(CHAT, SAMPLER, seed=1)
            cut = await engine.complete(CHAT, Sampler(model="sim", max_tokens=20), seed=1)
    assert done.reasoning
    assert expected.reasoning == done.reasoning.strip("\n")
    assert done.content
    assert expected.content == done.content.strip("\n")
    assert cut.reasoning
    assert cut.content is None


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("<think>a</think>b", "a", "b"),
        ("a</think>b", "a", "b"),
        ("a</think>b</think>c", "a</think>b", "c"),
        ("<think>a", "a", None),
        ("<think>a</think>", "a", None),
        ("\n<think>a</think>\n\nb", "\na", "\n\nb"),
        ("plain", None, "plain"),
        ("the tag <think> is told of, not used", None, "the tag <think> is told of, not used"),
    ],
)
def test_raw_text_is_split_at_the_last_close(text: str, reasoning: str | None, content: str | None) -> None:
    assert split_thinking(text) == (reasoning, content)


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", " ", "\n", "é"])).map("".join))
def test_splitting_loses_nothing_but_the_two_tags(text: str) -> None:
    reasoning, content = split_thinking(text)
    kept = (reasoning or "") + (content or "")
    dropped = len(text) - len(kept)
    assert dropped in (0, len("<think>"), len("</think>"), len("<think></think>"))
    assert kept.replace("<think>", "").replace("</think>", "") == text.replace("<think>", "").replace("</think>", "")


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        *((status, Overloaded) for status in ("408", "429", "503")),
        *((status, Unreachable) for status in ("500", "502", "504")),
        *((broken, Unreachable) for broken in ("reset", "error_chunk", "unfinished", "abort", "cut")),
        *((silent, Stalled) for silent in ("hang", "stall")),
    ],
)
async def test_what_may_pass_is_tried_again_and_then_named(kind: str, error: type[EngineError]) -> None:
    patience = {"first_token_seconds": 1.0, "between_tokens_seconds": 0.2}
    async with Simulator(faults=[Fault(kind, rate=1)]) as server:
        async with engine_for(server, tries=3, **patience) as engine:
            final = await refusal(engine)
        assert type(final) is error
        assert final.attempts == server.seen["received"] == 3
        assert server.url in str(final)


@pytest.mark.parametrize("kind", ["503", "500", "reset", "error_chunk", "unfinished", "abort", "stall"])
async def test_a_request_that_failed_once_succeeds_and_says_so(kind: str) -> None:
    faults = [Fault(kind, nth=(1,))]
    async with Simulator(faults=faults) as server, engine_for(server, between_tokens_seconds=0.1) as engine:
        retried = await engine.complete(CHAT, SAMPLER, seed=1)
        straight = await engine.complete(CHAT, SAMPLER, seed=1)
    assert (retried.attempts, straight.attempts) == (2, 1)
    assert (retried.reasoning, retried.content) == (straight.reasoning, straight.content)


async def test_a_retry_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async with Simulator(faults=[Fault("503", nth=(1,))]) as server, engine_for(server) as engine:
        with caplog.at_level(logging.INFO, "infra"):
            await engine.complete(CHAT, SAMPLER, seed=1)
    assert "injected fault" in caplog.text
    assert "attempt 2" in caplog.text


@pytest.mark.parametrize(("window", "room"), [(10, None), (200, 190)])
async def test_overflow_is_never_retried(window: int, room: int | None) -> None:
    async with Simulator(window=window) as server, engine_for(server) as engine:
        final = await refusal(engine, Sampler(model="sim", max_tokens=room))
        assert isinstance(final, TooLong)
        assert final.attempts == server.seen["received"] == 1


@pytest.mark.parametrize("status", ["400", "409", "413", "422"])
async def test_a_refused_request_is_never_retried(status: str) -> None:
    async with Simulator(faults=[Fault(status, rate=1)]) as server, engine_for(server) as engine:
        final = await refusal(engine)
        assert isinstance(final, Rejected)
        assert server.seen["received"] == 1
        assert "injected fault" in str(final)


async def test_a_wrong_key_names_the_variable_and_never_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    async with Simulator(api_key="another") as server:
        async with engine_for(server, api_key_env="MY_KEY") as engine:
            final = await refusal(engine)
        async with engine_for(server, api_key_env="UNSET_KEY") as engine:
            absent = await refusal(engine)
        assert server.seen["received"] == 2
    assert isinstance(final, Rejected)
    assert "MY_KEY" in str(final)
    assert "sk-secret" not in str(final)
    assert "UNSET_KEY is not set" in str(absent)


async def test_the_key_is_sent_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACORE_API_KEY", "right")
    async with Simulator(api_key="right") as server, engine_for(server) as engine:
        await engine.check(SAMPLER)
        assert (await engine.complete(CHAT, SAMPLER, seed=1)).content


async def test_a_server_that_repeats_the_key_does_not_bring_it_into_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PACORE_API_KEY", "injected")
    async with Simulator(faults=[Fault("400", rate=1)]) as server, engine_for(server) as engine:
        assert "injected" not in str(await refusal(engine))


async def test_the_words_of_a_server_that_an_error_repeats_move_no_terminal() -> None:
    async with engine_for(NOWHERE) as engine:
        assert engine._quote("\x1b[2J\x07no\r\nsuch thing\u202e") == "�[2J�no such thing�"


async def test_an_unknown_model_names_those_that_are_served() -> None:
    async with Simulator() as server, engine_for(server) as engine:
        await engine.check(SAMPLER)
        final = await refusal(engine, Sampler(model="other"))
        assert isinstance(final, Rejected)
        assert "'other'" in str(final)
        assert "sim" in str(final)
        assert server.seen["received"] == 1


async def test_a_refused_connection_is_unreachable() -> None:
    async with engine_for(NOWHERE, tries=2) as engine:
        final = await refusal(engine)
    assert isinstance(final, Unreachable)
    assert final.attempts == 2
    assert NOWHERE in str(final)


async def test_there_is_no_limit_on_the_total_time() -> None:
    slow = Simulator(median_tokens=64, tokens_per_chunk=4, seconds_per_token=0.02)
    patience = {"first_token_seconds": 0.4, "between_tokens_seconds": 0.4}
    async with slow as server, engine_for(server, **patience) as engine:
        done = await engine.complete(CHAT, SAMPLER, seed=1)
    assert done.seconds > 1
    assert done.attempts == 1


# --- while no server answers ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["500", "503", "429", "reset", "error_chunk", "cut", "hang", "stall"])
async def test_an_outage_uses_up_no_tries(kind: str) -> None:
    options = {"tries": 1, "patience_seconds": 60, "first_token_seconds": 0.3, "between_tokens_seconds": 0.2}
    async with Simulator(faults=[Fault(kind, rate=1)]) as server, engine_for(server, **options) as engine:
        asked = [asyncio.create_task(engine.complete(CHAT, SAMPLER, seed)) for seed in range(20)]
        await until(lambda: server.seen["received"] > 21, seconds=60)
        server.faults.clear()
        done = await asyncio.gather(*asked)
    assert {d.finish_reason for d in done} == {"stop"}
    assert min(d.attempts for d in done) > 1


async def test_a_server_that_dies_and_comes_back_is_waited_for_and_asked_little_meanwhile() -> None:
    async with Simulator(seconds_per_token=0.01) as server:
        port = server.port
        engine = OpenAIEngine(OpenAISettings(urls=(server.url,), tries=1, patience_seconds=60))
        asked = [asyncio.create_task(engine.complete(CHAT, SAMPLER, seed)) for seed in range(5)]
        await until(lambda: server.seen["running"] == 5)
    await asyncio.sleep(1.2)
    assert not any(task.done() for task in asked)
    async with Simulator(port=port) as server:
        async with asyncio.timeout(60):
            done = await asyncio.gather(*asked)
        await engine.close()
        assert {d.attempts for d in done} == {2}
        assert server.seen["received"] == 5 + 1


async def test_a_request_that_comes_in_an_outage_waits_and_is_not_sent() -> None:
    options = {"tries": 1, "patience_seconds": 60}
    async with Simulator(faults=[Fault("500", rate=1)]) as server, engine_for(server, **options) as engine:
        first = asyncio.create_task(engine.complete(CHAT, SAMPLER, seed=1))
        await until(lambda: server.seen["received"] == 2)
        others = [asyncio.create_task(engine.complete(CHAT, SAMPLER, seed)) for seed in range(9)]
        await asyncio.sleep(0.2)
        assert server.seen["received"] == 2
        server.faults.clear()
        done = await asyncio.gather(*others)
        assert {d.attempts for d in done} == {1}
        assert (await first).attempts == 2


async def test_when_patience_is_over_all_are_told_at_once_in_one_line() -> None:
    async with engine_for(NOWHERE, tries=1, patience_seconds=1.5) as engine:
        began = time.monotonic()
        waited = await asyncio.gather(*(refusal(engine) for _ in range(3)))
        assert 1.5 <= time.monotonic() - began < 3
        late = await refusal(engine)
    assert {type(error) for error in [*waited, late]} == {Away}
    assert "no engine has answered since" in str(late)
    assert NOWHERE in str(late)
    assert "run the campaign again" in str(late)


@pytest.mark.parametrize("kind", ["500", "cut", "stall", "reset"])
async def test_a_request_that_fails_while_servers_answer_uses_up_its_tries(kind: str) -> None:
    faults = [Fault(kind, nth=(1, 3, 5))]  # 2 and 4 are the probes
    options = {"tries": 3, "patience_seconds": 60, "first_token_seconds": 0.3, "between_tokens_seconds": 0.1}
    async with Simulator(faults=faults) as server, engine_for(server, **options) as engine:
        final = await refusal(engine)
    assert not isinstance(final, Away)
    assert final.attempts == 3


async def test_what_a_request_is_refused_for_is_no_outage() -> None:
    async with Simulator(faults=[Fault("400", rate=1)]) as server:
        async with engine_for(server, patience_seconds=60) as engine:
            assert isinstance(await refusal(engine), Rejected)
        assert server.seen["received"] == 1


async def test_a_request_that_brings_every_server_down_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    every_other = tuple(range(1, 1000, 3))  # the request; then a probe that fails, and one that does not
    down = tuple(n + 1 for n in every_other)
    faults = [Fault("reset", nth=every_other), Fault("500", nth=down)]
    async with Simulator(faults=faults) as server, engine_for(server, tries=2, patience_seconds=60) as engine:
        monkeypatch.setattr("infra.outage.FIRST_PAUSE_SECONDS", 0.01)
        monkeypatch.setattr("infra.outage.LONGEST_PAUSE_SECONDS", 0.01)
        final = await refusal(engine)
    assert isinstance(final, Unreachable)
    assert final.attempts == 2 * HINDRANCES


async def test_retry_after_is_heeded() -> None:
    async with Simulator(faults=[Fault("429", nth=(1,))], retry_after=2) as server:
        async with engine_for(server, patience_seconds=60) as engine:
            with stamina.set_testing(False):
                began = time.monotonic()
                done = await engine.complete(CHAT, SAMPLER, seed=1)
        assert done.attempts == 2
    assert 2 <= time.monotonic() - began < 4


@pytest.mark.parametrize(("stated", "seconds"), [("7", 7), ("99999", 600), ("", 0), ("soon", 0), ("-1", 0)])
def test_an_odd_retry_after_is_no_harm(stated: str, seconds: float) -> None:
    assert retry_after(stated) == seconds


# --- many servers, many requests ------------------------------------------------------------------


async def test_a_retry_goes_to_another_replica_and_the_sick_one_is_left_alone() -> None:
    chats: list[Chat] = [[{"role": "user", "content": str(i)}] for i in range(20)]
    async with Simulator(faults=[Fault("500", rate=1)]) as sick, Simulator() as well:
        async with engine_for(sick, well) as engine:
            done = [await engine.complete(chat, SAMPLER, seed=1) for chat in chats]
        assert {d.engine for d in done} == {well.url}
        assert sick.seen["received"] == 1
        assert well.seen["finished"] == 20


async def test_the_trajectories_of_a_prompt_meet_one_replica_and_prompts_spread() -> None:
    chats: list[Chat] = [[{"role": "user", "content": str(i)}] for i in range(20)]
    async with Simulator() as one, Simulator() as two, engine_for(one, two) as engine:
        homes = [{(await engine.complete(chat, SAMPLER, seed)).engine for seed in range(3)} for chat in chats]
    assert all(len(home) == 1 for home in homes)
    assert set.union(*homes) == {one.url, two.url}


async def test_never_more_requests_are_on_the_wire_than_allowed() -> None:
    async with Simulator(first_token_seconds=0.05) as one, Simulator(first_token_seconds=0.05) as two:
        async with engine_for(one, two, in_flight=4) as engine:
            await asyncio.gather(*(engine.complete(CHAT, SAMPLER, seed) for seed in range(20)))
        assert max(one.seen["peak_running"], two.seen["peak_running"]) == 4
        assert one.seen["finished"] + two.seen["finished"] == 20


async def test_a_request_that_waits_for_its_next_attempt_holds_no_place() -> None:
    faults = [Fault("503", nth=(1,))]
    async with Simulator(faults=faults) as server, engine_for(server, in_flight=1) as engine:
        with stamina.set_testing(False):
            waiting = asyncio.create_task(engine.complete(CHAT, SAMPLER, seed=1))
            await until(lambda: server.seen["received"] == 1)
            async with asyncio.timeout(0.9):
                assert (await engine.complete(CHAT, SAMPLER, seed=2)).content
            assert not waiting.done()
            waiting.cancel()


async def test_cancelling_closes_the_connection_within_a_second() -> None:
    async with Simulator(seconds_per_token=1) as server, engine_for(server) as engine:
        task = asyncio.create_task(engine.complete(CHAT, SAMPLER, seed=1))
        await until(lambda: server.seen["running"] == 1)
        await asyncio.sleep(0.1)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.seen["aborted"] == 1)
        assert time.monotonic() - began < 1
        assert server.seen["received"] == 1


async def test_cancelling_a_request_that_is_queued_at_the_server_frees_its_place_there() -> None:
    async with Simulator(slots=1, seconds_per_token=1) as server, engine_for(server) as engine:
        tasks = [asyncio.create_task(engine.complete(CHAT, SAMPLER, seed)) for seed in range(2)]
        await until(lambda: server.seen["waiting"] == 1)
        for task in tasks:
            task.cancel()
        await until(lambda: server.seen["aborted"] == 2, seconds=1)
        assert server.seen["running"] == server.seen["waiting"] == 0


async def test_closing_aborts_what_is_in_flight() -> None:
    async with Simulator(seconds_per_token=1) as server, engine_for(server) as engine:
        task = asyncio.create_task(engine.complete(CHAT, SAMPLER, seed=1))
        await until(lambda: server.seen["running"] == 1)
        await engine.close()
        await until(lambda: server.seen["aborted"] == 1, seconds=1)
        async with asyncio.timeout(1):
            with pytest.raises(Unreachable):
                await task
        assert server.seen["received"] == 1
        with pytest.raises(Unreachable, match="closed"):
            await engine.complete(CHAT, SAMPLER, seed=1)


# --- check, window, count -------------------------------------------------------------------------


async def test_check_passes_on_a_server_that_serves_the_model() -> None:
    async with Simulator() as server, engine_for(server) as engine:
        await engine.check(SAMPLER)


async def test_check_names_the_model_that_is_not_served_and_those_that_are() -> None:
    async with Simulator() as server, engine_for(server) as engine:
        with pytest.raises(Rejected, match=r"'other'.*sim"):
            await engine.check(Sampler(model="other"))


async def test_check_refuses_a_wrong_key() -> None:
    async with Simulator(api_key="right") as server, engine_for(server) as engine:
        with pytest.raises(Rejected, match="PACORE_API_KEY"):
            await engine.check(SAMPLER)


async def test_check_says_where_no_server_answers() -> None:
    async with engine_for(NOWHERE) as engine:
        with pytest.raises(Unreachable, match=NOWHERE):
            await engine.check(SAMPLER)


async def test_check_says_when_the_url_lacks_its_v1() -> None:
    async with Simulator() as server, engine_for(server.url.removesuffix("/v1")) as engine:
        with pytest.raises(Rejected, match="ends in /v1"):
            await engine.check(SAMPLER)


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>hello</html>", b'{"co\xcant": 7}', b"[]", b'{"data": [[1]]}', b'{"data": [{"id": ["a"]}]}'],
)
async def test_a_list_of_models_that_is_none_is_refused(answer: bytes) -> None:
    async def models(request: web.Request) -> web.Response:
        return web.Response(body=answer, content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/models", models)
    async with TestServer(app) as server, engine_for(str(server.make_url("/v1"))) as engine:
        with pytest.raises(Rejected, match="models"):
            await engine.check(SAMPLER)


async def test_check_passes_over_a_replica_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    async with Simulator() as server, engine_for(server, NOWHERE) as engine:
        with caplog.at_level(logging.WARNING):
            await engine.check(SAMPLER)
        assert NOWHERE in caplog.text
        done = [await engine.complete([{"role": "user", "content": str(i)}], SAMPLER, 1) for i in range(5)]
        assert {d.attempts for d in done} == {1}


async def test_the_window_is_the_stated_one_or_the_smallest_of_the_servers() -> None:
    async with Simulator(window=3000) as one, Simulator(window=2000) as two:
        async with engine_for(one, two) as engine:
            assert await engine.window(SAMPLER) == 2000
        async with engine_for(one, two, window=1000) as engine:
            assert await engine.window(SAMPLER) == 1000


async def test_a_server_that_states_no_window_needs_the_setting() -> None:
    async with Simulator(states_window=False) as server, engine_for(server) as engine:
        with pytest.raises(Rejected, match=r"set engine\.window"):
            await engine.window(SAMPLER)


async def test_tokens_are_counted_by_the_server() -> None:
    async with Simulator() as server, engine_for(server) as engine:
        counted = await engine.count_tokens(CHAT, SAMPLER)
        done = await engine.complete(CHAT, SAMPLER, seed=1)
    assert counted == done.prompt_tokens
    assert server.seen["tokenized"] == 1


async def test_where_the_server_counts_nothing_an_upper_bound_stands_in() -> None:
    async with Simulator(tokenize=False) as server, engine_for(server) as engine:
        bound = await engine.count_tokens(CHAT, SAMPLER)
        done = await engine.complete(CHAT, SAMPLER, seed=1)
    assert bound == at_most_tokens(CHAT, SAMPLER) > done.prompt_tokens


@given(st.text(max_size=50))
def test_the_upper_bound_counts_every_byte(text: str) -> None:
    chat: Chat = [{"role": "user", "content": text}]
    assert at_most_tokens(chat, SAMPLER) > len(text.encode("utf-8", "surrogatepass"))


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        ([], "at least one base URL"),
        (["localhost:8000"], "write it like http://localhost:8000/v1"),
        (["http://user:secret@host/v1"], "api_key_env"),
        (["http://host/v1?key=secret"], "api_key_env"),
    ],
)
def test_unusable_urls_are_refused_with_the_remedy(urls: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OpenAISettings.model_validate({"urls": urls})
