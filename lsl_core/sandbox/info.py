"""What the server says of itself, and the doors that the sandbox keeps shut."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.base.answers import reply
from lsl_core.sandbox.calls import listing
from lsl_core.sandbox.calls.web import Call

NAME = "LSL sandbox – not a real CVAT"
_ABOUT = (
    "A small CVAT-compatible server that LSL brings along for its demo and its tests. It runs on"
    " this computer only, keeps its data in one folder, and knows the part of CVAT's API that LSL"
    " uses. Do not keep work here that you cannot lose."
)

#: What the sandbox reads and writes, as CVAT names it: (name, files, version).
IMPORTERS = (("COCO 1.0", "JSON, ZIP", "1.0"), ("CVAT 1.1", "XML, ZIP", "1.1"))
EXPORTERS = (("COCO 1.0", "ZIP", "1.0"), ("CVAT for images 1.1", "ZIP", "1.1"))


def about(call: Call) -> Response:
    """GET /api/server/about, also for the anonymous."""
    return reply(
        {
            "name": NAME,
            "description": _ABOUT,
            "version": call.context.flavour.version,
            "logo_url": f"{call.base_url}/logo.svg",
            "subtitle": "For trying LSL on this computer",
        }
    )


def plugins(call: Call) -> Response:
    """GET /api/server/plugins."""
    has_tools = call.context.nuclio is not None
    return reply(
        {"GIT_INTEGRATION": False, "ANALYTICS": False, "MODELS": has_tools, "PREDICT": False}
    )


def _format(entry: tuple[str, str, str]) -> dict[str, Any]:
    name, ext, version = entry
    return {"name": name, "ext": ext, "version": version, "enabled": True, "dimension": "2d"}


def formats(call: Call) -> Response:
    """GET /api/server/annotation/formats."""
    return reply(
        {
            "importers": [_format(entry) for entry in IMPORTERS],
            "exporters": [_format(entry) for entry in EXPORTERS],
        }
    )


def empty_list(call: Call) -> Response:
    """Answer a list that is always empty in a sandbox (webhooks, cloud storages…)."""
    return reply(listing.page(call, []))
