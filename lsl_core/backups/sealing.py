"""Making bytes unreadable to those without the key, and noticing when they were changed.

AES-256-GCM with a random 96-bit nonce for each file or blob (fit for 2**32 of them under one key:
NIST SP 800-38D, section 8.3). Names on disk are hashes of sealed bytes and say nothing. The key of
the repository is random and lies in `config.json`, sealed under a key file or a passphrase.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from lsl_core.errors import BackupError, Damaged, UserInput
from lsl_core.workspace.files import atomic_path

_NONCE_BYTES = 12
#: scrypt as RFC 7914 has it; 128 MiB and about half a second for one guess.
_SCRYPT = {"n": 2**17, "r": 8, "p": 1}


@dataclass(frozen=True, slots=True)
class RandomKey:
    """32 random bytes, from a file or a keyring."""

    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.value) != 32:
            raise ValueError("a key has 32 bytes")


@dataclass(frozen=True, slots=True)
class Passphrase:
    """Words that a person remembers; made into a key by scrypt."""

    value: str = field(repr=False)


Key = RandomKey | Passphrase


def read_key_file(path: Path) -> RandomKey:
    """Read a key that `make_key_file` wrote.

    Raises:
        UserInput: when the file is missing or holds no key.
    """
    try:
        return RandomKey(base64.b64decode(path.read_text("ascii").strip(), validate=True))
    except (OSError, ValueError) as error:
        raise UserInput(
            f"{path} holds no backup key.",
            hint="Bring the file back, or name it: lsl backup init PLACE --key-file FILE",
        ) from error


def make_key_file(path: Path) -> RandomKey:
    """Write a new random key, readable by its owner only.

    Raises:
        UserInput: when the file exists.
    """
    if path.exists():
        raise UserInput(f"{path} exists already.", hint="Choose another file for the new key.")
    key = RandomKey(os.urandom(32))
    with atomic_path(path) as part:
        part.chmod(0o600)
        part.write_text(base64.b64encode(key.value).decode() + "\n", "ascii")
    return key


def key_from_keyring(name: str, *, make: bool = False) -> RandomKey:
    """Return the key kept in the system's keyring under "lsl backups".

    Args:
        name: what the key is called there, such as the location of the repository.
        make: put a new random key there when there is none.

    Raises:
        UserInput: when this installation has no keyring, or the keyring no such key.
    """
    try:
        import keyring
    except ImportError as error:
        raise UserInput(
            "This installation has no keyring.",
            hint='Install it: pip install "lsl-studio[keyring]". Or use a key file.',
        ) from error
    text = keyring.get_password("lsl backups", name)
    if text is None and not make:
        raise UserInput(f"The keyring holds no key for {name}.", hint="Use the key file instead.")
    if text is None:
        text = base64.b64encode(os.urandom(32)).decode()
        keyring.set_password("lsl backups", name, text)
    return RandomKey(base64.b64decode(text))


class Sealer(Protocol):
    """Turns plain bytes into stored bytes and back. purpose: what they are, bound to them."""

    def seal(self, data: bytes, purpose: str) -> bytes:
        """Return the bytes to store."""

    def open(self, data: bytes, purpose: str) -> bytes:
        """Return the plain bytes.

        Raises:
            Damaged: when they are not what was sealed.
        """


class Plain:
    """No encryption."""

    def seal(self, data: bytes, purpose: str) -> bytes:
        """Return the bytes as they are."""
        return data

    def open(self, data: bytes, purpose: str) -> bytes:
        """Return the bytes as they are."""
        return data


class Aes:
    """AES-256-GCM: nonce, then ciphertext with its tag."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, data: bytes, purpose: str) -> bytes:
        """Return nonce and ciphertext."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, purpose.encode())

    def open(self, data: bytes, purpose: str) -> bytes:
        """Return the plain bytes."""
        nonce, rest = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, purpose.encode())
        except (InvalidTag, ValueError) as error:
            raise Damaged("Stored bytes differ from what was written.") from error


def new_sealer(key: Key | None) -> tuple[Sealer, dict[str, Any] | None]:
    """Return a sealer for a new repository, and what `config.json` says of its key."""
    if key is None:
        return Plain(), None
    secret = os.urandom(32)
    about: dict[str, Any] = {"cipher": "aes-256-gcm"}
    if isinstance(key, Passphrase):
        about["scrypt"] = {**_SCRYPT, "salt": base64.b64encode(os.urandom(16)).decode()}
    about["key"] = base64.b64encode(Aes(_outer_key(key, about)).seal(secret, "key")).decode()
    return Aes(secret), about


def open_sealer(key: Key | None, about: dict[str, Any] | None) -> Sealer:
    """Return the sealer of an existing repository.

    Raises:
        BackupError: when the key is missing or wrong.
    """
    if about is None:
        return Plain()
    if key is None or isinstance(key, Passphrase) != ("scrypt" in about):
        wanted = "a passphrase" if "scrypt" in about else "a key"
        raise BackupError(
            f"These backups are encrypted and open with {wanted}.",
            hint="Name the right one: lsl backup init PLACE --key-file FILE (or --keyring).",
        )
    try:
        secret = Aes(_outer_key(key, about)).open(base64.b64decode(about["key"]), "key")
    except Damaged as error:
        raise BackupError(
            "This is not the key of these backups.",
            hint="Name the right one: lsl backup init PLACE --key-file FILE (or --keyring).",
        ) from error
    return Aes(secret)


def _outer_key(key: Key, about: dict[str, Any]) -> bytes:
    if isinstance(key, RandomKey):
        return key.value
    given = about["scrypt"]
    kdf = Scrypt(
        base64.b64decode(given["salt"]), length=32, n=given["n"], r=given["r"], p=given["p"]
    )
    return kdf.derive(key.value.encode())
