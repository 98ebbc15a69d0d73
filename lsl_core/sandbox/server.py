"""The sandbox as an object: start it, use its address, stop it."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn

from lsl_core.sandbox import app
from lsl_core.sandbox.base.context import Context
from lsl_core.sandbox.base.flavour import Flavour
from lsl_core.sandbox.base.nuclio import Nuclio
from lsl_core.sandbox.users import accounts

_log = logging.getLogger(__name__)

HOST = "127.0.0.1"
#: The demo's administrator, when nobody says otherwise. The sandbox listens on loopback only.
DEMO_USER, DEMO_PASSWORD = "demo", "demo-password"
_START_SECONDS = 20.0


class PortTakenError(OSError):
    """Another program listens on the port that the sandbox was to use."""


class Sandbox:
    """A CVAT-compatible server on loopback, for demos and tests.

    Starts in its own thread on `with`, or by `start()`. What it is told is in its folder: a
    sandbox that is started again on the same folder goes on where it was.

    Args:
        folder: where everything lies; made when missing.
        port: the port; 0 takes a free one.
        version: the CVAT version to pose as, for example "2.30.0".
        users: passwords by user name; the first is the administrator.
        nuclio: whose functions are the AI tools; None for no tools.

    >>> from tempfile import mkdtemp
    >>> with Sandbox(Path(mkdtemp())) as sandbox:
    ...     sandbox.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        version: str = "2.80.0",
        users: Mapping[str, str] | None = None,
        nuclio: Nuclio | None = None,
    ) -> None:
        self._folder = folder
        self._port = port
        self._flavour = Flavour(version)
        self._users = {DEMO_USER: DEMO_PASSWORD} if users is None else dict(users)
        self._nuclio = nuclio
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._context: Context | None = None

    @property
    def url(self) -> str:
        """The server's address, without a slash at the end."""
        return f"http://{HOST}:{self._port}"

    @property
    def context(self) -> Context:
        """The folder and database of a sandbox that is open.

        Raises:
            RuntimeError: if it is not started.
        """
        if self._context is None:
            raise RuntimeError("The sandbox is not started")
        return self._context

    def start(self) -> Self:
        """Open the folder, bind the port and serve in a thread; return when it answers.

        Raises:
            PortTakenError: if the port is in use.
        """
        bound = _bind(self._port)
        try:
            self._port = bound.getsockname()[1]
            self._context = Context(self._folder, self._flavour, self._nuclio)
            for number, (name, password) in enumerate(self._users.items()):
                accounts.add_user(self._context.db, name, password, is_admin=number == 0)
            config = uvicorn.Config(
                app.build(self._context),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=2,
            )
            self._server = uvicorn.Server(config)
        except BaseException:
            bound.close()
            if self._context is not None:
                self._context.close()
                self._context = None
            raise
        self._thread = threading.Thread(
            target=self._serve, args=(self._server, bound), name="sandbox", daemon=True
        )
        self._thread.start()
        self._wait_until_up()
        return self

    @staticmethod
    def _serve(server: uvicorn.Server, bound: socket.socket) -> None:
        try:
            server.run(sockets=[bound])
        finally:
            bound.close()

    def _wait_until_up(self) -> None:
        waiting = threading.Event()
        for _ in range(int(_START_SECONDS / 0.01)):
            if self._server is not None and self._server.started:
                return
            if self._thread is None or not self._thread.is_alive():
                break
            waiting.wait(0.01)
        raise RuntimeError("The sandbox did not start")

    def stop(self) -> None:
        """Stop serving, finish what is under way, close the database."""
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        if self._context is not None:
            self._context.close()
        self._server = self._thread = self._context = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def add_user(
        self, name: str, password: str, *, is_admin: bool = False, full_name: str = ""
    ) -> int:
        """Add a user, or give the one of that name this password.

        Returns:
            The user's id.
        """
        return accounts.add_user(
            self.context.db, name, password, is_admin=is_admin, full_name=full_name
        )

    def make_token(self, user: str, *, kind: str = "access") -> str:
        """Make a personal access token (`access`), or give the `login` token.

        Raises:
            ValueError: if there is no such user.
        """
        db = self.context.db
        return accounts.make_token(db, accounts.user_id(db, user), kind=kind, name="made by hand")

    def add_organisation(
        self,
        slug: str,
        owner: str,
        members: Sequence[str] | Mapping[str, str] = (),
        *,
        name: str = "",
    ) -> int:
        """Add an organisation.

        Args:
            slug: its short name, which clients send.
            owner: a user's name.
            members: user names, who become maintainers; or their roles by name.
            name: its long name.

        Returns:
            The organisation's id.
        """
        db = self.context.db
        org_id = accounts.add_organisation(db, slug, accounts.user_id(db, owner), name=name)
        roles = members if isinstance(members, Mapping) else dict.fromkeys(members, "maintainer")
        for member, role in roles.items():
            accounts.add_member(db, org_id, accounts.user_id(db, member), role=role)
        return org_id


def _bind(port: int) -> socket.socket:
    # Only a socket that says TCP gets TCP_NODELAY from asyncio; without, each answer waits 40 ms.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen(128)
    except OSError as exc:
        bound.close()
        raise PortTakenError(exc.errno, f"Port {port} of {HOST} is in use") from exc
    return bound
