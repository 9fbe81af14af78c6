"""The server's paths: chat completions, models, health, metrics."""

import secrets
import time

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.serve.chat_completions import ChatCompletions
from flows.serve.metrics import Metrics
from flows.serve.refusal import Refusal
from tasks.serving.answer import Answerer


def make_app(answerer: Answerer, api_key: str | None) -> ASGIApp:
    """The application. With a key, whatever lies under /v1 asks for it; health and metrics do not."""
    metrics, started = Metrics(), int(time.time())
    card = {
        "id": answerer.serving.name,
        "object": "model",
        "created": started,
        "owned_by": "pacore",
        "root": answerer.serving.sampler.model,
        "max_model_len": answerer.window,
    }

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [card]})

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", ChatCompletions(answerer, metrics), methods=["POST"]),
            Route("/v1/models", models),
            Route("/health", health),
            Route("/metrics", show_metrics),
        ],
        exception_handlers={HTTPException: _no_such_path, Exception: _fault},
    )
    return _Keyed(app, api_key)


class _Keyed:
    """An application that wants a key under /v1."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self.app, self.key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.key and scope["type"] == "http" and scope["path"].startswith("/v1/"):
            given = Request(scope).headers.get("Authorization", "")
            if not secrets.compare_digest(given.encode(), f"Bearer {self.key}".encode()):
                refusal = Refusal(
                    401, "give the API key of this server: Authorization: Bearer …", code="invalid_api_key"
                )
                await refusal.response()(scope, receive, send)
                return
        await self.app(scope, receive, send)


async def _no_such_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return Refusal(status, f"{request.method} {request.url.path} is not served here").response()


async def _fault(_: Request, error: Exception) -> Response:
    return Refusal(500, f"the server failed: {type(error).__name__}; see its log").response()
