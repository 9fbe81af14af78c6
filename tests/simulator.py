"""A server that speaks vLLM's API and generates nothing: for tests and benchmarks only.

In process, `async with Simulator(slots=4) as server: ... server.url`; as a process of its own,
`python -m tests.simulator --port 8000 --slots 64` (options: the fields of `Simulator`). The same messages and
seed always give the same text and length. What it received is in its attributes and at `GET /control`;
`POST /control {"faults": [{"kind": "503", "nth": [3]}], "reset": true}` sets faults and zeroes the counts.
"""

import asyncio
import json
import random
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import product
from math import log
from typing import Annotated, Any, Literal, Self

from aiohttp import web
from cyclopts import App, Parameter

Json = dict[str, Any]

WORD = 5
"""Characters of a token, its space included: any run of tokens is a slice of `TEXT`."""
TOKENS = 4096
TEXT = (
    "".join(
        f"{''.join(w)} "
        for w in random.Random(0).choices([*product("bdgklmnrst", "aeiou", "klmnprst", "aeiou")], k=TOKENS)
    )
    * 2
)

Chunk = tuple[str, str, int]
"""Field of the delta, its text, its tokens."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and with which chat requests: a share of all, or the n-th received (from 1).

    A number is an HTTP status; `reset` drops the connection, `hang` never answers; and in the middle of a
    stream `stall` goes silent, `cut` drops the connection, and `error_chunk`, `unfinished` and `abort` end
    it as vLLM does when it breaks.
    """

    kind: str
    rate: float = 0.0
    nth: tuple[int, ...] = ()


@dataclass
class Simulator:
    """One server: its model, its speed, its lengths, its faults, and counts of what it saw."""

    host: str = "127.0.0.1"
    port: int = 0
    model: str = "sim"
    window: int = 131_072
    slots: int = 64
    """Requests that generate at once; the rest wait, and past `max_queued` waiting ones get 503."""
    max_queued: int | None = None
    first_token_seconds: float = 0.0
    seconds_per_token: float = 0.0
    tokens_per_chunk: int = 16
    median_tokens: float = 64
    sigma: float = 0.0
    """Spread of the lognormal length; 1 gives a heavy tail."""
    reasoning: Literal["reasoning", "reasoning_content", "raw", "none"] = "reasoning"
    api_key: str | None = None
    tokenize: bool = True
    states_window: bool = True
    echoes_key: bool = False
    """An injected status repeats the Authorization header that came."""
    retry_after: int | None = None
    """What an injected status tells the client to wait, in seconds."""
    fault: list[str] = field(default_factory=list)
    """Faults by rate, written `503=0.01`."""
    faults: Annotated[list[Fault], Parameter(parse=False)] = field(default_factory=list)
    keep_bodies: bool = False
    bodies: Annotated[list[Json], Parameter(parse=False)] = field(default_factory=list)
    seen: Annotated[dict[str, int], Parameter(parse=False)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert 1 <= self.tokens_per_chunk <= TOKENS
        self.faults += [Fault(kind, float(rate)) for kind, _, rate in (f.partition("=") for f in self.fault)]
        self._random = random.Random(0)
        self._prompts: set[bytes] = set()
        self.reset()

    def reset(self) -> None:
        """Zero the counts and forget bodies."""
        names = ("received", "finished", "aborted", "running", "waiting", "peak_running", "tokens", "chunks")
        self.seen.update(dict.fromkeys((*names, "prompt_tokens", "cached_tokens", "tokenized"), 0))
        self.bodies.clear()

    @property
    def url(self) -> str:
        """The base URL for a client, `/v1` included."""
        return f"http://{self.host}:{self.port}/v1"

    async def __aenter__(self) -> Self:
        self._slots = asyncio.Semaphore(self.slots)
        app = web.Application(client_max_size=1 << 28)
        app.add_routes(
            [
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
                web.get("/control", self._seen),
                web.post("/control", self._control),
                *([web.post("/tokenize", self._tokenize)] if self.tokenize else []),
            ]
        )
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, backlog=16_384)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    # --- what a request asks for, and what it gets -------------------------------------------------

    def _count(self, messages: list[Json]) -> int:
        return 3 + sum(5 + len(str(m.get("content")).encode()) // 4 for m in messages)

    def _refusal(self, request: web.Request, body: Json) -> web.Response | None:
        """The error that vLLM would answer before it generates."""
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if body["model"] != self.model:
            return error(404, f"The model `{body['model']}` does not exist.", "model")
        if body.get("n", 1) != 1:
            return error(400, "the simulator generates n = 1", "n")
        prompt, answer = self._count(body["messages"]), body.get("max_tokens") or 1
        if prompt >= self.window:
            return error(400, f"This model's maximum context length is {self.window} tokens.", "input_tokens")
        if prompt + answer > self.window:
            return error(400, f"{prompt} + {answer} tokens exceed {self.window}.", "max_tokens")
        if self.max_queued is not None and self.seen["waiting"] >= self.max_queued:
            return error(503, "The server is overloaded.")
        return None

    def _fault(self) -> str | None:
        number = self.seen["received"]
        hit = (f.kind for f in self.faults if number in f.nth or (f.rate and self._random.random() < f.rate))
        return next(hit, None)

    def _answer(self, body: Json, prompt: int) -> tuple[list[Chunk], str]:
        """The answer in chunks, and its finish reason. A tenth is conclusion, which `length` may cut off."""
        key = json.dumps([body["model"], body["messages"], body.get("seed")]).encode()
        dice = random.Random(blake2b(key, digest_size=8).digest())
        drawn = max(2, round(dice.lognormvariate(log(self.median_tokens), self.sigma)))
        start, digit = dice.randrange(TOKENS), dice.randrange(10)
        total = min(drawn, body.get("max_tokens") or drawn, self.window - prompt)
        thought = 0 if self.reasoning == "none" else min(total, drawn - max(1, drawn // 10))
        field = self.reasoning if self.reasoning.startswith("reasoning") else "content"
        chunks = self._words(field, start, thought)
        if self.reasoning == "raw":
            chunks = [("content", "<think>\n", 0), *chunks]
        if self.reasoning == "raw" and thought < total:
            chunks.append(("content", "</think>\n\n", 0))
        chunks += self._words("content", start + thought, total - thought)
        if total == drawn:
            chunks.append(("content", f"\\boxed{{{digit}}}", 0))
        return chunks, "stop" if total == drawn else "length"

    def _words(self, field: str, start: int, count: int) -> list[Chunk]:
        sizes = [min(self.tokens_per_chunk, count - at) for at in range(0, count, self.tokens_per_chunk)]
        firsts = [(start + i * self.tokens_per_chunk) % TOKENS for i in range(len(sizes))]
        return [(field, TEXT[f * WORD : (f + n) * WORD], n) for f, n in zip(firsts, sizes, strict=True)]

    # --- /v1/chat/completions ----------------------------------------------------------------------

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.seen["received"] += 1
        if self.keep_bodies:
            self.bodies.append(body)
        fault = self._fault()
        if fault and fault.isdigit():
            echo = f": {request.headers.get('Authorization')}" if self.echoes_key else ""
            refused = error(int(fault), f"injected fault{echo}")
            if self.retry_after is not None:
                refused.headers["Retry-After"] = str(self.retry_after)
            return refused
        if refusal := self._refusal(request, body):
            return refusal
        try:
            if fault == "reset" and request.transport:
                request.transport.abort()
            if fault in ("reset", "hang"):
                await asyncio.Event().wait()
            self.seen["waiting"] += 1
            try:
                await self._slots.acquire()
            finally:
                self.seen["waiting"] -= 1
            self.seen["running"] += 1
            self.seen["peak_running"] = max(self.seen["peak_running"], self.seen["running"])
            try:
                return await self._generate(request, body, fault)
            finally:
                self.seen["running"] -= 1
                self._slots.release()
        except (asyncio.CancelledError, ConnectionError):
            self.seen["aborted"] += 1
            raise

    async def _generate(self, request: web.Request, body: Json, fault: str | None) -> web.StreamResponse:
        prompt = self._count(body["messages"])
        chunks, finish = self._answer(body, prompt)
        usage = self._usage(body, prompt, chunks)
        head = {"id": f"chatcmpl-{self.seen['received']}", "created": 0, "model": self.model}
        began = asyncio.get_running_loop().time() + self.first_token_seconds
        if not body.get("stream"):
            await until(began + usage["completion_tokens"] * self.seconds_per_token)
            self.seen["tokens"] += usage["completion_tokens"]
            self.seen["finished"] += 1
            texts = {name: "".join(text for f, text, _ in chunks if f == name) for name, _, _ in chunks}
            message = {"role": "assistant", "content": None, **texts}
            choice = {"index": 0, "message": message, "finish_reason": finish}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

        def event(delta: str, reason: str = "null") -> bytes:
            return (prefix + delta + f',"logprobs":null,"finish_reason":{reason},"token_ids":null}}]}}\n\n').encode()

        prefix = f'data: {json.dumps(head)[:-1]},"object":"chat.completion.chunk","choices":[{{"index":0,"delta":'
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await until(began)
        await response.write(event('{"role":"assistant","content":""}'))
        done = 0
        for name, text, tokens in chunks[: len(chunks) // 2] if fault else chunks:
            done += tokens
            if self.seconds_per_token:
                await until(began + done * self.seconds_per_token)
            self.seen["tokens"] += tokens
            self.seen["chunks"] += 1
            await response.write(event(json.dumps({name: text})))
        if fault == "cut" and request.transport:
            request.transport.abort()
        if fault in ("cut", "stall"):
            await asyncio.Event().wait()
        if fault == "error_chunk":
            await response.write(b'data: {"error": {"message": "EngineCore died", "code": 500}}\n\ndata: [DONE]\n\n')
        elif fault != "unfinished":
            last = f"data: {json.dumps({**head, 'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n"
            await response.write(event("{}", json.dumps(fault or finish)) + last.encode())
            self.seen["finished"] += not fault
        await response.write_eof()
        return response

    def _usage(self, body: Json, prompt: int, chunks: list[Chunk]) -> Json:
        key = blake2b(json.dumps(body["messages"]).encode(), digest_size=8).digest()
        cached = prompt // 16 * 16 if key in self._prompts else 0
        self._prompts.add(key)
        self.seen["prompt_tokens"] += prompt
        self.seen["cached_tokens"] += cached
        total = sum(tokens for _, _, tokens in chunks)
        thought = sum(tokens for field, _, tokens in chunks if field.startswith("reasoning"))
        return {
            "prompt_tokens": prompt,
            "completion_tokens": total,
            "total_tokens": prompt + total,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }

    # --- the other endpoints -----------------------------------------------------------------------

    async def _models(self, request: web.Request) -> web.Response:
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        card: Json = {"id": self.model, "object": "model"}
        if self.states_window:
            card["max_model_len"] = self.window
        return web.json_response({"object": "list", "data": [card]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.seen["tokenized"] += 1
        count = self._count(body["messages"])
        return web.json_response({"count": count, "max_model_len": self.window, "tokens": list(range(count))})

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, _: web.Request) -> web.Response:
        seen = self.seen
        values = {
            "num_requests_running": seen["running"],
            "num_requests_waiting": seen["waiting"],
            "kv_cache_usage_perc": seen["running"] / self.slots,
            "prefix_cache_queries_total": seen["prompt_tokens"],
            "prefix_cache_hits_total": seen["cached_tokens"],
            "prompt_tokens_cached_total": seen["cached_tokens"],
            "num_preemptions_total": 0,
            "generation_tokens_total": seen["tokens"],
            "iteration_tokens_total_count": seen["chunks"],
        }
        labels = f'{{engine="0",model_name="{self.model}"}}'
        return web.Response(text="".join(f"vllm:{name}{labels} {value}\n" for name, value in values.items()))

    async def _seen(self, _: web.Request) -> web.Response:
        return web.json_response({**self.seen, "bodies": self.bodies})

    async def _control(self, request: web.Request) -> web.Response:
        order = await request.json()
        if order.get("reset"):
            self.reset()
        if "faults" in order:
            self.faults = [Fault(f["kind"], f.get("rate", 0.0), tuple(f.get("nth", ()))) for f in order["faults"]]
        return web.json_response({"faults": [asdict(f) for f in self.faults]})


def error(status: int, message: str, param: str | None = None) -> web.Response:
    """An error as vLLM words it."""
    kinds = {
        400: "BadRequestError",
        404: "NotFoundError",
        500: "InternalServerError",
        503: "ServiceUnavailable",
    }
    body = {"message": message, "type": kinds.get(status, "Error"), "param": param, "code": status}
    return web.json_response({"error": body}, status=status)


async def until(moment: float) -> None:
    """Sleep up to a moment of the loop's clock."""
    await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))


async def serve(simulator: Annotated[Simulator | None, Parameter(name="*")] = None) -> None:
    """Serve until killed; the first line printed is the URL."""
    async with simulator or Simulator() as running:
        print(running.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    App(default_command=serve)()
