"""People of one server found again on another: by user name, or by a map of names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsl_core.cvat.connection.session import CvatSession

Json = dict[str, Any]


class People:
    """Who is who on the server that a backup goes to.

    Args:
        session: on that server.
        names: user name in the backup to user name there; the same name where it is silent.
    """

    def __init__(self, session: CvatSession, names: Mapping[str, str] | None = None) -> None:
        self._names = dict(names or {})
        found = session.transport.pages(
            "/api/users", doing="listing users", headers={"X-Organization": None}
        )
        self._users = {str(user["username"]): user for user in found}
        self.missing: set[str] = set()

    @property
    def there(self) -> list[str]:
        """The names of the users there."""
        return sorted(self._users)

    def find(self, person: Json | None) -> Json | None:
        """Return the user there who is that person; None, and noted as missing, if nobody is."""
        if not person or not person.get("username"):
            return None
        name = str(person["username"])
        user = self._users.get(self._names.get(name, name))
        if user is None:
            self.missing.add(name)
        return user

    def id_of(self, person: Json | None) -> int | None:
        """Return the id of the user there who is that person, or None."""
        user = self.find(person)
        return int(user["id"]) if user else None
