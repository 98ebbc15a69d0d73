"""The process: sockets, the loop that follows the offers, and the state that pages read."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import uvicorn
from filelock import FileLock, Timeout

from lsl_core.errors import ServeError, UserInput, WorkspaceError
from lsl_core.serve.app import Service, describe
from lsl_core.serve.gateway import names_of
from lsl_core.serve.reasons import ReasonsTold
from lsl_core.services.serving.state import LOCK_FILE, STATE_FILE
from lsl_core.workspace.files import read_json, write_json

_LOG = logging.getLogger(__name__)

#: Seconds between two looks at what shall be offered.
_FOLLOW_S = 1.0
#: Seconds that callers get to hear their answers when the service is stopped.
_GRACE_S = 10
#: Ports for direct calls that are tried beyond the service's own.
_DIRECT_PORTS = 16
#: Ports that CVAT's own containers publish (docker-compose.yml of 2.42); a CVAT that starts after
#: the service must find them free.
_CVATS_PORTS = (8080, 8090)
#: Which function has which port, kept for the next start.
_PORTS_FILE = "ports.json"


@dataclass(slots=True, eq=False)
class Server:
    """A service on its sockets, until it is stopped.

    Args:
        service: what answers.
        host: address to listen on.
        port: of the service; 0 takes a free one.
        is_nuclio: whether each function gets a port of its own as well, for CVAT's direct calls.
    """

    service: Service
    host: str
    port: int
    is_nuclio: bool = False
    _started: float = field(default_factory=time.time)
    _sockets: list[socket.socket] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _server: uvicorn.Server | None = None

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; those who wait get their answers first.

        Raises:
            ServeError: when another service serves the workspace.
            UserInput: when the port is taken.
        """
        with self._alone(), self._listening():
            follower = threading.Thread(target=self._follow, name="follow", daemon=True)
            config = uvicorn.Config(
                self.service.app(),
                http=ReasonsTold,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                proxy_headers=False,  # who calls decides who may
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=_GRACE_S,
            )
            self._server = uvicorn.Server(config)
            self._look()
            follower.start()
            try:
                self._server.run(sockets=self._sockets)
            finally:
                self._stopped.set()
                follower.join()
                self.service.shelf.close()

    def stop(self) -> None:
        """End `run` from another thread."""
        if self._server is not None:
            self._server.should_exit = True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder = self.service.shelf.workspace.serve
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / LOCK_FILE).acquire(timeout=1.0):
                try:
                    yield
                finally:
                    (folder / STATE_FILE).unlink(missing_ok=True)
        except Timeout as error:
            raise ServeError(
                "A service of this workspace runs already.", hint="Stop it: lsl serve --stop"
            ) from error

    @contextmanager
    def _listening(self) -> Iterator[None]:
        try:
            self._sockets.append(bound(self.host, self.port))
            self.port = self._sockets[0].getsockname()[1]
            for port in range(self.port + 1, self.port + 1 + _DIRECT_PORTS * self.is_nuclio):
                if port in _CVATS_PORTS:
                    continue
                try:
                    self._sockets.append(bound(self.host, port))
                except (UserInput, OverflowError):
                    _LOG.info("port %s is in use by another program and left alone", port)
            yield
        finally:
            for listening in self._sockets:
                listening.close()

    def _follow(self) -> None:
        while not self._stopped.wait(_FOLLOW_S):
            self._look()

    def _look(self) -> None:
        """Follow the offers once, and write down how things stand."""
        try:
            self.service.shelf.follow()
            self._give_ports()
            lives = self.service.shelf.all()
            self.service.usage.offered(
                {name: live.card.id for live in lives for name in names_of(live)}
            )
            self._write_state()
        except Exception:
            _LOG.exception("the offers could not be followed; those that are loaded go on")

    def _give_ports(self) -> None:
        """Give every function a port of its own, and the same one the next time.

        A run that waits in CVAT's queue remembers the port of its function, and must not get the
        answers of another model there: ports of functions that are gone are given away last.
        """
        names = [name for live in self.service.shelf.all() for name in names_of(live)]
        ports = dict(self.service.ports)
        ours = [s.getsockname()[1] for s in self._sockets[1:]]
        path = self.service.shelf.workspace.serve / _PORTS_FILE
        if not ports and path.exists():
            with contextlib.suppress(WorkspaceError):  # damaged: they are given anew
                ports = {name: port for name, port in read_json(path).items() if port in ours}
        for name in names:
            free = [port for port in ours if port not in ports.values()]
            gone = [other for other in ports if other not in names]
            if name not in ports and (free or gone):
                ports[name] = free[0] if free else ports.pop(gone[0])
        if ports != self.service.ports:
            self.service.ports = ports  # at once: callers are being answered
            write_json(path, ports)

    def _write_state(self) -> None:
        service = self.service
        write_json(
            service.shelf.workspace.serve / STATE_FILE,
            {
                "pid": os.getpid(),
                "host": self.host,
                "port": self.port,
                "is_nuclio": self.is_nuclio,
                "started": self._started,
                "written": time.time(),
                "problems": service.shelf.problems,
                "offers": describe(service),
                "callers": [asdict(caller) for caller in service.usage.callers()],
            },
        )


def bound(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        UserInput: when the port is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # only a socket that says TCP gets TCP_NODELAY from asyncio; without, each answer waits 40 ms
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
    except OSError as error:
        listening.close()
        raise UserInput(
            f"Nothing can listen on port {port} of {host}: {error.strerror}.",
            hint=f"Choose another port, such as {port + 20}.",
        ) from error
    return listening
