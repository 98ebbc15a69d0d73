"""Ways to sign in. No secret shows in a `repr`, so none gets into a log by accident."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PasswordLogin:
    """A user and a password; the password lives in memory only."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenLogin:
    """A personal access token, made in CVAT under Settings (CVAT 2.48 and newer)."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SavedKey:
    """The key that an earlier sign-in with a password got: `CvatSession.saved_login`."""

    user: str
    key: str = field(repr=False)


Credentials = PasswordLogin | TokenLogin | SavedKey
