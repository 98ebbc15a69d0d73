"""The process that serves the offers of a workspace; `lsl serve` and the Serve page start it.

    python -m lsl_core.serve WORKSPACE --settings FILE

The file is a `ServiceSettings`. What is offered stands in the workspace: see
`lsl_core.services.serving.offers`.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from lsl_core.errors import LslError
from lsl_core.models.memory import keep_freed_memory
from lsl_core.serve.access import Access, read_token
from lsl_core.serve.app import Limits, Service
from lsl_core.serve.server import Server
from lsl_core.serve.shelf import Shelf
from lsl_core.services.serving.state import ServiceSettings
from lsl_core.workspace import Workspace


def main() -> int:
    """Serve until stopped; return the exit code."""
    keep_freed_memory()  # before there are threads
    parser = argparse.ArgumentParser(prog="lsl_core.serve")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--settings", type=Path, required=True)
    arguments = parser.parse_args()
    # uvicorn hands the signal on when it is done, which would end us before we tidy up
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        settings = ServiceSettings.read(arguments.settings)
        server_of(Workspace.open(arguments.workspace), settings).run()
    except LslError as error:
        sys.stderr.write(f"lsl: {error}\n")
        return error.exit_code
    return 0


def server_of(workspace: Workspace, settings: ServiceSettings) -> Server:
    """Return the server that these settings ask for, not yet listening.

    Raises:
        UserInput: when a setting is no use.
        ServeError: when it would be open to everybody.
    """
    access = Access.of(
        host=settings.host, allow=settings.allow, token=read_token(settings.token_file)
    )
    limits = Limits(body_bytes=int(settings.max_body_mb * 1024**2), timeout_s=settings.timeout_s)
    shelf = Shelf(workspace, int(settings.max_megapixels * 1e6))
    service = Service(shelf, limits, access)
    return Server(service, settings.host, settings.port, settings.is_nuclio)


if __name__ == "__main__":
    sys.exit(main())
