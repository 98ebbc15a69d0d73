"""Readable settings of a workspace, `lsl.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tomlkit.exceptions import TOMLKitError

from lsl_core.errors import FormatTooNew, WorkspaceError
from lsl_core.types import Mode
from lsl_core.workspace.files import write_atomic

#: Version of the on-disk layout; grows when older code could no longer read it.
FORMAT_VERSION = 1


class CvatSettings(BaseModel):
    """Which CVAT server is used. Never holds a secret."""

    model_config = ConfigDict(extra="forbid")

    url: str = ""
    user: str = ""
    organisation: str | None = None
    verify_tls: bool = True


class LabelStudioSettings(BaseModel):
    """Which Label Studio is used. Never holds a secret.

    image_hosts: where images of tasks may be fetched from, beside the server itself.
    """

    model_config = ConfigDict(extra="forbid")

    url: str = ""
    user: str = ""
    verify_tls: bool = True
    image_hosts: tuple[str, ...] = ()


class InferenceSettings(BaseModel):
    """How predictions are made and kept."""

    model_config = ConfigDict(extra="forbid")

    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    floor_score: float = Field(default=0.05, ge=0.0, le=1.0)
    batch_size: int | None = Field(default=None, ge=1)
    cache_gb: float = Field(default=20.0, gt=0)


class BackupSettings(BaseModel):
    """Where backups lie, how often they are made, what is kept. Never holds a key.

    location: a folder or an fsspec URL; "" is the workspace's own folder. key_file, keyring: where
    the key of an encrypted repository is. scheduled: whether the worker makes backups by itself.
    *_hours: the shortest time between two; 0 never makes any. care_days: how often everything is
    verified, one snapshot drilled, and room made; 0 never. keep_*: of each project or loose task
    and tier, hourly ones of annotations only. quota_gb: what all of them may take.
    """

    model_config = ConfigDict(extra="forbid")

    location: str = ""
    key_file: str = ""
    keyring: bool = False
    scheduled: bool = False
    annotations_hours: float = Field(default=1.0, ge=0)
    full_hours: float = Field(default=24.0, ge=0)
    instance_hours: float = Field(default=0.0, ge=0)
    care_days: float = Field(default=7.0, ge=0)
    keep_last: int = Field(default=3, ge=1)
    keep_hourly: int = Field(default=48, ge=0)
    keep_daily: int = Field(default=14, ge=0)
    keep_weekly: int = Field(default=8, ge=0)
    keep_monthly: int = Field(default=12, ge=0)
    quota_gb: float | None = Field(default=None, gt=0)


class Settings(BaseModel):
    """Everything in `lsl.toml`."""

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    mode: Mode = Mode.FSIS
    cvat: CvatSettings = CvatSettings()
    labelstudio: LabelStudioSettings | None = None
    inference: InferenceSettings = InferenceSettings()
    backups: BackupSettings = BackupSettings()


def read_settings(path: Path) -> Settings:
    """Read `lsl.toml`.

    Raises:
        FormatTooNew: when a newer LSL made it.
        WorkspaceError: when it is missing, no TOML, or holds a value out of range.
    """
    try:
        values = tomlkit.parse(path.read_text("utf-8")).unwrap()
        settings = Settings.model_validate(values)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror}.") from error
    except TOMLKitError as error:
        raise WorkspaceError(f"{path} is no valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WorkspaceError(
            f"{path}: {where}: {first['msg']}.", hint="Correct that line and try again."
        ) from error
    if settings.format_version > FORMAT_VERSION:
        raise FormatTooNew(
            f"{path.parent} was made by a newer version of LSL.",
            hint="Update LSL: pip install --upgrade lsl-studio.",
        )
    return settings


def write_settings(path: Path, settings: Settings) -> None:
    """Write `lsl.toml`, keeping the comments that a person put into it."""
    document = tomlkit.parse(path.read_text("utf-8")) if path.exists() else tomlkit.document()
    _update(document, settings.model_dump(mode="json", exclude_none=True))
    write_atomic(path, tomlkit.dumps(document).encode())


def _update(table: tomlkit.TOMLDocument | tomlkit.items.Table, values: dict[str, object]) -> None:
    for key in [key for key in table if key not in values]:
        del table[key]
    for key, value in values.items():
        if isinstance(value, dict) and key in table:
            _update(table[key], value)
        elif key not in table or table[key] != value:
            table[key] = value
