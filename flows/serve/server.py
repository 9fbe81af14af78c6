"""Serve until told to stop."""

import os
import signal
import socket
from collections.abc import Callable

import uvicorn

from flows.serve.app import make_app
from tasks.campaign.campaign_file import CampaignError
from tasks.serving.answer import open_answerer
from tasks.serving.serving_file import Serving

KEY = "PACORE_SERVE_API_KEY"


async def serve(serving: Serving, host: str, port: int, say: Callable[[str], None]) -> None:
    """Answer requests until SIGTERM or SIGINT; then those in flight have `grace_seconds` to end.

    Args:
        serving: what is served.
        host: the address to listen on.
        port: 0 for any that is free.
        say: told where it listens, once it does.

    Raises:
        CampaignError: the address is taken, the key is missing, or what the file names is not there.
        EngineError: the engine can not be used.
        StoreError: the store can not be used, or not be written in the end.
    """
    key = api_key(serving)
    with listen(host, port) as listener:
        async with open_answerer(serving) as answerer:
            app = make_app(answerer, key)
            config = uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=serving.grace_seconds,
            )
            for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises again what it stopped for
                signal.signal(number, lambda *_: None)
            where = "{}:{}".format(*listener.getsockname()[:2])
            kept = f"; answers are kept in {serving.store}" if serving.store else ""
            open_to = "" if key else f"; no key is asked for ({KEY})"
            say(f"{serving.name} on http://{where}/v1{open_to}{kept}")
            await uvicorn.Server(config).serve(sockets=[listener])


def api_key(serving: Serving) -> str | None:
    """The key that clients must give, if any. Raises `CampaignError`: the file names a variable that is not set."""
    key = os.environ.get(serving.api_key_env or KEY)
    if serving.api_key_env and not key:
        raise CampaignError(
            f"api_key_env: the environment variable {serving.api_key_env} is not set; set it to the key"
        )
    return key or None


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `CampaignError` where the address can not be had."""
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise CampaignError(
            f"{host}:{port}: can not listen there: {error.strerror}; choose --host and --port"
        ) from error
