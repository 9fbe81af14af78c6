"""What a client is told when it gets no answer: a status and OpenAI's error JSON."""

from typing import Any

from starlette.responses import JSONResponse

from infra.engine import Away, EngineError, Overloaded, Rejected, TooLong

RETRY_SECONDS = 5
"""After which a client that came at a bad moment is asked to come again."""
TYPES = {429: "rate_limit_error", 500: "server_error", 502: "server_error", 503: "server_error"}


class Refusal(Exception):
    """A request that is not answered, and why: what was wrong, where, what to do."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {
            "error": {
                "message": message,
                "type": TYPES.get(status, "invalid_request_error"),
                "param": param,
                "code": code,
            }
        }

    def response(self) -> JSONResponse:
        """As it is sent; where coming again helps, it says when."""
        headers = {"Retry-After": str(RETRY_SECONDS)} if self.status in (429, 503) else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body, self.status, headers)


def of_engine(error: EngineError) -> Refusal:
    """What an engine's error means to a client."""
    match error:
        case TooLong():
            return Refusal(400, f"the prompt does not fit: {error}", "messages", "context_length_exceeded")
        case Rejected():
            return Refusal(400, str(error), code="refused_by_engine")
        case Overloaded() | Away():
            return Refusal(503, str(error), code="engine_overloaded")
        case _:
            return Refusal(502, str(error), code="engine_unreachable")
