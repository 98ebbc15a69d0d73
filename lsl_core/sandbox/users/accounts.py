"""Users, their secrets, and organisations, as the rest of the sandbox needs them."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time

from lsl_core.sandbox.base.store import Database, Row, now
from lsl_core.sandbox.calls.web import User

#: CVAT's session cookies live two weeks.
SESSION_SECONDS = 14 * 24 * 3600
#: scrypt's cost: some 10 ms; these are passwords of a loopback sandbox.
_SCRYPT_N = 2**12

ROLES = ("owner", "maintainer", "supervisor", "worker")


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_SCRYPT_N, r=8, p=1, dklen=32)


def _sealed(password: str) -> str:
    salt = os.urandom(16)
    return f"{salt.hex()}${_scrypt(password, salt).hex()}"


def add_user(
    db: Database, username: str, password: str, *, is_admin: bool = False, full_name: str = ""
) -> int:
    """Add a user, or give the one of that name this password.

    Returns:
        The user's id.
    """
    found = db.value("SELECT id FROM users WHERE username = ?", (username,))
    if found is not None:
        db.run("UPDATE users SET password = ? WHERE id = ?", (_sealed(password), found))
        return int(found)
    first, _, last = full_name.partition(" ")
    return db.run(
        "INSERT INTO users (username, first_name, last_name, email, password, is_superuser, joined)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (username, first, last, f"{username}@localhost", _sealed(password), is_admin, now()),
    )


def _user(row: Row | None) -> User | None:
    if row is None:
        return None
    return User(row["id"], row["username"], bool(row["is_superuser"]))


def by_password(db: Database, username: str, password: str) -> User | None:
    """Find the user whom name and password open the door for."""
    row = db.row("SELECT * FROM users WHERE username = ?", (username,))
    if row is None:
        return None
    salt, _, digest = row["password"].partition("$")
    given = _scrypt(password, bytes.fromhex(salt)).hex()
    return _user(row) if hmac.compare_digest(given, digest) else None


def by_token(db: Database, secret: str, *, kind: str) -> User | None:
    """Find the user of a token; `kind` is `login` or `access`."""
    sql = (
        "SELECT users.* FROM users JOIN tokens ON tokens.user_id = users.id "
        "WHERE tokens.secret = ? AND tokens.kind = ?"
    )
    return _user(db.row(sql, (secret, kind)))


def by_session(db: Database, session_id: str) -> tuple[User, str] | None:
    """Find the user and the CSRF secret of a session cookie."""
    sql = (
        "SELECT users.*, sessions.csrf FROM users JOIN sessions ON sessions.user_id = users.id "
        "WHERE sessions.id = ? AND sessions.expires > ?"
    )
    row = db.row(sql, (session_id, time.time()))
    user = _user(row)
    return None if row is None or user is None else (user, row["csrf"])


def open_session(db: Database, user: User) -> tuple[str, str]:
    """Start a session.

    Returns:
        The session cookie's value and its CSRF secret.
    """
    session_id, csrf = secrets.token_hex(16), secrets.token_urlsafe(24)
    with db.write() as conn:
        conn.execute("DELETE FROM sessions WHERE expires <= ?", (time.time(),))
        conn.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?)",
            (session_id, user.id, csrf, time.time() + SESSION_SECONDS),
        )
        conn.execute("UPDATE users SET last_login = ? WHERE id = ?", (now(), user.id))
    return session_id, csrf


def make_token(db: Database, user_id: int, *, kind: str, name: str = "") -> str:
    """Make a token; a user's `login` token stays the same until logout."""
    if kind == "login":
        found = db.value(
            "SELECT secret FROM tokens WHERE user_id = ? AND kind = 'login'", (user_id,)
        )
        if found is not None:
            return str(found)
    secret = secrets.token_hex(20)
    db.run(
        "INSERT INTO tokens (secret, user_id, kind, name, created) VALUES (?, ?, ?, ?, ?)",
        (secret, user_id, kind, name, now()),
    )
    return secret


def add_organisation(db: Database, slug: str, owner_id: int, *, name: str = "") -> int:
    """Add an organisation with its owner, or return the one of that slug.

    Returns:
        The organisation's id.
    """
    found = db.value("SELECT id FROM organizations WHERE slug = ?", (slug,))
    if found is not None:
        return int(found)
    with db.write():
        org_id = db.run(
            "INSERT INTO organizations"
            " (slug, name, description, contact, owner_id, created, updated)"
            " VALUES (?, ?, '', '{}', ?, ?, ?)",
            (slug, name or slug, owner_id, now(), now()),
        )
        add_member(db, org_id, owner_id, role="owner")
    return org_id


def add_member(db: Database, org_id: int, user_id: int, *, role: str) -> int:
    """Make a user a member, or change the member's role.

    Returns:
        The membership's id.
    """
    if role not in ROLES:
        raise ValueError(f"{role!r} is no role; there are {', '.join(ROLES)}")
    db.run(
        "INSERT INTO memberships (user_id, org_id, role, joined) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user_id, org_id) DO UPDATE SET role = excluded.role",
        (user_id, org_id, role, now()),
    )
    return int(
        db.value("SELECT id FROM memberships WHERE user_id = ? AND org_id = ?", (user_id, org_id))
    )


def user_id(db: Database, username: str) -> int:
    """Find a user's id.

    Raises:
        ValueError: if there is no such user.
    """
    found = db.value("SELECT id FROM users WHERE username = ?", (username,))
    if found is None:
        raise ValueError(f"The sandbox has no user {username!r}")
    return int(found)
