"""A repository of snapshots: what was saved from CVAT, when, and how whole it is.

This room knows nothing of servers; it keeps what it is given. In a folder or at any fsspec URL::

    Repository.create(location, *, key=None)      make_key_file(path), read_key_file(path),
    Repository.open(location, *, key=None)        key_from_keyring(name), Passphrase(words)

Writing (one writer at a time; `Locked` names who holds the lock and since when)::

    with repository.lock("daily backup"):
        with repository.record(subject, Tier.FULL, server_version="2.80", reason="daily") as draft:
            draft.add_json("tasks/41/annotations.json", value)
            draft.add("notes.txt", data)              # bytes, a Path, or an open binary file
            draft.add_archive("project.zip", path)    # CVAT's zip, taken apart and checked
            draft.lack("issues of task 41", "The server refused: 403.")    # becomes "partial"
            draft.counts["shapes"] = 312
        draft.snapshot

A snapshot exists when the block has ended, or not at all. An `LslError` inside the block leaves a
"failed" snapshot that names the reason, and goes on to the caller.

Reading (needs no lock)::

    repository.snapshots(subject=None, tier=None, forgotten=False) -> list[Snapshot], newest first
    repository.snapshot("9f31c2" | "latest") -> Snapshot
    repository.read(snapshot, name) -> bytes;  .read_json(snapshot, name);  .stream(snapshot, name)
    repository.extract(snapshot, "project.zip", path) -> bool: the same to the last bit?
    repository.members(snapshot, "project.zip") -> Iterator[Member]
    repository.read_member(snapshot, "project.zip", "data/0001.jpg") -> bytes

    frame_names(repository, snapshot, archive, at="") -> list[str]; task_folders(…) -> list[str]
    read_frames(repository, snapshot, archive, [0, 7], at="task_0/") -> {0: jpeg bytes, …}
    compare([JobAnnotations…], [JobAnnotations…]) -> list[Change];  summary(changes)

Trust::

    check(repository) -> Report                    what points, and whether its targets are there
    verify(repository, snapshots=None, progress=…) -> Report    reads everything; needs the lock
        Report.is_good, .problems, .damaged {name: problems}, .whole, .notes

Keeping (what changes something needs the lock)::

    repository.protect(snapshot, on=True, note=""), .mark(snapshot, drill=Verdict(…))
    decide(snapshots, {tier: Keep(…)}) -> list[Decision]; decision.text: "kept because daily …"
    fit_quota(decisions, Usage(repository, snapshots), quota_bytes) -> QuotaPlan
    repository.forget([snapshot]), .undelete([snapshot])
    plan_prune(repository) -> PrunePlan (a dry run, with .lines); prune(repository) -> PrunePlan
    forecast(snapshots, used_bytes=, limit_bytes=, now=) -> Forecast; .text: "full in about 9 days"

When (pure; the history is the snapshots)::

    all_due(rules, subjects, snapshots, now, forecast=, changed=) -> list[Due]
    pace_of(rule, snapshots, …) -> Pace(interval, reasons);  next_time(rule, subject, pace, now)

Names of files in a snapshot are chosen by whoever fills it. Subjects are grouped by server, kind
and id; names are data and never become paths.
"""

from lsl_core.backups.archives import Member
from lsl_core.backups.checking import Report, check, verify
from lsl_core.backups.diff import Change, DiffRow, JobAnnotations, compare, summary
from lsl_core.backups.frames import frame_names, read_frames, task_folders
from lsl_core.backups.locking import Holder
from lsl_core.backups.pruning import PrunePlan, plan_prune, prune
from lsl_core.backups.quota import Forecast, QuotaPlan, Usage, fit_quota, forecast
from lsl_core.backups.recording import Draft
from lsl_core.backups.repository import Repository
from lsl_core.backups.retention import DEFAULT_KEEP, Decision, Keep, decide
from lsl_core.backups.schedule import DEFAULT_RULES, Due, Pace, Rule, all_due, next_time, pace_of
from lsl_core.backups.sealing import (
    Key,
    Passphrase,
    RandomKey,
    key_from_keyring,
    make_key_file,
    read_key_file,
)
from lsl_core.backups.snapshot import (
    Marks,
    Missing,
    Snapshot,
    State,
    StoredFile,
    Subject,
    Tier,
    Verdict,
)

__all__ = [
    "DEFAULT_KEEP",
    "DEFAULT_RULES",
    "Change",
    "Decision",
    "DiffRow",
    "Draft",
    "Due",
    "Forecast",
    "Holder",
    "JobAnnotations",
    "Keep",
    "Key",
    "Marks",
    "Member",
    "Missing",
    "Pace",
    "Passphrase",
    "PrunePlan",
    "QuotaPlan",
    "RandomKey",
    "Report",
    "Repository",
    "Rule",
    "Snapshot",
    "State",
    "StoredFile",
    "Subject",
    "Tier",
    "Usage",
    "Verdict",
    "all_due",
    "check",
    "compare",
    "decide",
    "fit_quota",
    "forecast",
    "frame_names",
    "key_from_keyring",
    "make_key_file",
    "next_time",
    "pace_of",
    "plan_prune",
    "prune",
    "read_frames",
    "read_key_file",
    "summary",
    "task_folders",
    "verify",
]
