"""What can go wrong between a client and a server: the client's error and the server's status."""

from __future__ import annotations

# TF Serving, model_servers/http_server.cc: the HTTP status of each canonical code; every other code becomes 500.
_HTTP_STATUS = {
    "OK": 200,
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class ServingError(RuntimeError):
    """A server refused a request, did not answer, or gave an answer that is not TF Serving's.

    Args:
      message: The server's own message, or one sentence on why there is no answer.
      status: The HTTP status of the answer; None over gRPC and where there was no answer.
      code: The canonical code by name, such as `"INVALID_ARGUMENT"`; None over REST and where there was no answer.
    """

    def __init__(self, message: str, status: int | None = None, *, code: str | None = None) -> None:
        told = code if status is None else f"HTTP {status}"
        super().__init__(message if told is None else f"{message} ({told})")
        self.message = message
        self.status = status
        self.code = code


class UnavailableError(ServingError):
    """The server cannot be reached or is too busy (503, UNAVAILABLE, no worker); the same request may succeed later."""


class ConnectionFailedError(UnavailableError):
    """There was no connection to the server, or it broke before the answer was complete."""


class TimedOutError(ServingError):
    """No answer in time: the client stopped waiting, or the server gave the request up (504, DEADLINE_EXCEEDED)."""


class RefusedError(ServingError):
    """The server answered that it will not or cannot do what was asked; `message` is its own."""


class StatusError(Exception):
    """Inside the server: a request ends with a canonical status other than OK.

    Args:
      code: Canonical code by name, such as `"INVALID_ARGUMENT"`.
      message: What the caller is told.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        """The HTTP status that TF Serving answers for this code."""
        return _HTTP_STATUS.get(self.code, 500)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def invalid_argument(message: str) -> StatusError:
    """A `StatusError` for a request that is wrong in itself.

    Args:
      message: What the caller is told.

    Returns:
      The error, to be raised.
    """
    return StatusError("INVALID_ARGUMENT", message)
