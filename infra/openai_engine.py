"""Chats completed by OpenAI-compatible servers over HTTP: vLLM first, one or many replicas."""

import asyncio
import json
import logging
import math
import os
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai
import stamina
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from infra.answer_stream import AnswerStream, BrokenStreamError, Count
from infra.engine import Chat, Completion, EngineError, Overloaded, Rejected, Stalled, TooLong, Unreachable
from infra.outage import Outage
from infra.replicas import Replicas
from infra.sampler import Sampler
from infra.token_bound import at_most_tokens

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 4.0
"""Idle connections are dropped before vLLM drops them (5 s): no request is sent into a closing one."""
CONTROL_SECONDS = 60.0
"""Longest wait for /v1/models and /tokenize, which generate nothing."""
TOKENIZE_IN_FLIGHT = 16
"""Prompts counted at once: bounded apart from generations, which can hold their places for hours."""

HINDRANCES = 20
"""How often a try is begun again because of an outage or overload: a request may be what brings servers down."""
LONGEST_RETRY_AFTER = 600.0
"""Seconds of a server's Retry-After that are heeded."""
FRESH_SECONDS = 5.0
"""A server that sent a token so long ago answers, even if it has no place for one request more."""

QUOTED = 300
"""Characters of a server's own words that an error repeats."""
NO_KEY = "EMPTY"


TRANSIENT = (Overloaded, Unreachable, Stalled)
BROKEN = (openai.APIConnectionError, httpx2.HTTPError, httpx2.StreamError, aiohttp.ClientError, OSError)
"""What a connection that failed or broke off raises, from whichever layer noticed."""

T = TypeVar("T")


def _tell_of_retry(details: RetryDetails) -> None:
    log.info("%s; attempt %d in %.0f s", details.caused_by, details.retry_num + 1, details.wait_for)


set_on_retry_hooks([_tell_of_retry])
"""In place of stamina's own hook, whose line does not say what went wrong."""


class OpenAISettings(BaseModel):
    """Where the servers are, and how patiently they are asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["openai"] = "openai"
    urls: tuple[str, ...] = Field(description="base URLs of equal servers, each with its /v1")
    in_flight: int = Field(default=64, ge=1, description="requests on the wire at once, over all servers together")
    tries: int = Field(default=5, ge=1, description="attempts a request while servers answer, the first included")
    patience_seconds: float = Field(
        default=1800, ge=0, description="longest wait for a server while none answers; uses up no tries"
    )
    connect_seconds: float = Field(default=10, gt=0, description="longest wait for a connection")
    first_token_seconds: float = Field(
        default=600, gt=0, description="longest wait for the first token, queue included"
    )
    between_tokens_seconds: float = Field(default=120, gt=0, description="longest silence between two tokens")
    window: int | None = Field(
        default=None, ge=1, description="tokens of prompt and answer together; absent: what the server states"
    )
    api_key_env: str = Field(
        default="PACORE_API_KEY",
        description="name of the environment variable that holds the API key",
    )

    @field_validator("api_key_env")
    @classmethod
    def _a_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            raise ValueError(
                "that is no name of an environment variable, such as PACORE_API_KEY; put the key itself into the "
                "variable, never into the file"
            )
        return name

    @field_validator("urls")
    @classmethod
    def _usable(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        if not urls:
            raise ValueError("no server given; list at least one base URL, such as http://localhost:8000/v1")
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                given = "what is given" if "@" in url else repr(url)
                raise ValueError(f"{given} is no base URL; write it like http://localhost:8000/v1")
            if parts.username or parts.password or parts.query or parts.fragment:
                raise ValueError(
                    f"the URL of {parts.hostname} holds more than host and path, and would be stored with "
                    "every trajectory; a key belongs in the environment variable that api_key_env names"
                )
        return tuple(url.rstrip("/") for url in urls)


class Card(BaseModel):
    """One model that a server serves. `max_model_len`: tokens of prompt and answer, where vLLM states it."""

    id: str
    max_model_len: Count | None = None


class Models(BaseModel):
    """What /v1/models answers."""

    data: list[Card]


class Counted(BaseModel):
    """What /tokenize answers."""

    count: Count


class OpenAIEngine:
    """Completes chats on OpenAI-compatible servers. See `infra.engine.Engine` for the methods.

    Every attempt is one streamed request for one answer. What may pass (overload, a lost connection, silence)
    is tried again, on another server where there is one; what stays wrong is raised at once. While no server
    answers at all, requests wait; when that lasts longer than `patience_seconds`, they raise `Away`.
    """

    def __init__(self, settings: OpenAISettings) -> None:
        self.settings = settings
        self._key = os.environ.get(settings.api_key_env) or NO_KEY
        self._timeout = httpx2.Timeout(None, connect=settings.connect_seconds)
        limits = httpx2.Limits(
            max_connections=settings.in_flight + TOKENIZE_IN_FLIGHT + len(settings.urls),
            keepalive_expiry=KEEPALIVE_SECONDS,
        )
        # The SDK's aiohttp transport: httpx2's own pool costs CPU in proportion to the connections it holds.
        self._http = openai.DefaultAioHttpClient(limits=limits, timeout=self._timeout)
        self._clients = {url: self._client(url) for url in settings.urls}
        self._replicas = Replicas(settings.urls)
        self._generations = asyncio.Semaphore(settings.in_flight)
        self._countings = asyncio.Semaphore(TOKENIZE_IN_FLIGHT)
        self._limits: dict[str, dict[str, int | None]] = {}  # url → model → max_model_len
        self._talks: set[_Patience] = set()
        self._outages: dict[str, Outage] = {}  # of a model
        self._heard: dict[str, float] = {}  # url → when a token last came from it
        self._closed = False

    def _client(self, url: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=url, api_key=self._key, max_retries=0, timeout=self._timeout, http_client=self._http
        )

    async def check(self, sampler: Sampler) -> None:
        """Ask every server for its models. Servers that do not answer are passed over unless none does."""
        errors = [e for e in await asyncio.gather(*map(self._learn, self.settings.urls)) if e]
        refused = next((e for e in errors if isinstance(e, Rejected)), None)
        if refused or len(errors) == len(self.settings.urls):
            raise refused or errors[0]
        for error in errors:
            log.warning("%s", error)
        for url, limits in self._limits.items():
            if sampler.model not in limits:
                raise self._error(404, None, url, sampler.model)

    async def _learn(self, url: str) -> EngineError | None:
        """Remember the models that a server serves; return why it could not be asked."""
        try:
            async with self._talk(url, None):
                answer = await self._clients[url].get("/models", cast_to=object)
        except EngineError as error:
            self._replicas.failed(url)
            return error
        try:
            cards = Models.model_validate(answer).data
        except ValidationError:
            return self._error(404, None, url, None)
        self._limits[url] = {card.id: card.max_model_len for card in cards}
        return None

    async def window(self, sampler: Sampler) -> int:
        """`engine.window` where it is set, else the smallest limit that a server states."""
        if self.settings.window:
            return self.settings.window
        if not self._limits:
            await self.check(sampler)
        stated = [n for limits in self._limits.values() if (n := limits.get(sampler.model))]
        if not stated:
            raise Rejected(
                f"{', '.join(self._limits)} does not state how many tokens {sampler.model!r} can hold: "
                "set engine.window"
            )
        return min(stated)

    async def count_tokens(self, chat: Chat, sampler: Sampler) -> int:
        """What the server's /tokenize counts; where it has none, `at_most_tokens`."""
        return await self._persist(chat, sampler.model, self._countings, partial(self._tokenize, chat, sampler))

    async def _tokenize(self, chat: Chat, sampler: Sampler, url: str, attempt: int) -> int:
        body: dict[str, Any] = {"model": sampler.model, "messages": chat, "add_generation_prompt": True}
        if sampler.chat_template:
            body["chat_template_kwargs"] = sampler.chat_template
        async with self._talk(url, sampler.model):
            try:
                path = f"{url.removesuffix('/v1')}/tokenize"
                answer = await self._clients[url].post(path, cast_to=object, body=body)
            except openai.APIStatusError as error:
                if error.status_code not in (404, 405):
                    raise
                return at_most_tokens(chat, sampler)
        try:
            return Counted.model_validate(answer).count
        except ValidationError:
            raise Rejected(f"{path} states no count: is it vLLM's?") from None

    async def complete(self, chat: Chat, sampler: Sampler, seed: int) -> Completion:
        """Generate one answer; an error's `attempts` says how often it was tried."""
        body = request_body(chat, sampler, seed)
        return await self._persist(chat, sampler.model, self._generations, partial(self._generate, body))

    async def _generate(self, body: dict[str, Any], url: str, attempt: int) -> Completion:
        started, began, answer = datetime.now(UTC), time.monotonic(), AnswerStream()
        first, between = self.settings.first_token_seconds, self.settings.between_tokens_seconds
        async with self._talk(url, body["model"], first, "engine.first_token_seconds") as patience:
            async with await self._send(url, body) as stream:
                rest = b""
                async for data in stream.response.aiter_bytes():
                    *lines, rest = (rest + data).split(b"\n")
                    if answer.take(lines):
                        self._heard[url] = time.monotonic()
                        patience.renew(between, "engine.between_tokens_seconds")
                answer.take([rest])
            return answer.completion(url, started, time.monotonic() - began, attempt)

    def _send(self, url: str, body: dict[str, Any]) -> Awaitable[openai.AsyncStream[object]]:
        """Start a streamed answer. The SDK's `create` also walks the body by its types: a third more CPU."""
        stream = openai.AsyncStream[object]
        path = "/chat/completions"
        return self._clients[url].post(path, cast_to=object, body=body, stream=True, stream_cls=stream)

    async def close(self) -> None:
        """Abort what is in flight and give connections back. Callers still waiting get `Unreachable`."""
        self._closed = True
        for patience in self._talks:
            if not patience.timer.expired():
                patience.timer.reschedule(0)
        for outage in self._outages.values():
            await outage.close()
        await asyncio.sleep(0)
        await self._http.aclose()

    async def _persist(
        self, chat: Chat, model: str, gate: asyncio.Semaphore, ask: Callable[[str, int], Awaitable[T]]
    ) -> T:
        """Ask one server after the other until one answers; what may not pass is raised at once.

        Between tries pass 1, 3, 9, 27 seconds, each and up to one more by chance.
        """
        prompt = json.dumps(chat).encode() if len(self.settings.urls) > 1 else b""
        tried: Counter[str] = Counter()
        async for turn in stamina.retry_context(
            on=self._may_pass,
            attempts=self.settings.tries,
            timeout=None,
            wait_initial=1,
            wait_exp_base=3,
            wait_max=60,
        ):
            with turn:
                return await self._try(prompt, tried, model, gate, ask)
        raise AssertionError("stamina raises the last error")

    async def _try(
        self,
        prompt: bytes,
        tried: Counter[str],
        model: str,
        gate: asyncio.Semaphore,
        ask: Callable[[str, int], Awaitable[T]],
    ) -> T:
        """One try, begun again while it is an outage or overload that hinders it.

        The gate is held only while a request is on the wire, not in between.
        """
        outage = self._outages.setdefault(model, Outage(partial(self._probe, model), self.settings.patience_seconds))
        async for turn in stamina.retry_context(
            on=self._hindered, attempts=HINDRANCES, timeout=None, wait_initial=1, wait_max=60
        ):
            with turn:
                await outage.over()
                try:
                    async with gate:
                        url = self._replicas.choose(prompt, tried)
                        tried[url] += 1
                        return await ask(url, tried.total())
                except EngineError as error:
                    error.attempts = tried.total()
                    if isinstance(error, TRANSIENT) and not self._closed:
                        self._replicas.failed(url)
                        if not isinstance(error, Overloaded):
                            self._heard.pop(url, None)
                        if self.settings.patience_seconds:
                            error.hindered = await outage.passed() or isinstance(error, Overloaded)
                    raise
        raise AssertionError("stamina raises the last error")

    def _hindered(self, error: Exception) -> bool | float:
        """Whether a try begins again; where the server asks for it, in so many seconds."""
        if not isinstance(error, EngineError) or not error.hindered or self._closed:
            return False
        return (isinstance(error, Overloaded) and error.retry_after) or True

    async def _probe(self, model: str) -> None:
        """Return when a server generates; raise when none does."""
        error: EngineError | None = None
        pings = [asyncio.create_task(self._ping(url, model)) for url in self.settings.urls]
        try:
            for ping in asyncio.as_completed(pings):
                if (error := await ping) is None:
                    return
        finally:
            for ping in pings:
                ping.cancel()
        if error:
            raise error

    async def _ping(self, url: str, model: str) -> EngineError | None:
        """Ask a server for one token; return why it does not answer. One that refuses, answers."""
        body = request_body([{"role": "user", "content": "1"}], Sampler(model=model, max_tokens=1), 0)
        if self._generates(url):
            return None
        try:
            async with asyncio.timeout(CONTROL_SECONDS):
                await self._generate(body, url, 1)
        except TimeoutError:
            silent = Stalled(f"{url} sent nothing for {CONTROL_SECONDS:g} s: see whether it hangs")
            return None if self._generates(url) else silent
        except (Unreachable, Stalled) as error:
            self._heard.pop(url, None)
            return error
        except Overloaded as error:
            return error
        except EngineError:
            return None
        return None

    def _generates(self, url: str) -> bool:
        return time.monotonic() - self._heard.get(url, -math.inf) < FRESH_SECONDS

    def _may_pass(self, error: Exception) -> bool:
        return isinstance(error, TRANSIENT) and not self._closed

    @asynccontextmanager
    async def _talk(
        self, url: str, model: str | None, seconds: float = CONTROL_SECONDS, setting: str = "no setting"
    ) -> AsyncIterator["_Patience"]:
        """Bound the silence of a server and turn whatever goes wrong into one of our errors."""
        if self._closed:
            raise Unreachable("the engine was closed")
        patience = _Patience(asyncio.timeout(None))
        self._talks.add(patience)
        try:
            async with patience.timer:
                patience.renew(seconds, setting)
                yield patience
        except TimeoutError:
            if self._closed:
                raise Unreachable("the engine was closed") from None
            raise Stalled(
                f"{url} sent nothing for {patience.seconds:g} s ({patience.setting}): see whether it hangs, "
                "or allow it more time"
            ) from None
        except openai.APIStatusError as error:
            failure = self._error(error.status_code, error.body, url, model)
            if isinstance(failure, Overloaded):
                failure.retry_after = retry_after(error.response.headers.get("Retry-After", ""))
            raise failure from None
        except BrokenStreamError as error:
            raise self._error(error.status, error.said, url, model) from None
        except ValueError as error:
            raise Rejected(
                f"{url} answers what is no JSON: {self._quote(error)}; compare the base URL with {url}/models"
            ) from None
        except BROKEN as error:
            why = error.__cause__ or error
            said = self._quote(str(why) or type(why).__name__)
            raise Unreachable(f"{url} cannot be reached or broke off: {said}; see whether it runs") from error
        finally:
            self._talks.discard(patience)

    def _error(self, status: int | None, said: object, url: str, model: str | None) -> EngineError:
        """What a server's status and words mean. No status: a stream that broke."""
        quote = self._quote(said.get("message", said) if isinstance(said, dict) else said)
        match status:
            case None:
                return Unreachable(f"{url} broke off in the middle: {quote}; see its log")
            case 400 if _too_long(said):
                return TooLong(f"{url}: prompt and answer exceed the window of {model!r}: {quote}")
            case 401 | 403:
                name = self.settings.api_key_env
                state = "is not set" if self._key == NO_KEY else "holds a key that it does not accept"
                return Rejected(f"{url} wants an API key (HTTP {status}): the environment variable {name} {state}")
            case 404 if model and url in self._limits:
                served = ", ".join(self._limits[url])
                return Rejected(f"{url} does not serve {model!r}; it serves {served}: correct sampler.model")
            case 404 if model:
                return Rejected(f"{url} does not serve {model!r}, or is no base URL: compare with {url}/models")
            case 404:
                return Rejected(f"{url} has no /models (HTTP 404): give a base URL that ends in /v1")
            case 408 | 429 | 503:
                return Overloaded(f"{url} has too much to do (HTTP {status}): {quote}; lower engine.in_flight")
            case _ if 400 <= status < 500:
                return Rejected(f"{url} refused the request (HTTP {status}): {quote}; correct the sampler")
        return Unreachable(f"{url} failed (HTTP {status}): {quote}; see its log")

    def _quote(self, said: object) -> str:
        """A server's words on one line, short, without our key and without what a terminal would obey."""
        words = " ".join(str(said).replace(self._key, "***").split())[:QUOTED]
        return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in words)


@dataclass(eq=False)
class _Patience:
    """The time until a silent server counts as stalled."""

    timer: asyncio.Timeout
    seconds: float = 0.0
    setting: str = ""

    def renew(self, seconds: float, setting: str) -> None:
        self.seconds, self.setting = seconds, setting
        self.timer.reschedule(asyncio.get_running_loop().time() + seconds)


def retry_after(stated: str) -> float:
    """Seconds of a Retry-After header; 0 where it states none, or a date."""
    return min(float(stated), LONGEST_RETRY_AFTER) if stated.isdecimal() else 0.0


def _too_long(said: object) -> bool:
    """Whether a 400 means that the window is exceeded: vLLM says so in `param`, others in code or words."""
    if not isinstance(said, dict):
        return False
    return (
        said.get("param") in ("input_tokens", "max_tokens")
        or said.get("code") == "context_length_exceeded"
        or "context length" in str(said.get("message"))
    )


def request_body(chat: Chat, sampler: Sampler, seed: int) -> dict[str, Any]:
    """What is posted for one answer. Options that the sampler leaves open are left to the server."""
    options: dict[str, Any] = {
        "max_tokens": sampler.max_tokens,
        "top_k": sampler.top_k,
        "min_p": sampler.min_p,
        "stop": list(sampler.stop) or None,
        "chat_template_kwargs": sampler.chat_template or None,
        "response_format": sampler.answer_schema and _format(sampler.answer_schema),
    }
    return {
        "model": sampler.model,
        "messages": chat,
        "temperature": sampler.temperature,
        "top_p": sampler.top_p,
        "seed": seed,
        "n": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in options.items() if value is not None},
    }


def _format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
