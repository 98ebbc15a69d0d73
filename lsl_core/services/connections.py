"""Connecting to CVAT, and doing it again without asking."""

from __future__ import annotations

from lsl_core.cvat import (
    ConnectStep,
    Credentials,
    CvatSession,
    Organisation,
    PasswordLogin,
    SavedKey,
    TokenLogin,
    connect,
    profile_login,
    saved_profiles,
    server_address,
)
from lsl_core.cvat.connection.session import StepReport
from lsl_core.errors import CvatAuth, UserInput
from lsl_core.workspace import CvatSettings, Workspace
from lsl_core.workspace.secrets import Secret, SecretStore, default_secrets_path

__all__ = [
    "ConnectStep",
    "CvatSession",
    "CvatSettings",
    "Organisation",
    "PasswordLogin",
    "StepReport",
    "TokenLogin",
    "connection_of",
    "is_kept",
    "open_session",
    "profile_login",
    "saved_profiles",
    "server_address",
    "sign_in",
    "sign_out",
]


def sign_in(
    credentials: Credentials,
    *,
    url: str,
    organisation: str | None = None,
    verify_tls: bool = True,
    remember_in: Workspace | None = None,
    report: StepReport | None = None,
) -> CvatSession:
    """Connect, and keep the key (never the password) so that background runs can sign in.

    Args:
        credentials: user and password, or a personal access token.
        url: as people type it.
        organisation: short name, "" for the personal workspace, None for all that is visible.
        verify_tls: False accepts any certificate.
        remember_in: the workspace whose default connection this becomes, or None.
        report: told every step when it is done.

    Raises:
        CvatError: whatever went wrong; see `cvat.connect`.
    """
    session = connect(
        url, credentials, organisation=organisation, verify_tls=verify_tls, report=report
    )
    is_token = isinstance(session.saved_login, TokenLogin)
    secret = Secret("token" if is_token else "key", session.key)
    _secrets().put(secret, url=session.url, user=session.user)
    if remember_in is not None:
        settings = remember_in.settings()
        settings.cvat = connection_of(session)
        remember_in.save(settings)
    return session


def connection_of(session: CvatSession) -> CvatSettings:
    """Return what a run needs to connect as this session does; holds no secret."""
    return CvatSettings(
        url=session.url,
        user=session.user,
        organisation=session.organisation,
        verify_tls=session.verify_tls,
    )


def open_session(connection: CvatSettings, *, token: str | None = None) -> CvatSession:
    """Connect with what an earlier sign-in kept, or with a token given now.

    Args:
        connection: server, user, organisation.
        token: a personal access token from the environment; wins over what is kept.

    Raises:
        UserInput: when no server was set up.
        CvatAuth: when nothing is kept, here or as a profile of cvat-cli for this server, or the
            server no longer accepts it.
    """
    if not connection.url:
        raise UserInput(
            "No CVAT server is set up in this workspace.",
            hint="Run lsl cvat-setup, or sign in on the Connect page.",
        )
    return connect(
        connection.url,
        TokenLogin(token) if token else _kept(connection),
        organisation=connection.organisation,
        verify_tls=connection.verify_tls,
    )


def is_kept(connection: CvatSettings) -> bool:
    """Tell whether an earlier sign-in of that user at that server is kept on this machine."""
    url = server_address(connection.url)
    return _secrets().get(url=url, user=connection.user) is not None


def _kept(connection: CvatSettings) -> Credentials:
    secret = _secrets().get(url=server_address(connection.url), user=connection.user)
    if secret is None:
        for name, server in saved_profiles().items():
            if server_address(server) == server_address(connection.url):
                return profile_login(name)[1]
        raise CvatAuth(
            f'No sign-in of "{connection.user}" at {connection.url} is kept on this machine.',
            hint="Run lsl cvat-setup, or sign in on the Connect page.",
        )
    if secret.kind == "token":
        return TokenLogin(secret.value)
    return SavedKey(connection.user, secret.value)


def sign_out(session: CvatSession) -> None:
    """Close the session and forget its key."""
    _secrets().remove(url=session.url, user=session.user)
    session.close()


def _secrets() -> SecretStore:
    return SecretStore(default_secrets_path())
