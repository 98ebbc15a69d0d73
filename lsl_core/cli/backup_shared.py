"""What the commands of `lsl backup` share: opening the repository, and how snapshots are listed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from lsl_core.cli.shared import secret, token_of, workspace_of
from lsl_core.services import connections
from lsl_core.services.backups import repositories
from lsl_core.services.backups.repositories import Repository, Snapshot
from lsl_core.services.connections import CvatSession, CvatSettings
from lsl_core.services.workspaces import Workspace


def opened(ctx: click.Context, *, make: bool = False) -> tuple[Workspace, Repository]:
    """Return the workspace and its repository."""
    workspace = workspace_of(ctx)
    return workspace, repositories.open_repository(workspace, make=make)


def everything(ctx: click.Context, workspace: Workspace) -> CvatSession:
    """Sign in without an organisation, to see those of all of them."""
    settings = workspace.settings().cvat.model_copy(update={"organisation": None})
    return connections.open_session(settings, token=token_of(ctx))


def into(
    ctx: click.Context, workspace: Workspace, url: str | None, user: str | None, org: str | None
) -> CvatSession:
    """Sign in to where something is restored: this workspace's server, or another one.

    Another one takes the token of the environment, a key that `cvat-setup` kept for that user
    there, or asks for the password.

    Raises:
        UserInput: a password is needed and there is no terminal to ask for it.
    """
    settings = workspace.settings().cvat
    if url is None:
        chosen = settings.organisation if org is None else org
        there = settings.model_copy(update={"organisation": chosen})
        return connections.open_session(there, token=token_of(ctx))
    there = CvatSettings(url=url, user=user or settings.user, organisation=org)
    token = token_of(ctx)
    if token or connections.is_kept(there):
        return connections.open_session(there, token=token)
    password = secret(
        f"The password of {there.user} at {url}",
        hint="Set CVAT_ACCESS_TOKEN to a token of that server, sign in there once with lsl "
        f"cvat-setup --url {url} --cvat-username {there.user}, or pipe the password in.",
    )
    login = connections.PasswordLogin(there.user, password)
    return connections.sign_in(login, url=url, organisation=org)


def size_text(num_bytes: int) -> str:
    """Return "1.2 GB", "310 MB", "4 kB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:,.1f} {unit}"
    return f"{num_bytes / 1e3:,.0f} kB"


def table(found: Sequence[Snapshot]) -> str:
    """Return snapshots as lines for a terminal, newest first."""
    rows = [f"{'snapshot':<11}{'finished (UTC)':<17} {'tier':<12}{'of':<14}{'state':<9}  name"]
    for one in found:
        of = "server" if one.subject.kind == "instance" else f"{one.subject.kind} {one.subject.id}"
        signs = "".join(
            sign
            for sign, is_so in (
                (" verified", one.is_verified),
                (" damaged", one.is_damaged),
                (" drilled", one.marks.drill is not None and one.marks.drill.good),
                (" protected", one.marks.protected),
                (" forgotten", one.marks.forgotten is not None),
            )
            if is_so
        )
        rows.append(
            f"{one.short_id:<11}{one.finished:%Y-%m-%d %H:%M}  {one.tier:<12}{of:<14}"
            f"{one.state:<9}  {one.subject.name}{signs}  ({one.reason or 'no reason given'})"
        )
    return "\n".join(rows)
