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

Keeping (needs the lock)::

    repository.protect(snapshot, on=True, note=""), .mark(snapshot, verified=Verdict(…), drill=…)
    repository.forget([snapshot]), .undelete([snapshot])

The files of a snapshot, by agreement with those who fill it: `tasks/<id>/annotations.json` as
CVAT's API gives it, `tasks/<id>/meta.json`, and archives as CVAT's export made them. Subjects are
grouped by server, kind and id; names are data and never become paths.
"""

from lsl_core.backups.archives import Member
from lsl_core.backups.locking import Holder
from lsl_core.backups.recording import Draft
from lsl_core.backups.repository import Repository
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
    "Draft",
    "Holder",
    "Key",
    "Marks",
    "Member",
    "Missing",
    "Passphrase",
    "RandomKey",
    "Repository",
    "Snapshot",
    "State",
    "StoredFile",
    "Subject",
    "Tier",
    "Verdict",
    "key_from_keyring",
    "make_key_file",
    "read_key_file",
]
