"""Filling a fresh server: organisations and members before the units go in, webhooks after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lsl_core.cvat.backup.people import People
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.errors import CvatAuth, CvatError, CvatUnreachable

Json = dict[str, Any]

#: What a webhook is made of, beside its secret and whether it is on.
_WEBHOOK = ("target_url", "description", "type", "content_type", "enable_ssl", "events")


def restore_organisations(
    session: CvatSession, organisations: list[Json], members: list[Json], people: People
) -> list[tuple[str, str]]:
    """Make organisations that are not there, and invite the people who belonged to them.

    Args:
        session: on the server to fill, in no organisation.
        organisations: as the backup lists them.
        members: likewise, each with the short name of its organisation.
        people: who is who on this server.

    Returns:
        What could not be done, and why.
    """
    failed: list[tuple[str, str]] = []
    known = {organisation.slug for organisation in session.organisations()}
    for entry in organisations:
        if entry["slug"] in known:
            continue
        body = {key: entry.get(key) for key in ("slug", "name", "description", "contact")}
        body = {key: value for key, value in body.items() if value}
        try:
            session.transport.json(
                "POST", "/api/organizations", doing="making an organisation", body=body,
                headers={"X-Organization": None},
            )  # fmt: skip
        except CvatError as error:
            _pass(error)
            failed.append((f'organisation "{entry["slug"]}"', error.message))
    present = {organisation.slug for organisation in session.organisations()}
    for member in members:
        if member["organisation"] in present and member.get("role") != "owner":
            failed += _invite(session, member, people)
    return failed


def restore_webhooks(
    session: CvatSession,
    webhooks: Iterable[Json],
    slugs: Mapping[int, str],
    projects: Mapping[int, int],
) -> list[tuple[str, str]]:
    """Make webhooks again, switched off: CVAT tells nobody their secrets.

    Args:
        session: on the server to fill.
        webhooks: as the backup lists them.
        slugs: id of an organisation in the backup to its short name.
        projects: id of a project in the backup to that of the restored one.

    Returns:
        What each of them still needs, or why it is not there.
    """
    told = []
    for hook in webhooks:
        what = f"webhook {hook.get('target_url')}"
        body = {key: hook[key] for key in _WEBHOOK if hook.get(key) is not None}
        if hook.get("type") == "project":
            project = projects.get(int(hook.get("project_id") or 0))
            if project is None:
                told.append((what, "its project was not restored"))
                continue
            body["project_id"] = project
        slug = slugs.get(int(hook.get("organization") or 0), "")
        try:
            session.transport.json(
                "POST", "/api/webhooks", doing="making a webhook",
                body={**body, "is_active": False}, headers={"X-Organization": slug},
            )  # fmt: skip
            told.append((what, "made switched off: set its secret in CVAT, then switch it on"))
        except CvatError as error:
            _pass(error)
            told.append((what, error.message))
    return told


def _invite(session: CvatSession, member: Json, people: People) -> list[tuple[str, str]]:
    """Invite one person, unless they belong to it already; return why not, if so."""
    slug, user = str(member["organisation"]), people.find(member.get("user"))
    name = str((member.get("user") or {}).get("username") or "somebody")
    what = f'"{name}" as {member.get("role")} of "{slug}"'
    if user is None:
        return [(what, "there is no such user on this server")]
    in_it = {"X-Organization": slug}
    there = session.transport.pages("/api/memberships", doing="listing members", headers=in_it)
    if any((entry.get("user") or {}).get("id") == user["id"] for entry in there):
        return []
    if not user.get("email"):
        return [(what, "an invitation needs an e-mail address, and this account may not see it")]
    try:
        session.transport.json(
            "POST", "/api/invitations", doing="inviting a member", headers=in_it,
            body={"role": member["role"], "email": user["email"]},
        )  # fmt: skip
    except CvatError as error:
        _pass(error)
        return [(what, error.message)]
    return []


def _pass(error: CvatError) -> None:
    """Let through what would fail for everything that follows."""
    if isinstance(error, CvatAuth | CvatUnreachable):
        raise error
