"""A reverse proxy that spoils some of what passes through it: `python -m tests.chaos.fault_proxy UPSTREAM`.

The first line printed is its URL; `GET /control` on it tells how often it did what.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Self

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from cyclopts import App, Parameter
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

HOP_BY_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding"}
ERRORS = {500: "InternalError", 503: "SlowDown"}


@dataclass
class FaultProxy:
    """Stands before an S3 server. Shares of all requests; the same seed and order of requests spoil the same ones.

    `errors` are answered 500 or 503 and go no further; `slow` ones wait; of the `broken` connections one half is
    dropped before the request gets through, the other after: what was written is written, and its reply is lost.
    """

    upstream: str
    port: int = 0
    seed: int = 0
    errors: float = 0.05
    slow: float = 0.05
    broken: float = 0.01
    slow_seconds: tuple[float, float] = (2.0, 5.0)
    seen: Annotated[Counter[str], Parameter(parse=False)] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            timeout=ClientTimeout(total=None), auto_decompress=False, connector=TCPConnector(limit=0)
        )
        app = web.Application(client_max_size=1 << 28)
        app.router.add_get("/control", self._control)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _control(self, _: web.Request) -> web.Response:
        return web.json_response(self.seen)

    def _fate(self) -> str:
        rates = {"error": self.errors, "slow": self.slow, "broken before": self.broken / 2}
        rates["broken after"] = self.broken / 2
        (fate,) = self._dice.choices([*rates, "passed"], [*rates.values(), 1 - sum(rates.values())])
        self.seen[fate] += 1
        return fate

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        fate = self._fate()
        body = await request.read()
        if fate == "error":
            status = self._dice.choice(list(ERRORS))
            said = f"<Error><Code>{ERRORS[status]}</Code><Message>Reduce your request rate.</Message></Error>"
            return web.Response(status=status, text=said, content_type="text/xml")
        if fate == "slow":
            await asyncio.sleep(self._dice.uniform(*self.slow_seconds))
        if fate == "broken before":
            return self._drop(request)
        url = URL(self.upstream + request.raw_path, encoded=True)
        headers = _end_to_end(request.headers)  # Host included: it is signed
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            data = await answer.read()
            if fate == "broken after":
                return self._drop(request)
            headers = _end_to_end(answer.headers)
            if request.method == "HEAD":  # its length is not that of the body, which is empty
                headers["Content-Length"] = answer.headers.get("Content-Length", "0")
            return web.Response(status=answer.status, headers=headers, body=data)

    def _drop(self, request: web.Request) -> web.Response:
        if request.transport:
            request.transport.abort()
        return web.Response()


def _end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP)


async def serve(proxy: Annotated[FaultProxy, Parameter(name="*")]) -> None:
    """Serve until killed."""
    async with proxy as running:
        print(running.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    App(default_command=serve)()
