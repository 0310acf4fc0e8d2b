"""What an API server's answer means to its caller, as exceptions.

::

    SeatrialError
    ├── ApiError            the server said no; carries its words
    │   ├── NotFound        404
    │   ├── AlreadyExists   409 on create
    │   ├── Conflict        409 otherwise, and a JSON patch whose test failed
    │   ├── Gone            410: the version asked for is no longer kept
    │   ├── Forbidden       403: access, quota, Pod Security, a policy
    │   ├── Invalid         400, 413, 415, 422: the object itself is refused
    │   └── Unauthorized    401
    └── TransientError      429, 5xx, no connection, timeouts
"""

import json
from collections.abc import Mapping

from seatrial.errors import SeatrialError, TransientError

__all__ = [
    "AlreadyExists",
    "ApiError",
    "Conflict",
    "Forbidden",
    "Gone",
    "Invalid",
    "NotFound",
    "Unauthorized",
    "to_error",
]

_RETRY_SECONDS = 5.0
_WORDS_LIMIT = 2000


class ApiError(SeatrialError):
    """The API server refused a call.

    Attributes:
        code: HTTP status.
        reason: The server's CamelCase word, empty when it gave none.
    """

    def __init__(self, message: str, *, code: int, reason: str = "") -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class NotFound(ApiError):  # noqa: N818 - Kubernetes' own words
    """There is no such object (any more)."""


class AlreadyExists(ApiError):  # noqa: N818
    """The name is taken."""


class Conflict(ApiError):  # noqa: N818
    """The object is not as the caller thought."""


class Gone(ApiError):  # noqa: N818
    """The version asked for is no longer kept: list again."""


class Forbidden(ApiError):  # noqa: N818
    """Access, a quota, Pod Security or a policy does not allow it."""


class Invalid(ApiError):  # noqa: N818
    """The object itself is refused."""


class Unauthorized(ApiError):  # noqa: N818
    """The credentials are not (any longer) good."""


_BY_CODE: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


def to_error(code: int, body: bytes | str, *, what: str, retry_after: str | None = None) -> SeatrialError:
    """Return the exception for an answer.

    Args:
        code: HTTP status, 400 or above.
        body: A ``Status`` object, or whatever a proxy wrote instead.
        what: The call in words, for messages: ``create pods default/s-0-0``.
        retry_after: The header of that name.
    """
    reason, message, causes = _read_status(body)
    message = message or f"{what} was answered with {code}"
    if code == 429 or code >= 500:
        seconds = float(retry_after) if retry_after and retry_after.isdecimal() else _RETRY_SECONDS
        return TransientError(f"{what}: {message}", retry_after_seconds=seconds)
    if reason == "NamespaceTerminating" or "NamespaceTerminating" in causes:
        return TransientError(f"{what}: {message}", retry_after_seconds=_RETRY_SECONDS)
    kind = _BY_CODE.get(code, ApiError)
    if code == 409 and reason == "AlreadyExists":
        kind = AlreadyExists
    return kind(message, code=code, reason=reason)


def _read_status(body: bytes | str) -> tuple[str, str, frozenset[str]]:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        status = json.loads(text)
    except ValueError:
        return "", text.strip()[:_WORDS_LIMIT], frozenset()
    if not isinstance(status, dict):
        return "", text[:_WORDS_LIMIT], frozenset()
    details = status.get("details")
    listed = details.get("causes") if isinstance(details, dict) else None
    causes = frozenset(str(cause.get("reason")) for cause in listed or () if isinstance(cause, dict))
    return str(status.get("reason") or ""), str(status.get("message") or "")[:_WORDS_LIMIT], causes
