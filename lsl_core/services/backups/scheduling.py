"""Backups that make themselves: what is due is made, looked after, and thinned out.

Nothing is remembered but the snapshots themselves: whoever asks what is due (the worker, cron, a
systemd timer) gets the same answer, and the repository's lock lets one of them do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lsl_core.backups import Repository, Snapshot, Subject, Tier
from lsl_core.backups.quota import Forecast
from lsl_core.backups.schedule import Due, Rule, all_due, by_subject, next_time, pace_of
from lsl_core.cvat import CvatSession
from lsl_core.cvat.backup import Inventory, list_units
from lsl_core.errors import CvatError, Locked, LslError
from lsl_core.progress import NULL, Progress
from lsl_core.services.backups import drilling, repositories, retaining
from lsl_core.services.backups.backing_up import BackupReport, back_up, back_up_instance, subject_of
from lsl_core.workspace import Workspace
from lsl_core.workspace.settings import BackupSettings

__all__ = ["NextTime", "next_times", "run_due"]

#: What was forgotten by hand stays at least so long, whatever is scheduled.
_GRACE = timedelta(days=1)
#: How long an interval may become when nothing changes, per tier.
_LONGEST = {Tier.ANNOTATIONS: timedelta(days=1), Tier.FULL: timedelta(days=7),
            Tier.INSTANCE: timedelta(days=7)}  # fmt: skip
_AT = {Tier.ANNOTATIONS: timedelta(0), Tier.FULL: timedelta(hours=1),
       Tier.INSTANCE: timedelta(hours=3)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NextTime:
    """When a project, loose task or the server is backed up next, and what made it so."""

    name: str
    tier: Tier
    at: datetime
    is_due: bool
    reasons: tuple[str, ...]


def rules_of(settings: BackupSettings) -> list[Rule]:
    """Return the rules of the schedule; a tier with 0 hours has none."""
    hours = {
        Tier.ANNOTATIONS: settings.annotations_hours,
        Tier.FULL: settings.full_hours,
        Tier.INSTANCE: settings.instance_hours,
    }
    return [
        Rule(
            tier=tier,
            every=max(timedelta(hours=every), timedelta(minutes=1)),
            longest=max(timedelta(hours=every), timedelta(minutes=1), _LONGEST[tier]),
            at=_AT[tier],
        )
        for tier, every in hours.items()
        if every > 0
    ]


def run_due(
    workspace: Workspace,
    repository: Repository,
    session: CvatSession,
    *,
    progress: Progress = NULL,
) -> BackupReport:
    """Make every backup that is due, then look after the repository when that is due.

    One project that fails never stops the rest.

    Returns:
        What was made and what failed; empty when somebody else is at it or nothing is due.
    """
    try:
        with repository.lock("scheduled backup"):
            report = _make_due(workspace, repository, session, progress)
            _care(workspace, repository, session, report, progress)
            return report
    except Locked as error:
        progress.note(f"Left to the other: {error.message}")
        return BackupReport()


def next_times(
    workspace: Workspace, repository: Repository, session: CvatSession
) -> list[NextTime]:
    """Say when each backup is made next, and why then; the soonest first."""
    look = _look(workspace, repository, session)
    rules, now = rules_of(workspace.settings().backups), repository.clock()
    due = look.due(rules, now)
    found = [
        NextTime(_title(need.subject), need.tier, now, True, (need.reason, *need.pace.reasons))
        for need in due
    ]
    waiting = {(need.subject.key, need.tier) for need in due}
    own = by_subject(look.history)
    for rule in rules:
        for subject in look.subjects:
            fits = (rule.tier is Tier.INSTANCE) == (subject.kind == "instance")
            if not fits or (subject.key, rule.tier) in waiting:
                continue
            pace = pace_of(
                rule, own.get((subject.key, rule.tier), ()), forecast=look.forecast,
                changed=look.changed.get(subject.key),
            )  # fmt: skip
            at = next_time(rule, subject, pace, now)
            found.append(NextTime(_title(subject), rule.tier, at, False, pace.reasons))
    return sorted(found, key=lambda one: (one.at, one.name))


def _title(subject: Subject) -> str:
    """Return "project 5 · bolts": names are not unique."""
    if subject.kind == "instance":
        return "whole server"
    return f"{subject.kind} {subject.id} · {subject.name}"


def _make_due(
    workspace: Workspace, repository: Repository, session: CvatSession, progress: Progress
) -> BackupReport:
    look = _look(workspace, repository, session)
    due = look.due(rules_of(workspace.settings().backups), repository.clock())
    units = {subject_of(session, unit).key: unit for unit in look.inventory.units}
    report = BackupReport()
    todo = [(units[need.subject.key], need.tier) for need in due if need.subject.key in units]
    if todo:
        report = back_up(repository, session, todo, reason="scheduled", progress=progress)
    if any(need.tier is Tier.INSTANCE for need in due):
        try:
            report.taken.append(
                back_up_instance(repository, session, reason="scheduled", progress=progress)
            )
        except CvatError as error:
            report.failed.append((session.url, error.message))
    return report


@dataclass(frozen=True, slots=True)
class _Look:
    """The server and the repository at one time: all that a decision needs.

    history: what was forgotten, too, since it was made all the same. changed: by subject key.
    """

    inventory: Inventory
    subjects: list[Subject]
    history: list[Snapshot]
    forecast: Forecast | None
    changed: dict[str, datetime]

    def due(self, rules: list[Rule], now: datetime) -> list[Due]:
        """Return what should be made now."""
        return all_due(
            rules, self.subjects, self.history, now,
            forecast=self.forecast, changed=self.changed,
        )  # fmt: skip


def _look(workspace: Workspace, repository: Repository, session: CvatSession) -> _Look:
    inventory = list_units(session)
    return _Look(
        inventory,
        _subjects(session, inventory),
        repository.snapshots(forgotten=True),
        retaining.room(workspace, repository),
        _changed(session, inventory),
    )


def _subjects(session: CvatSession, inventory: Inventory) -> list[Subject]:
    server = Subject(url=session.url, kind="instance", id=0, name=session.url)
    units = [unit for unit in inventory.units if not unit.name.startswith(drilling.SCRATCH)]
    return [server, *(subject_of(session, unit) for unit in units)]


def _changed(session: CvatSession, inventory: Inventory) -> dict[str, datetime]:
    return {
        subject_of(session, unit).key: unit.changed
        for unit in inventory.units
        if unit.changed is not None
    }


def _care(
    workspace: Workspace,
    repository: Repository,
    session: CvatSession,
    report: BackupReport,
    progress: Progress,
) -> None:
    """Verify everything, drill the snapshot that was never tried, remove and forget by the rules.

    What the rules forget now is removed the next time, a week later by default.
    """
    days = workspace.settings().backups.care_days
    snapshots = repository.snapshots(forgotten=True)
    tried = [one.marks.drill.at for one in snapshots if one.marks.drill is not None]
    last = max(tried, default=None)
    now = repository.clock()
    wanted = _to_drill(repository, session)
    is_due = last is None or not timedelta(0) <= now - last < timedelta(days=days)
    if not days or wanted is None or not is_due:
        return
    try:
        found = repositories.verify(repository, progress=progress)
        report.failed += [(name[:10], text[0]) for name, text in found.damaged.items()]
        tested = drilling.drill(
            repository, session, repository.snapshot(wanted.id), progress=progress
        )
        verdict = tested.marks.drill
        if verdict is not None and not verdict.good:
            report.failed.append((f"drill of {tested.short_id}", verdict.problems[0]))
        _make_room(workspace, repository, progress)
    except Locked:
        raise
    except LslError as error:
        report.failed.append(("care of the repository", error.message))
        progress.note(error.message)


def _to_drill(repository: Repository, session: CvatSession) -> Snapshot | None:
    """Return the newest whole snapshot with images of the subject whose last drill is oldest."""
    newest: dict[str, Snapshot] = {}
    tried: dict[str, float] = {}
    for one in repository.snapshots():
        key = one.subject.key
        if one.marks.drill is not None:
            tried[key] = max(tried.get(key, 0.0), one.marks.drill.at.timestamp())
        has_images = any(file.kind == "archive" for file in one.files)
        is_whole = one.is_usable and not one.is_damaged
        if has_images and is_whole and one.counts.get("frames") and one.tier is Tier.FULL:
            newest.setdefault(key, one)
    here = [one for one in newest.values() if one.subject.url == session.url]
    return min(here, key=lambda one: tried.get(one.subject.key, 0.0), default=None)


def _make_room(workspace: Workspace, repository: Repository, progress: Progress) -> None:
    forgotten = [
        one.marks.forgotten
        for one in repository.snapshots(forgotten=True)
        if one.marks.forgotten is not None
    ]
    now = repository.clock()
    if forgotten and all(now - at > _GRACE for at in forgotten):
        try:
            for line in repositories.prune(repository, progress=progress).lines:
                progress.note(line)
        except Locked as error:
            progress.note(f"Pruned the next time: {error.message}")
    retaining.forget_by_rules(workspace, repository)
