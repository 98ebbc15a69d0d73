"""Who may pass: login, tokens, sessions, and the organisation that a call names."""

from __future__ import annotations

import base64
import binascii
import hmac

from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, denied, reply
from lsl_core.sandbox.calls.web import Call, Organisation, User
from lsl_core.sandbox.users import accounts

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def _refused(text: str) -> ApiError:
    return ApiError(401, {"detail": text}, headers={"WWW-Authenticate": "Token"})


def authenticate(call: Call) -> None:
    """Find out who calls; leave the call anonymous when it brings nothing.

    Raises:
        ApiError: 401 for a wrong secret, 403 for a session without its CSRF header.
    """
    scheme, _, secret = call.request.headers.get("authorization", "").partition(" ")
    scheme = scheme.lower()
    if scheme == "token":
        call.user = _checked(accounts.by_token(call.db, secret, kind="login"), "Invalid token.")
    elif scheme == "bearer" and call.context.flavour.has_access_tokens:
        found = accounts.by_token(call.db, secret, kind="access")
        call.user = _checked(found, "Invalid token.")
    elif scheme == "basic":
        call.user = _checked(_by_basic(call, secret), "Invalid username/password.")
    else:
        call.user = _by_cookie(call)


def _checked(user: User | None, text: str) -> User:
    if user is None:
        raise _refused(text)
    return user


def _by_basic(call: Call, secret: str) -> User | None:
    try:
        name, colon, password = base64.b64decode(secret).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _refused("Invalid basic header. Credentials not correctly base64 encoded.") from None
    return accounts.by_password(call.db, name, password) if colon else None


def _by_cookie(call: Call) -> User | None:
    session_id = call.request.cookies.get("sessionid")
    found = accounts.by_session(call.db, session_id) if session_id else None
    if found is None:
        return None
    user, csrf = found
    if call.request.method not in _SAFE_METHODS:
        given = call.request.headers.get("x-csrftoken")
        if given is None:
            raise ApiError(403, {"detail": "CSRF Failed: CSRF token missing."})
        if not hmac.compare_digest(given.encode(), csrf.encode()):
            raise ApiError(403, {"detail": "CSRF Failed: CSRF token incorrect."})
    return user


def require_user(call: Call) -> None:
    """Refuse an anonymous call."""
    if call._user is None:
        raise _refused("Authentication credentials were not provided.")


def find_organisation(call: Call) -> None:
    """Read which organisation the call names, by header or query.

    Raises:
        ApiError: 404 for an unknown one, 403 for one that the caller is not in.
    """
    slug = call.request.headers.get("x-organization", call.query("org"))
    org_id = call.query("org_id")
    if slug is None and org_id is None:
        return
    if not (slug or org_id):
        call.org = Organisation(is_given=True)
        return
    if slug:
        row = call.db.row("SELECT id FROM organizations WHERE slug = ?", (slug,))
    else:
        row = call.db.row("SELECT id FROM organizations WHERE id = ?", (org_id,))
    if row is None:
        raise ApiError(404, {"detail": f"{slug or org_id} organization does not exist."})
    role = call.db.value(
        "SELECT role FROM memberships WHERE user_id = ? AND org_id = ?", (call.user.id, row["id"])
    )
    if role is None and not call.user.is_admin:
        raise denied()
    call.org = Organisation(is_given=True, id=row["id"], role=role)


def login(call: Call) -> Response:
    """Open a session and hand out the login token."""
    given = call.json_object()
    name, password = given.get("username") or given.get("email"), given.get("password")
    if not isinstance(password, str) or not password:
        raise ApiError(400, {"password": ["This field is required."]})
    user = accounts.by_password(call.db, name, password) if isinstance(name, str) else None
    if user is None:
        text = "Unable to log in with provided credentials."
        raise ApiError(400, {"non_field_errors": [text]})
    session_id, csrf = accounts.open_session(call.db, user)
    response = reply({"key": accounts.make_token(call.db, user.id, kind="login")})
    age = accounts.SESSION_SECONDS
    response.set_cookie("csrftoken", csrf, max_age=age, samesite="lax")
    response.set_cookie("sessionid", session_id, max_age=age, httponly=True, samesite="lax")
    response.set_cookie("sessionfresh", "1", max_age=age, samesite="lax")
    return response


def logout(call: Call) -> Response:
    """Close the session and take the login token back."""
    session_id = call.request.cookies.get("sessionid", "")
    with call.db.write() as conn:
        conn.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
        conn.execute("DELETE FROM tokens WHERE user_id = ? AND kind = 'login'", (call.user.id,))
    response = reply({"detail": "Successfully logged out."})
    for cookie in ("csrftoken", "sessionid", "sessionfresh"):
        response.delete_cookie(cookie)
    return response
