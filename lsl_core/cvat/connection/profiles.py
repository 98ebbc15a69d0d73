"""Profiles of `cvat-cli`, kept in the SDK's own store: a server and a personal access token."""

from __future__ import annotations

from cvat_sdk.core.auth import AuthStore
from cvat_sdk.core.exceptions import AuthStoreError

from lsl_core.cvat.connection.credentials import TokenLogin
from lsl_core.errors import CvatAuth, UserInput


def saved_profiles() -> dict[str, str]:
    """Return the server of every profile by its name; the default one comes first.

    Raises:
        CvatAuth: when the store is damaged, or others could read it.
    """
    try:
        store = AuthStore()
        default = store.get_default_profile()
        found = {name: entry.server for name, entry in store.list_profiles().items()}
    except AuthStoreError as error:
        raise CvatAuth(
            "The profiles of cvat-cli cannot be used.", hint=str(error), detail=repr(error)
        ) from error
    first = default[0] if default else ""
    return dict(sorted(found.items(), key=lambda row: (row[0] != first, row[0])))


def profile_login(name: str) -> tuple[str, TokenLogin]:
    """Return the server of a profile and how it signs in.

    Raises:
        UserInput: when there is no such profile; names those that exist.
        CvatAuth: when the store is damaged, or others could read it.
    """
    known = saved_profiles()
    entry = AuthStore().get_profile(name) if name in known else None
    if entry is None:
        raise UserInput(
            f'There is no profile "{name}".',
            hint=f"There are: {', '.join(known) or 'none'}. Make one: cvat-cli profile login",
        )
    return entry.server, TokenLogin(entry.token)
