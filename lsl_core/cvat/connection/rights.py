"""What a user may write, as far as CVAT tells without a write being tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsl_core.cvat.connection.transport import Transport
from lsl_core.errors import CvatDenied, CvatNotFound

#: Members of an organisation with this role, and users of this group, see their own jobs only.
_WORKER = "worker"


def organisation_words(slug: str | None) -> str:
    """Return what people call a choice of organisation."""
    if slug is None:
        return "everything that is visible"
    return slug or "personal workspace"


def rights_of(transport: Transport, user: Mapping[str, Any], organisation: str | None) -> str:
    """Return what a user may write, for people; CVAT itself decides on every single write.

    Args:
        transport: of the signed-in user.
        user: the answer to /api/users/self.
        organisation: short name of the chosen one, "" or None for no particular one.
    """
    groups = set(user.get("groups") or ())
    if user.get("is_superuser") or "admin" in groups:
        return "everything, as administrator"
    if not groups:
        return "nothing: you can preview, but not push"
    role = _role(transport, user, organisation) if organisation else ""
    if role == _WORKER or groups == {_WORKER}:
        return "annotations of jobs that are assigned to you"
    return "annotations of tasks that you own or are assigned to, and new tasks"


def _role(transport: Transport, user: Mapping[str, Any], organisation: str) -> str:
    try:
        found = transport.pages(
            "/api/memberships",
            doing=f"asking for your role in {organisation}",
            query={"org": organisation, "user": user["username"]},
        )
        return next((str(one["role"]) for one in found if one["user"]["id"] == user["id"]), "")
    except (CvatDenied, CvatNotFound):  # a worker may be refused even this question
        return _WORKER
