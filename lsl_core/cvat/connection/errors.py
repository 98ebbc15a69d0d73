"""Two families of foreign errors, the SDK's and urllib3's, become ours in this one place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3.exceptions as net
from cvat_sdk.api_client.exceptions import ApiException, OpenApiException
from cvat_sdk.core.exceptions import (
    BackgroundRequestException,
    CvatSdkException,
    InvalidHostException,
)

from lsl_core.errors import (
    CvatAuth,
    CvatDenied,
    CvatError,
    CvatNotFound,
    CvatRequestFailed,
    CvatUnreachable,
    LslError,
    UserInput,
)

#: A server's text longer than this is a page or a traceback, not a sentence.
_LONGEST_TEXT = 300
#: When CVAT asks to slow down without saying for how long.
_DEFAULT_WAIT_S = 10.0


@contextmanager
def cvat_errors(doing: str) -> Iterator[None]:
    """Translate what the SDK and the network raise.

    Args:
        doing: what was tried, to follow "while": "reading task 41".

    Raises:
        CvatError: in place of the foreign error, which becomes its cause.
    """
    try:
        yield
    except ApiException as error:
        raise _from_status(error, doing) from error
    except net.HTTPError as error:
        raise _from_network(error, doing) from error
    except BackgroundRequestException as error:
        raise CvatRequestFailed(
            f"CVAT failed while {doing}: {last_line(str(error))}",
            hint="Mend what it names and try again.",
            detail=str(error),
        ) from error
    except InvalidHostException as error:
        raise UserInput(f"{error}.", hint="A server address looks like https://cvat.org") from error
    except (CvatSdkException, OpenApiException) as error:
        raise CvatRequestFailed(
            f"CVAT gave an answer that was not expected while {doing}: {last_line(str(error))}",
            hint="Try again; if it stays, look at the server's log.",
            detail=repr(error),
        ) from error


def may_have_happened(error: LslError) -> bool:
    """Say whether the server may have done what was asked although an error came back.

    True when an answer was lost, cut or unreadable, or a server or proxy failed on the way (5xx);
    False when the server refused, or was never reached.
    """
    cause = error.__cause__
    if isinstance(cause, ValueError):
        return True
    if isinstance(cause, ApiException):
        return bool(cause.status) and cause.status >= 500
    if isinstance(cause, net.MaxRetryError):
        cause = cause.reason
    never_sent = (net.NewConnectionError, net.ConnectTimeoutError, net.NameResolutionError)
    return isinstance(cause, net.HTTPError) and not isinstance(cause, never_sent)


def is_trouble(error: LslError) -> bool:
    """Say whether the server has trouble (5xx) or asks to slow down (429): no verdict on us."""
    cause = error.__cause__
    return isinstance(cause, ApiException) and ((cause.status or 0) >= 500 or cause.status == 429)


def is_server_error(error: LslError) -> bool:
    """Say whether CVAT itself broke on the request (500), not something before it."""
    return isinstance(error.__cause__, ApiException) and error.__cause__.status == 500


def is_conflict(error: LslError) -> bool:
    """Say whether CVAT has what was sent already, or is at work on it (409)."""
    return isinstance(error.__cause__, ApiException) and error.__cause__.status == 409


def refusal(error: LslError) -> dict[str, object]:
    """Return what CVAT said when it refused (400) or was at work on it (409), by key; else {}."""
    cause = error.__cause__
    if not isinstance(cause, ApiException) or cause.status not in (400, 409):
        return {}
    try:
        said = json.loads(cause.body or "")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def is_refused_content(error: LslError) -> bool:
    """Say whether what was sent was read, and found too large or no use (413, 422)."""
    return isinstance(error.__cause__, ApiException) and error.__cause__.status in (413, 422)


def seconds_to_wait(error: LslError) -> float | None:
    """Return how long CVAT asks to wait (429), None when it does not ask."""
    cause = error.__cause__
    if not isinstance(cause, ApiException) or cause.status != 429:
        return None
    text = str((cause.headers or {}).get("Retry-After", ""))
    return float(text) if text.isdigit() else _DEFAULT_WAIT_S


def last_line(text: str) -> str:
    """Return the last line with words of a server's message; tracebacks end with the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = lines[-1] if lines else "no reason given"
    return line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "…"


def server_words(body: bytes | str | None) -> str:
    """Return the sentence in an error answer of CVAT, or "" when there is none."""
    if not body:
        return ""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    if text.lstrip().startswith("<"):
        return ""
    try:
        value = json.loads(text)
    except ValueError:
        return last_line(text)
    return last_line("; ".join(_sentences(value)))


def _sentences(value: object) -> list[str]:
    """Collect the texts of a nested error answer, the field names before them."""
    if isinstance(value, dict):
        quiet = ("detail", "message", "non_field_errors")
        return [
            text if key in quiet else f"{key}: {text}"
            for key, inner in value.items()
            for text in _sentences(inner)
        ]
    if isinstance(value, list):
        return [text for inner in value for text in _sentences(inner)]
    return [] if value is None else [str(value)]


def _from_status(error: ApiException, doing: str) -> CvatError:
    words = server_words(error.body)
    said = f" It says: {words}" if words else ""
    detail = f"HTTP {error.status}; {words}"
    status = error.status or 0
    if status == 0:
        return _tls(str(error.reason), doing)
    if status == 401:
        return CvatAuth(
            f"CVAT does not accept the sign-in (while {doing}).",
            hint="Sign in again on the Connect page, or run lsl cvat-setup.",
            detail=detail,
        )
    if status == 403:
        return CvatDenied(
            f"CVAT does not allow {doing}.{said}",
            hint="Ask the owner of the task or organisation for the right, or switch organisation.",
            detail=detail,
        )
    if status == 404:
        return CvatNotFound(
            f"CVAT finds nothing there while {doing}.{said}",
            hint="Check the number; what lies in another organisation cannot be seen.",
            detail=detail,
        )
    if status == 429:
        wait = (error.headers or {}).get("Retry-After", "60")
        return CvatRequestFailed(
            f"CVAT is asked too often (while {doing}).",
            hint=f"Wait {wait} seconds and try again.",
            detail=detail,
        )
    who = "CVAT failed" if status >= 500 else "CVAT refused the request"
    return CvatRequestFailed(
        f"{who} while {doing} ({status}).{said}",
        hint="Try again; if it stays, look at the server's log."
        if status >= 500
        else "Nothing was changed by this request.",
        detail=detail,
    )


def _tls(reason: str, doing: str) -> CvatUnreachable:
    if "WRONG_VERSION_NUMBER" in reason or "record layer" in reason.lower():
        return CvatUnreachable(
            f"The server does not speak https there (while {doing}).",
            hint="Try the address with http:// in front, or another port.",
            detail=reason,
        )
    return CvatUnreachable(
        f"The certificate of the server is not trusted (while {doing}).",
        hint="Check the address; for a server with its own certificate, switch the check off.",
        detail=reason,
    )


def _from_network(error: net.HTTPError, doing: str) -> CvatError:
    reason: BaseException | None = error
    pool = getattr(error, "pool", None)
    if isinstance(error, net.MaxRetryError) and error.reason is not None:
        reason = error.reason
    host = f"{pool.host}:{pool.port}" if pool is not None and hasattr(pool, "host") else "CVAT"
    if isinstance(error, net.LocationValueError):
        return CvatUnreachable(
            f"The address cannot be used: {error}.",
            hint="An address looks like https://cvat.example.org or http://localhost:8080",
        )
    if isinstance(reason, net.SSLError):
        return _tls(str(reason), doing)
    if isinstance(reason, net.NameResolutionError):
        text, hint = f"No server is known by the name of {host}", "Check the address for typing."
    elif isinstance(reason, (net.NewConnectionError, net.ConnectTimeoutError)):
        text = f"{host} does not answer"
        hint = "Check the address and port, and that the server is running."
    elif isinstance(reason, net.ReadTimeoutError):
        text, hint = f"{host} took too long", "The server may be busy: try again in a minute."
    else:
        text, hint = f"The connection to {host} broke", "Try again."
    return CvatUnreachable(f"{text} (while {doing}).", hint=hint, detail=repr(reason))
