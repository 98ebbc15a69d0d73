"""Signing in to a CVAT server, and what is known about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import urllib3
from cvat_sdk import Client, Config
from cvat_sdk.core.exceptions import CvatSdkException

from lsl_core.cvat.connection.credentials import Credentials, PasswordLogin, SavedKey, TokenLogin
from lsl_core.cvat.connection.errors import is_trouble
from lsl_core.cvat.connection.rights import organisation_words, rights_of
from lsl_core.cvat.connection.transport import NO_RETRIES, RETRIES, Transport
from lsl_core.errors import (
    CvatAuth,
    CvatDenied,
    CvatError,
    CvatNotFound,
    CvatRequestFailed,
    CvatTooOld,
    CvatUnreachable,
    UserInput,
)
from lsl_core.words import plural

#: The version that the original LSL documents; older ones answer some of our calls differently.
OLDEST_VERSION = (2, 30)
#: Personal access tokens came with this version (CVAT's release notes).
TOKENS_SINCE = (2, 48)
#: Shapes have no score in 2.39 and have one in 2.80; in between the server's schema tells.
SCORES_AFTER, SCORES_SINCE = (2, 39), (2, 80)
#: nginx in front of CVAT gives up after 60 s; a little later nothing can come any more.
TIMEOUT_S = 75.0
#: How a browser session's cookies are told from a login key in a saved key.
_COOKIES = "cookies:"


class ConnectStep(StrEnum):
    """What connecting finds out, in this order; the value is what people read."""

    REACHABLE = "Server reachable"
    VERSION = "Version supported"
    SIGNED_IN = "Signed in"
    ORGANISATION = "Organisation"
    MAY_READ = "May read tasks"
    MAY_WRITE = "May write"


#: Told each step when it is done, with what was found: (SIGNED_IN, "lead").
StepReport = Callable[[ConnectStep, str], None]


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server is and can do.

    is_sandbox: whether it is the sandbox of LSL. keeps_score: whether shapes keep a score.
    has_tokens: whether personal access tokens open the door. warning: "" or what to know.
    """

    name: str
    version: str
    is_sandbox: bool
    keeps_score: bool
    has_tokens: bool
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation that the user can see. slug: its short name, by which it is chosen."""

    id: int
    slug: str
    name: str


@dataclass(eq=False)
class CvatSession:
    """One user on one server; made by `connect`. Safe to read from several threads.

    url: scheme, host and port. user: the signed-in name. organisation: a short name, "" for the
    personal workspace, None for everything the user can see. saved_login: what a later process
    signs in with; never the password. rights: what the user may write, for people.
    """

    url: str
    user: str
    user_id: int
    organisation: str | None
    server: ServerInfo
    saved_login: TokenLogin | SavedKey
    rights: str
    transport: Transport = field(repr=False)
    client: Client = field(repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def key(self) -> str:
        """The secret of `saved_login`."""
        login = self.saved_login
        return login.token if isinstance(login, TokenLogin) else login.key

    @property
    def verify_tls(self) -> bool:
        """Whether the server's certificate is checked."""
        return self.client.config.verify_ssl is not False

    def close(self) -> None:
        """Close the connections. The key stays valid: nobody is signed out."""
        self.client.api_client.rest_client.pool_manager.clear()
        self.client.close()

    def in_organisation(self, slug: str | None) -> CvatSession:
        """Open a session of the same user in another organisation; None sees all of them."""
        return connect(
            self.url,
            self.saved_login,
            organisation=slug,
            verify_tls=self.verify_tls,
        )

    def organisations(self) -> list[Organisation]:
        """Return the organisations of the user, by short name."""
        return _organisations(self.transport)


def connect(
    url: str,
    credentials: Credentials,
    *,
    organisation: str | None = None,
    verify_tls: bool = True,
    timeout_s: float = TIMEOUT_S,
    report: StepReport | None = None,
) -> CvatSession:
    """Sign in to a server and find out what it can do.

    Args:
        url: as people type it; without a scheme it means https, on this machine http.
        credentials: how to sign in.
        organisation: a short name, "" for the personal workspace, None for all that is visible.
        verify_tls: False accepts any certificate.
        timeout_s: for each single answer.
        report: told every step when it is done.

    Raises:
        CvatUnreachable: no answer, or a certificate that is not trusted.
        CvatAuth: wrong name, password, token or key.
        CvatNotFound: an organisation that does not exist; names those that do.
        CvatTooOld: a token for a server that knows none.
        CvatRequestFailed: something answers, but it is not CVAT.
    """
    tell = report or (lambda step, text: None)
    address = server_address(url)
    transport, client = _open(address, verify_tls=verify_tls, timeout_s=timeout_s)
    about = _about(transport, address)
    tell(ConnectStep.REACHABLE, address)
    version = _version(about)
    tell(ConnectStep.VERSION, str(about["version"]))
    saved = _sign_in(client, transport, credentials, version)
    user = _self(transport, credentials)
    tell(ConnectStep.SIGNED_IN, user["username"])
    if isinstance(saved, SavedKey):
        saved = SavedKey(user["username"], saved.key)
    _choose_organisation(client, transport, organisation)
    tell(ConnectStep.ORGANISATION, organisation_words(organisation))
    answer = transport.json(
        "GET", "/api/tasks", doing="asking for tasks", query={"page_size": 1, "page": 1}
    )
    tell(ConnectStep.MAY_READ, plural(answer["count"], "task"))
    rights = rights_of(transport, user, organisation)
    tell(ConnectStep.MAY_WRITE, rights)
    transport.use_retries(RETRIES)
    return CvatSession(
        address,
        user["username"],
        int(user["id"]),
        organisation,
        _server_info(about, version, transport),
        saved,
        rights,
        transport,
        client,
    )


def server_address(url: str) -> str:
    """Turn what people type or paste into scheme://host[:port].

    Raises:
        UserInput: when it names no server, or holds a password.
    """
    text = url.strip()
    if "://" not in text:
        local = re.match(r"(localhost|127\.|\[::1\])", text)
        text = f"{'http' if local else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserInput(
            f'"{url}" is no server address.',
            hint="An address looks like https://cvat.example.org or http://localhost:8080",
        )
    if parts.username is not None:
        raise UserInput(
            "A server address must not hold a user name or password.",
            hint="Give them in their own fields.",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def _open(address: str, *, verify_tls: bool, timeout_s: float) -> tuple[Transport, Client]:
    if not verify_tls:
        # asked for by a person; a warning on every single call helps nobody
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        client = Client(address, config=Config(verify_ssl=verify_tls), check_server_version=False)
    except CvatSdkException as error:
        raise UserInput(f"{error}.") from error
    transport = Transport(client, timeout_s)
    transport.use_retries(NO_RETRIES)
    return transport, client


def _about(transport: Transport, address: str) -> dict[str, Any]:
    not_cvat = CvatRequestFailed(
        f"Something answers at {address}, but it is not CVAT.",
        hint="Check the address and port; CVAT's own is often 8080.",
    )
    try:
        about = transport.json("GET", "/api/server/about", doing="signing in")
    except CvatUnreachable:
        raise
    except CvatError as error:
        if is_trouble(error):
            raise
        raise not_cvat from error
    if not isinstance(about, dict) or "version" not in about:
        raise not_cvat
    return about


def _version(about: dict[str, Any]) -> tuple[int, int]:
    numbers = re.findall(r"\d+", str(about["version"]))
    return (int(numbers[0]), int(numbers[1])) if len(numbers) >= 2 else (0, 0)


def _sign_in(
    client: Client, transport: Transport, credentials: Credentials, version: tuple[int, int]
) -> TokenLogin | SavedKey:
    settings = client.api_client.configuration
    if isinstance(credentials, TokenLogin):
        if version < TOKENS_SINCE:
            raise CvatTooOld(
                f"CVAT {version[0]}.{version[1]} knows no personal access tokens.",
                hint="Sign in with user and password, or update CVAT to 2.48 or newer.",
            )
        settings.access_token = credentials.token
        return credentials
    if isinstance(credentials, SavedKey):
        _use_key(client, credentials.key)
        return credentials
    key = _login(client, transport, credentials)
    _use_key(client, key)
    return SavedKey(credentials.user, key)


def _login(client: Client, transport: Transport, login: PasswordLogin) -> str:
    try:
        response = transport.send(
            "POST",
            "/api/auth/login",
            doing="signing in",
            body={"username": login.user, "password": login.password},
        )
    except CvatRequestFailed as error:
        if is_trouble(error):
            raise
        raise CvatAuth(
            f'CVAT does not accept the password of "{login.user}".',
            hint="Check name and password; upper and lower case matter.",
            detail=error.detail,
        ) from None  # the cause holds the request, and with it the password
    api = client.api_client
    api._update_cookies_from_response(response)
    answer = response.json() if response.data else {}
    if isinstance(answer, dict) and answer.get("key"):
        api.cookies.clear()
        return str(answer["key"])
    if "sessionid" in api.cookies and "csrftoken" in api.cookies:
        return f"{_COOKIES}{api.cookies['sessionid'].value}:{api.cookies['csrftoken'].value}"
    raise CvatRequestFailed("The server accepted the password, but gave no key to go on with.")


def _use_key(client: Client, key: str) -> None:
    api = client.api_client
    if not key.startswith(_COOKIES):
        api.configuration.api_key["tokenAuth"] = key
        return
    _, session_id, csrf = key.split(":", 2)
    api.cookies["sessionid"], api.cookies["csrftoken"] = session_id, csrf
    api.configuration.api_key["csrfHeaderAuth"] = csrf


def _self(transport: Transport, credentials: Credentials) -> dict[str, Any]:
    try:
        user: dict[str, Any] = transport.json("GET", "/api/users/self", doing="signing in")
    except CvatAuth as error:
        if isinstance(credentials, TokenLogin):
            raise CvatAuth(
                "CVAT does not accept the access token.",
                hint="It may have expired or been revoked: make a new one in CVAT's settings.",
                detail=error.detail,
            ) from error
        name = credentials.user
        raise CvatAuth(
            f'The saved sign-in of "{name}" is not valid any more.',
            hint="Sign in again on the Connect page, or run lsl cvat-setup.",
            detail=error.detail,
        ) from error
    return user


def _organisations(transport: Transport) -> list[Organisation]:
    found = [
        Organisation(entry["id"], entry["slug"], entry.get("name") or entry["slug"])
        # without the header the list is that of the user, whatever organisation is chosen
        for entry in transport.pages(
            "/api/organizations", doing="listing organisations", headers={"X-Organization": None}
        )
    ]
    return sorted(found, key=lambda organisation: organisation.slug)


def _choose_organisation(client: Client, transport: Transport, slug: str | None) -> None:
    if slug:
        known = [organisation.slug for organisation in _organisations(transport)]
        if slug not in known:
            names = ", ".join(known) if known else "none"
            raise CvatNotFound(
                f'There is no organisation "{slug}" that you belong to.',
                hint=f"Yours: {names}. Leave it empty for the personal workspace.",
            )
    client.organization_slug = slug


def _server_info(
    about: dict[str, Any], version: tuple[int, int], transport: Transport
) -> ServerInfo:
    warning = ""
    if version < OLDEST_VERSION:
        warning = (
            f"CVAT {about['version']} is older than 2.30, the oldest that LSL is tested with. "
            "Look at what a push did before you go on."
        )
    return ServerInfo(
        name=str(about.get("name", "CVAT")),
        version=str(about["version"]),
        is_sandbox="sandbox" in str(about.get("name", "")).lower(),
        keeps_score=_keeps_score(version, transport),
        has_tokens=version >= TOKENS_SINCE,
        warning=warning,
    )


def _keeps_score(version: tuple[int, int], transport: Transport) -> bool:
    if version <= SCORES_AFTER or version >= SCORES_SINCE:
        return version >= SCORES_SINCE
    try:
        schema = transport.json(
            "GET", "/api/schema/", doing="reading the schema", query={"format": "json"}
        )
        shape = schema["components"]["schemas"]["LabeledShape"]["properties"]
    except (CvatDenied, CvatNotFound, CvatRequestFailed, KeyError, TypeError):
        return False
    return "score" in shape
