"""Serverless functions as CVAT lists them: its AI tools."""

from __future__ import annotations

from typing import Any

from lsl_core.cvat.session import CvatSession

Json = dict[str, Any]


def has_functions(session: CvatSession) -> bool:
    """Return whether the server's AI tools are switched on."""
    plugins = session.transport.json(
        "GET", "/api/server/plugins", doing="asking for the server's plugins"
    )
    return bool(plugins.get("MODELS"))


def list_functions(session: CvatSession) -> list[Json]:
    """Return the functions that the server offers; CVAT asks its Nuclio for them.

    Raises:
        CvatError: also when the server does not reach what it believes is Nuclio.
    """
    listed: list[Json] = session.transport.json(
        "GET", "/api/lambda/functions", doing="asking for its AI tools"
    )
    return listed
