"""`POST /v1/chat/completions`: from the request to the last byte of the answer, or to why there is none."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from flows.serve.chat_reply import DONE, Choice, Reply, event
from flows.serve.chat_request import ChatRequest, read_request
from flows.serve.metrics import Metrics
from flows.serve.refusal import Refusal, of_engine
from infra.engine import EngineError, TooLong
from infra.table import Row
from tasks.campaign.campaign_file import CampaignError
from tasks.problem import Problem
from tasks.reasoning.prompt_writer import PromptWriter
from tasks.serving.answer import Answerer

OK, FAULT, GONE = 200, 500, 499
"""Statuses in the metrics. GONE: the client went, or the server ended, before the answer was there."""
Told = Callable[[int, str], None]
"""Told how an answer's rounds go: its index, and a line."""
Ended = Callable[[int, Choice], None]


@dataclass(frozen=True)
class Work:
    """A request that was understood, and what its answers need."""

    asked: ChatRequest
    reply: Reply
    prompts: PromptWriter
    problem: Problem
    runs: list[int]


class ChatCompletions:
    """The endpoint. Whatever ends a request, a client that goes included, aborts what it asked of the engine."""

    def __init__(self, answerer: Answerer, metrics: Metrics) -> None:
        self.answerer = answerer
        self.serving = answerer.serving
        self.metrics = metrics
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        request, status, began = Request(scope, receive), FAULT, time.monotonic()
        try:
            with self._place():
                work = await self._read(request)
                status = await (self._stream if work.asked.stream else self._whole)(work, request, send)
        except (ClientDisconnect, asyncio.CancelledError) as end:
            status = GONE
            if isinstance(end, asyncio.CancelledError):
                raise
        except Refusal as refusal:
            status = refusal.status
            await refusal.response()(scope, receive, send)
        finally:
            self.metrics.requests.labels(status).inc()
            if status == OK:
                self.metrics.seconds.observe(time.monotonic() - began)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """A place in flight. Raises `Refusal` where none is free."""
        if self._running >= self.serving.limits.requests:
            message = f"{self._running} requests are in flight, no more are taken (limits.requests); come again later"
            raise Refusal(429, message, code="rate_limit_exceeded")
        if self.answerer.kept and self.answerer.kept.is_full:
            raise Refusal(503, "the store that answers are kept in does not take them; come again later")
        self._running += 1
        try:
            with self.metrics.running.track_inprogress():
                yield
        finally:
            self._running -= 1

    async def _read(self, request: Request) -> Work:
        asked = read_request(await self._body(request), self.serving.name)
        reply = Reply(self.serving.name, f"fp_{self.answerer.recipe}")
        try:
            prompts = self.answerer.prompts(asked.sampler(self.serving.sampler))
        except CampaignError as error:
            raise Refusal(400, str(error), "max_tokens") from None
        problem = Problem(reply.id, asked.chat, "")
        try:
            if too_long := await prompts.too_long(problem.chat):
                raise of_engine(TooLong(too_long))
        except EngineError as error:
            raise of_engine(error) from None
        first = random.randrange(self.answerer.runs) if asked.seed is None else asked.seed
        runs = [(first + index) % self.answerer.runs for index in range(asked.n)]
        return Work(asked, reply, prompts, problem, runs)

    async def _body(self, request: Request) -> bytes:
        most, body = self.serving.limits.body_bytes, bytearray()
        if int(request.headers.get("Content-Length", 0)) <= most:
            async for part in request.stream():
                body += part
                if len(body) > most:
                    break
            else:
                return bytes(body)
        raise Refusal(413, f"the request is longer than {most:,} bytes (limits.body_bytes)")

    async def _whole(self, work: Work, request: Request, send: Send) -> int:
        answers = asyncio.create_task(self._choices(work, lambda *_: None, lambda *_: None))
        going = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait([answers, going], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            raise Refusal(503, "the server ended before the answer was there; ask again") from None
        else:
            if not answers.done():
                raise ClientDisconnect
            await JSONResponse(work.reply.whole(answers.result()))(request.scope, request.receive, send)
        finally:
            await _abort(going)
            await _abort(answers)
        return OK

    async def _stream(self, work: Work, request: Request, send: Send) -> int:
        """Progress as it comes; an answer when it is there, for what follows its last `</think>` shows at its end."""
        events: asyncio.Queue[bytes | None] = asyncio.Queue()
        reply, status = work.reply, GONE

        def told(index: int, line: str) -> None:
            events.put_nowait(reply.delta(index, {"reasoning": line}))

        def ended(index: int, choice: Choice) -> None:
            for part in reply.answer(index, choice):
                events.put_nowait(part)

        answers = asyncio.create_task(self._choices(work, told, ended))
        answers.add_done_callback(lambda _: events.put_nowait(None))

        async def parts() -> AsyncIterator[bytes]:
            nonlocal status
            for index in range(work.asked.n):
                yield reply.delta(index, {"role": "assistant", "content": ""})
            while part := await events.get():
                yield part
            try:
                choices = answers.result()
            except Refusal as refusal:
                status = refusal.status
                yield event(refusal.body)
            else:
                status = OK
                if work.asked.stream_options.include_usage:
                    yield reply.usage(choices)
            yield DONE

        try:
            stream = StreamingResponse(parts(), headers={"Cache-Control": "no-cache"}, media_type="text/event-stream")
            await stream(request.scope, request.receive, send)
        finally:
            await _abort(answers)
        return status

    async def _choices(self, work: Work, told: Told, ended: Ended) -> list[Choice]:
        """All answers; when one fails, the others are aborted."""
        try:
            async with asyncio.TaskGroup() as group:
                choices = [
                    group.create_task(self._choice(work, index, run, told, ended))
                    for index, run in enumerate(work.runs)
                ]
        except ExceptionGroup as errors:
            if isinstance(error := errors.exceptions[0], EngineError):
                raise of_engine(error) from None
            raise
        return [choice.result() for choice in choices]

    async def _choice(self, work: Work, index: int, run: int, told: Told, ended: Ended) -> Choice:
        lines: list[str] = []
        rounds = len(self.serving.method.rounds)

        def heard(row: Row, done: int, width: int) -> None:
            self.metrics.heard(row)
            where = f"round {row['round']} of {rounds}: {done} of {width}"
            lines.append(f"{where} trajectories, {row['completion_tokens']:,} tokens\n")
            told(index, lines[-1])

        answer = await self.answerer.answer(work.prompts, work.problem, run, heard)
        text, cut = answer.last["message"], work.asked.cut(answer.last["message"])
        finish = answer.last["finish_reason"] if cut is None else "stop"
        choice = Choice(answer, text if cut is None else cut, "".join(lines), finish)
        ended(index, choice)
        return choice


async def _gone(request: Request) -> None:
    """Return when the client has gone; its body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _abort(task: "asyncio.Task[object]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
