"""`config.json`: what a folder must say before it counts as a repository."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lsl_core.backups.store import Store
from lsl_core.errors import BackupError, FormatTooNew

#: Version of the layout; grows when older code could no longer read it.
FORMAT_VERSION = 1

#: Kept twice: in an encrypted repository the key lies here, and all is lost without it.
_KEYS = ("config.json", "config.copy.json")


@dataclass(frozen=True, slots=True)
class Config:
    """What is decided once, when a repository is made.

    encryption: see `sealing.new_sealer`; None when nothing is encrypted.
    """

    id: str
    created: str
    encryption: dict[str, Any] | None


def new_config(*, now: datetime, encryption: dict[str, Any] | None) -> Config:
    """Return the config of a new repository."""
    return Config(uuid.uuid4().hex, now.isoformat(), encryption)


def write_config(store: Store, config: Config) -> None:
    """Write both copies, each with a checksum.

    Raises:
        BackupError: when there is a repository already.
    """
    if has_config(store):
        raise BackupError(
            f"{store.location} already holds backups.", hint="Use them, or choose another place."
        )
    body = {
        "format": FORMAT_VERSION,
        "id": config.id,
        "created": config.created,
        "encryption": config.encryption,
    }
    data = json.dumps({**body, "sha256": _checksum(body)}, indent=1).encode() + b"\n"
    for key in reversed(_KEYS):
        store.write(key, data)


def has_config(store: Store) -> bool:
    """Tell whether there is a repository, whole or not."""
    return any(key in store.list("") for key in _KEYS)


def read_config(store: Store) -> Config:
    """Read whichever copy is whole.

    Raises:
        BackupError: when this is no repository, or both copies are damaged.
        FormatTooNew: when a newer LSL made it.
    """
    found = store.read_many(_KEYS)
    if not found:
        raise BackupError(
            f"There are no backups in {store.location}.",
            hint="Make a place for them: lsl backup init",
        )
    for data in found.values():
        config = _parse(data)
        if config is not None:
            return config
    raise BackupError(
        f"The settings of the backups in {store.location} are damaged.",
        hint="Bring config.json back from a copy of that folder; the backups need it.",
    )


def whole_copies(store: Store) -> int:
    """Return how many of the two copies can be read."""
    return sum(_parse(data) is not None for data in store.read_many(_KEYS).values())


def _parse(data: bytes) -> Config | None:
    try:
        body = json.loads(data)
        checksum = body.pop("sha256")
    except (ValueError, KeyError, AttributeError):
        return None
    if checksum != _checksum(body):
        return None
    if body["format"] > FORMAT_VERSION:
        raise FormatTooNew(
            "These backups were made by a newer version of LSL.",
            hint="Update LSL: pip install --upgrade lsl-studio.",
        )
    return Config(body["id"], body["created"], body["encryption"])


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
