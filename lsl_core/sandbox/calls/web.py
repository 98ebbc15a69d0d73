"""What every API call goes through: who calls, and in which organisation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, not_found
from lsl_core.sandbox.base.store import Database, Row

if TYPE_CHECKING:
    from lsl_core.sandbox.base.context import Context


@dataclass(frozen=True, slots=True)
class User:
    """Who calls."""

    id: int
    username: str
    is_admin: bool


@dataclass(frozen=True, slots=True)
class Organisation:
    """The organisation that a call names.

    Args:
        is_given: whether the call named one at all; without, it sees all it may see.
        id: the organisation's id; None with `is_given` means the personal workspace.
        role: the caller's role in it, None for an administrator who is no member.
    """

    is_given: bool = False
    id: int | None = None
    role: str | None = None


@dataclass(slots=True)
class Call:
    """One API call: the request, read whole, and what was found out about it."""

    context: Context
    request: Request
    path: dict[str, str]
    body: bytes = b""
    form: dict[str, str] = field(default_factory=dict)
    files: list[UploadFile] = field(default_factory=list)
    _user: User | None = None
    org: Organisation = field(default_factory=Organisation)

    @property
    def db(self) -> Database:
        """The database."""
        return self.context.db

    @property
    def user(self) -> User:
        """Who calls; anonymous calls do not reach a handler that asks."""
        if self._user is None:
            raise ApiError(401, {"detail": "Authentication credentials were not provided."})
        return self._user

    @user.setter
    def user(self, value: User | None) -> None:
        self._user = value

    @property
    def base_url(self) -> str:
        """The server's own address as this client sees it, without a slash at the end."""
        return str(self.request.base_url).rstrip("/")

    def query(self, name: str) -> str | None:
        """Read one query parameter."""
        return self.request.query_params.get(name)

    def has_header(self, name: str) -> bool:
        """Whether a header is there, be it empty."""
        return name in self.request.headers

    def id(self, name: str = "id") -> int:
        """Read an id from the path; what is no number is not found."""
        text = self.path[name]
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise not_found()
        return int(text)

    def json(self) -> Any:  # noqa: ANN401 - the caller checks the shape
        """Parse the body as JSON (an empty one is an empty object).

        Raises:
            ApiError: 400 for what is not JSON, or holds NaN or Infinity.
        """
        if self.form:
            return dict(self.form)
        if not self.body:
            return {}
        try:
            return json.loads(self.body, parse_constant=_no_constant)
        except ValueError as exc:
            raise ApiError(400, {"detail": f"JSON parse error - {exc}"}) from exc

    def json_object(self) -> dict[str, Any]:
        """Parse the body as a JSON object."""
        found = self.json()
        if not isinstance(found, dict):
            kind = type(found).__name__
            text = f"Invalid data. Expected a dictionary, but got {kind}."
            raise ApiError(400, {"non_field_errors": [text]})
        return found


def _no_constant(name: str) -> float:
    value = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}[name]
    shown = repr(math.nan) if name == "NaN" else repr(float(value))
    shown = "NaN" if shown == "nan" else shown
    raise ValueError(f"Out of range float values are not JSON compliant: {shown!r}")


Handler = Callable[[Call], Response]


def person(call: Call, user_id: int | None) -> dict[str, Any] | None:
    """Describe a user in the short form that tasks, jobs and projects carry."""
    if user_id is None:
        return None
    row = call.db.row(
        "SELECT id, username, first_name, last_name FROM users WHERE id = ?", (user_id,)
    )
    return None if row is None else brief_user(call, row)


def brief_user(call: Call, row: Row) -> dict[str, Any]:
    """Describe a user's row in the short form."""
    return {
        "url": f"{call.base_url}/api/users/{row['id']}",
        "id": row["id"],
        "username": row["username"],
        "first_name": row["first_name"],
        "last_name": row["last_name"],
    }
