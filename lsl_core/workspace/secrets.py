"""What signs a user in, kept outside every workspace, readable by its owner only.

Only keys that the server can withdraw are kept (an access token, or the key of a login), never
a password.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import platformdirs

from lsl_core.workspace.files import atomic_path


def default_secrets_path() -> Path:
    """Return where the keys of this user lie."""
    return platformdirs.user_config_path("lsl") / "keys.json"


@dataclass(frozen=True, slots=True)
class Secret:
    """One way to sign in. kind: "token" (personal access token) or "key" (of a login)."""

    kind: Literal["token", "key"]
    value: str = field(repr=False)


class SecretStore:
    """Keys by server and user, in one file with mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, *, url: str, user: str) -> Secret | None:
        """Return the key for a user of a server, or None."""
        entry = self._read().get(f"{user}@{url}")
        return Secret(entry["kind"], entry["value"]) if entry else None

    def put(self, secret: Secret, *, url: str, user: str) -> None:
        """Keep a key, in place of an older one."""
        self._write({**self._read(), f"{user}@{url}": {"kind": secret.kind, "value": secret.value}})

    def remove(self, *, url: str, user: str) -> None:
        """Forget a key, if there is one."""
        self._write({k: v for k, v in self._read().items() if k != f"{user}@{url}"})

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            entries = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}

    def _write(self, entries: dict[str, dict[str, Any]]) -> None:
        with atomic_path(self._path) as part:
            part.chmod(0o600)
            part.write_text(json.dumps(entries), "utf-8")
