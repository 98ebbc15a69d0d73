"""Who may call: everybody on this machine, or those with the token, or from allowed networks."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lsl_core.errors import ServeError, UserInput
from lsl_core.serve.reasons import refusal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Asked by monitors that hold no token; they tell nothing but whether the service is there.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})


@dataclass(frozen=True, slots=True)
class Access:
    """The rule of who may call.

    networks: callers from there need no token. token: what `Authorization: Bearer` must carry;
    "" for none.
    """

    networks: tuple[Network, ...] = ()
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, *, host: str, allow: Sequence[str], token: str) -> Access:
        """Return the rule for a service on an address.

        Raises:
            UserInput: when a network is none.
            ServeError: when others could reach the service and nothing keeps them out.
        """
        networks = tuple(_network(text) for text in allow)
        if not _is_loopback(host) and not networks and not token:
            raise ServeError(
                f"On {host} everybody who reaches this machine could use the models.",
                hint="Give --allow NETWORK (for a CVAT in Docker: 172.16.0.0/12) or "
                "--token-file FILE.",
            )
        return cls(networks, token)

    def lets_in(self, client: str, authorization: str) -> bool:
        """Whether a caller from an address with this `Authorization` header may call."""
        if self.token:
            given = _given(authorization)
            if given and hmac.compare_digest(given.encode(), self.token.encode()):
                return True
        elif _is_loopback(client):
            return True
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self.networks)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UserInput(f'"{text}" is no network.', hint="For example: 172.16.0.0/12") from error


def _given(authorization: str) -> str:
    """Return the token of a header: after Bearer or Token, or as the password of Basic."""
    kind, _, given = authorization.partition(" ")
    if kind.lower() in ("bearer", "token"):
        return given.strip()
    if kind.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Turns away who may not call, before anything of the request is read."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 403, or go on."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            client = (scope.get("client") or ("", 0))[0]
            given = Headers(scope=scope).get("authorization", "")
            if not self._access.lets_in(client, given):
                await self._refuse(client)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refuse(self, client: str) -> JSONResponse:
        if self._access.token:
            text = "A token is needed: Authorization: Bearer TOKEN."
            return refusal(401, text, {"WWW-Authenticate": "Bearer"})
        text = f"{client} is in no allowed network. Start the service with --allow for it."
        return refusal(403, text)


def read_token(path: str | None) -> str:
    """Return the token in a file, "" without a file.

    Raises:
        UserInput: when it cannot be read, or is too short to keep anybody out.
    """
    if path is None:
        return ""
    try:
        token = Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise UserInput(f"{path} cannot be read: {error.strerror}.") from error
    if len(token) < 16:
        raise UserInput(
            f"The token in {path} is shorter than 16 signs.",
            hint=f"Make one: openssl rand -hex 32 > {path}",
        )
    return token
