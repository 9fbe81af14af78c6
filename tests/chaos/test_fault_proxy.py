"""The proxy does what it says: half of the connections that it breaks are broken after the request got through."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.chaos.fault_proxy import FaultProxy

NONE: dict[str, Any] = {"errors": 0, "slow": 0, "broken": 0}


@dataclass
class Upstream:
    """A server, and what got through to it: method, path, body."""

    url: str
    received: list[tuple[str, str, bytes]] = field(default_factory=list)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async def answer(request: web.Request) -> web.Response:
        behind.received.append((request.method, request.raw_path, await request.read()))
        return web.Response(body=b"pong", headers={"ETag": "x"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        behind = Upstream(str(server.make_url("")).rstrip("/"))
        yield behind


async def put(proxy: FaultProxy, path: str = "/b/k%20y?x=1") -> tuple[int, bytes, str | None]:
    async with aiohttp.ClientSession() as client, client.put(proxy.url + path, data=b"ping") as answer:
        return answer.status, await answer.read(), answer.headers.get("ETag")


async def test_what_passes_is_what_was_sent(upstream: Upstream) -> None:
    async with FaultProxy(upstream.url, **NONE) as proxy:
        assert await put(proxy) == (200, b"pong", "x")
    assert upstream.received == [("PUT", "/b/k%20y?x=1", b"ping")]


async def test_an_error_goes_no_further(upstream: Upstream) -> None:
    async with FaultProxy(upstream.url, **NONE | {"errors": 1}) as proxy:
        assert {(await put(proxy))[0] for _ in range(20)} == {500, 503}
    assert upstream.received == []


async def test_half_of_the_lost_replies_are_lost_after_the_write(upstream: Upstream) -> None:
    async with FaultProxy(upstream.url, **NONE | {"broken": 1}) as proxy:
        for _ in range(20):
            with pytest.raises(aiohttp.ClientError):
                await put(proxy)
    assert len(upstream.received) == proxy.seen["broken after"] > 0 < proxy.seen["broken before"]
