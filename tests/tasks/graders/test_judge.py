import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from infra.openai_engine import OpenAISettings
from infra.sampler import Sampler
from tasks.campaign.campaign_file import CampaignError, load_campaign
from tasks.campaign.plan import make_plan
from tasks.graders import Verdict
from tasks.graders.judge import REASON, SCHEMA, Judge, JudgeSettings, parse
from tasks.problem import Problem

Write = Callable[..., Path]

QUESTION = Problem("one", [{"role": "user", "content": "What is 1 + {{ 1 }}?"}], "2")
CONVERSATION = Problem(
    "two",
    [{"role": "user", "content": "I am Ann."}, {"role": "user", "content": "Who am I?"}],
    json.dumps({"criterion": "Does it say Bob?", "expected": "no"}),
    "INFERENCE_MEMORY",
)


def says(verdict: str, reasoning: str = "because", answer: str = "2") -> str:
    return json.dumps({"answer": answer, "reasoning": reasoning, "verdict": verdict})


class JudgeServer:
    """An OpenAI-compatible server whose answers a test gives; it repeats the last. A number is an HTTP status."""

    def __init__(self) -> None:
        self.answers: list[str | int] = []
        self.bodies: list[dict[str, Any]] = []

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "judge", "max_model_len": 9999}]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, int):
            return web.json_response({"error": {"message": "no"}}, status=answer)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        choice = {"index": 0, "delta": {"content": answer}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        for chunk in ({"choices": [choice]}, {"choices": [], "usage": usage}):
            whole = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "judge", **chunk}
            await response.write(b"data: " + json.dumps(whole).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
async def server() -> AsyncIterator[tuple[JudgeServer, str]]:
    judge, app = JudgeServer(), web.Application()
    app.add_routes([web.get("/v1/models", judge.models), web.post("/v1/chat/completions", judge.chat)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield judge, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


def settings(url: str, **keys: Any) -> JudgeSettings:
    engine = OpenAISettings(urls=(url,), tries=1)
    return JudgeSettings(kind="judge", engine=engine, sampler=Sampler(model="judge", temperature=0), **keys)


async def judged(
    server: tuple[JudgeServer, str], answers: list[str | int], problem: Problem = QUESTION, **keys: Any
) -> tuple[Verdict, list[Any]]:
    server[0].answers = answers
    judge = Judge(settings(server[1], **keys))
    try:
        return await judge.grade(problem, "id", "So it is 2.")
    finally:
        await judge.close()


async def test_yes_is_correct_with_the_reason_and_the_answer(server: tuple[JudgeServer, str]) -> None:
    verdict, (vote,) = await judged(server, [says("yes", "the same\nnumber")])
    assert verdict == Verdict("correct", "2", "the same number")
    assert (vote.completion.prompt_tokens, vote.completion.completion_tokens) == (100, 20)


async def test_no_is_wrong(server: tuple[JudgeServer, str]) -> None:
    verdict, _ = await judged(server, [says("no", "x" * 999)])
    assert verdict == Verdict("wrong", "2", "x" * REASON)


@pytest.mark.parametrize(("said", "outcome"), [("yes", "wrong"), ("no", "correct")])
async def test_a_rubric_is_met_where_the_judge_says_what_is_expected(
    server: tuple[JudgeServer, str], said: str, outcome: str
) -> None:
    verdict, _ = await judged(server, [says(said, answer="")], CONVERSATION, prompt="rubric")
    assert (verdict.outcome, verdict.answer) == (outcome, None)
    assert "Does it say Bob?" in server[0].bodies[0]["messages"][0]["content"]


async def test_the_judge_is_asked_for_an_answer_of_a_form_and_sees_values_as_data(
    server: tuple[JudgeServer, str],
) -> None:
    await judged(server, [says("yes")])
    (body,) = server[0].bodies
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    prompt = body["messages"][0]["content"]
    assert all(part in prompt for part in ["What is 1 + {{ 1 }}?", "So it is 2.", "<correct_answer>\n2\n"])


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        (["yes", "yes", "no"], "correct"),
        (["no", "yes", "no"], "wrong"),
        (["yes", "no", "?"], "ungraded"),
        (["yes", "yes", "?"], "correct"),
        (["?", "?", "?"], "ungraded"),
    ],
)
async def test_more_than_half_of_the_votes_decide(
    server: tuple[JudgeServer, str], answers: list[str], outcome: str
) -> None:
    verdict, votes = await judged(server, [says(answer) if answer != "?" else "Hm." for answer in answers], votes=3)
    assert verdict.outcome == outcome
    assert len({body["seed"] for body in server[0].bodies}) == len(votes) == 3


async def test_a_judge_that_can_not_be_read_leaves_the_message_ungraded(server: tuple[JudgeServer, str]) -> None:
    verdict, (vote,) = await judged(server, ["I would rather not."])
    assert verdict.outcome == "ungraded"
    assert "no verdict could be read" in verdict.reason
    assert vote.row()["content"] == "I would rather not."


async def test_an_engine_that_fails_leaves_the_message_ungraded_with_the_reason(
    server: tuple[JudgeServer, str],
) -> None:
    verdict, (vote,) = await judged(server, [404])
    assert verdict.outcome == "ungraded"
    assert "Rejected" in verdict.reason
    assert vote.row()["completion_tokens"] == 0


async def test_an_empty_message_is_wrong_and_costs_nothing(server: tuple[JudgeServer, str]) -> None:
    judge = Judge(settings(server[1]))
    assert await judge.grade(QUESTION, "id", " \n") == (Verdict("wrong", None, "no answer found"), [])
    assert server[0].bodies == []


async def test_it_asks_no_more_at_once_than_its_engine_takes(server: tuple[JudgeServer, str]) -> None:
    server[0].answers = [says("yes")]
    judge = Judge(settings(server[1], votes=5))
    verdicts = await asyncio.gather(*(judge.grade(QUESTION, str(n), "2") for n in range(20)))
    await judge.close()
    assert {verdict.outcome for verdict, _ in verdicts} == {"correct"}
    assert len({body["seed"] for body in server[0].bodies}) == 100


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        (says("yes"), "yes"),
        (f"```json\n{says('no')}\n```", "no"),
        (f"Let me see.\n{says('yes')}\nThat is all.", "yes"),
        ('{"answer": "2", "reasoning": "a line\nbreak", "verdict": "YES"}', "yes"),
        (r'{"answer": "\frac12", "reasoning": "x", "verdict": "no"}', "no"),
        ("Reasoning: they differ.\n**Verdict:** No", "no"),
        ("verdict: yes\nNo, wait.\nverdict: no", "no"),
        ('{"verdict": "maybe"}', None),
        ("", None),
        ("{" * 100_000, None),
        ("yes", None),
    ],
)
def test_the_verdict_is_read_leniently(content: str, verdict: str | None) -> None:
    said = parse(content)
    assert (said and said["verdict"]) == verdict


def test_another_judge_has_another_name() -> None:
    one = settings("http://h/v1")
    names = {one.name, *(settings("http://h/v1", **keys).name for keys in ({"votes": 3}, {"prompt": "rubric"}))}
    assert len(names) == 3
    assert settings("http://elsewhere/v1").name == one.name


JUDGE = {"kind": "judge", "engine": {"urls": ["http://h/v1"]}, "sampler": {"model": "judge"}}


def test_a_campaign_names_its_judge_and_a_published_benchmark_its_prompt(campaign_file: Write) -> None:
    assert load_campaign(campaign_file(grader=JUDGE)).grader.prompt == "equivalence"  # type: ignore[union-attr]
    hard = load_campaign(campaign_file(benchmark="multichallenge", grader=JUDGE))
    assert (hard.grader.prompt, hard.runs) == ("rubric", 8)  # type: ignore[union-attr]
    assert hard.grader_name.startswith("judge-")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"grader": {**JUDGE, "votes": 0}}, "grader.votes: 0 given"),
        ({"grader": {**JUDGE, "vote": 1}}, "grader.vote is no key; known here: kind, engine, sampler, prompt, votes"),
        ({"grader": {"kind": "judge", "sampler": {"model": "m"}}}, "grader.engine is missing"),
        ({"grader": {**JUDGE, "sampler": {}}}, "grader.sampler.model is missing"),
        ({"grader": {**JUDGE, "kind": "jury"}}, "grader.kind: 'jury' given"),
        ({"grader": 7}, "grader: 7 given"),
        ({"grader": None, "benchmark": "hle"}, "hle is graded by a model of your choice; give grader: {kind: judge"),
    ],
)
def test_a_judge_that_is_wrong_in_the_file_is_refused_in_one_line(
    campaign_file: Write, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(CampaignError) as refused:
        load_campaign(campaign_file(**keys))
    assert said in str(refused.value)


@pytest.mark.parametrize("source", [None, "{{ question"])
def test_a_prompt_that_can_not_be_used_is_refused(campaign_file: Write, tmp_path: Path, source: str | None) -> None:
    if source:
        (tmp_path / "own.jinja").write_text(source)
    campaign = load_campaign(campaign_file(grader={**JUDGE, "prompt": "own.jinja"}))
    with pytest.raises(CampaignError, match=r"grader: prompt .*own\.jinja: "):
        make_plan(campaign)
