"""What of the backups is kept: by the rules, by the room there is, and whether it is the last."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lsl_core.backups import Repository, Snapshot, Tier
from lsl_core.backups.quota import Forecast, Usage, fit_quota, forecast
from lsl_core.backups.retention import Decision, Keep, decide
from lsl_core.workspace import Workspace
from lsl_core.workspace.settings import BackupSettings

__all__ = [
    "Decision",
    "Forecast",
    "decision_lines",
    "decisions",
    "forget_by_rules",
    "is_last_copy",
    "room",
]


def decisions(workspace: Workspace, repository: Repository) -> list[Decision]:
    """Say for every snapshot whether the rules keep it, and why. Changes nothing."""
    settings = workspace.settings().backups
    snapshots = repository.snapshots()
    found = decide(snapshots, _keep(settings))
    if settings.quota_gb is None:
        return found
    quota = round(settings.quota_gb * 1e9)
    return list(fit_quota(found, Usage(repository, snapshots), quota).decisions)


def forget_by_rules(
    workspace: Workspace, repository: Repository, *, seen: Collection[str] | None = None
) -> list[str]:
    """Forget what the rules do not keep; the next prune removes it.

    Args:
        workspace: whose rules.
        repository: what is looked after.
        seen: names of the snapshots that somebody agreed to; no other is forgotten.

    Returns:
        A line for every snapshot: what becomes of it, and why.
    """
    with repository.lock("forget by the rules"):
        found = decisions(workspace, repository)
        going = [one.snapshot for one in found if not one.keep]
        repository.forget([one for one in going if seen is None or one.id in seen])
    return decision_lines(found)


def decision_lines(found: Sequence[Decision]) -> list[str]:
    """Return a line for every snapshot: what becomes of it by the rules, and why."""
    return [
        f"{one.snapshot.short_id}  {one.snapshot.tier:<12} {one.snapshot.subject.name}: {one.text}"
        for one in found
    ]


def is_last_copy(repository: Repository, one: Snapshot) -> bool:
    """Tell whether nothing else whole is left of what a snapshot holds, images included.

    A copy of the whole server counts, since its parts can be brought back one by one.
    """
    if not one.is_usable or one.is_damaged:
        return False
    return not any(
        other.id != one.id
        and other.is_usable
        and not other.is_damaged
        and other.subject.url == one.subject.url
        and (
            other.subject.key == one.subject.key
            or (other.tier is Tier.INSTANCE and _covers(other, one))
        )
        and (other.tier is not Tier.ANNOTATIONS or one.tier is Tier.ANNOTATIONS)
        for other in repository.snapshots()
    )


def _covers(whole: Snapshot, one: Snapshot) -> bool:
    at = f"{one.subject.kind}-{one.subject.id}/"
    return any(file.name.startswith(at) for file in whole.files)


def room(workspace: Workspace, repository: Repository) -> Forecast | None:
    """Say when the quota, or else the disk, will be full; None where nobody knows its size."""
    settings = workspace.settings().backups
    used = sum(repository.store.list("packs").values())
    free = repository.store.free_bytes()
    limits = [] if free is None else [used + free]
    if settings.quota_gb is not None:
        limits.append(round(settings.quota_gb * 1e9))
    if not limits:
        return None
    return forecast(
        repository.snapshots(forgotten=True),
        used_bytes=used,
        limit_bytes=min(limits),
        now=repository.clock(),
    )


def _keep(settings: BackupSettings) -> dict[Tier, Keep]:
    common = Keep(
        last=settings.keep_last,
        daily=settings.keep_daily,
        weekly=settings.keep_weekly,
        monthly=settings.keep_monthly,
    )
    hourly = common.model_copy(update={"hourly": settings.keep_hourly})
    return {Tier.ANNOTATIONS: hourly, Tier.FULL: common, Tier.INSTANCE: common}
