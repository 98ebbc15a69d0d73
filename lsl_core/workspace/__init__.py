"""The project folder: settings, paths, whole files, images, the database, secrets."""

from lsl_core.workspace.database import Database
from lsl_core.workspace.settings import (
    CvatSettings,
    InferenceSettings,
    LabelStudioSettings,
    Settings,
)
from lsl_core.workspace.workspace import Workspace

__all__ = [
    "CvatSettings",
    "Database",
    "InferenceSettings",
    "LabelStudioSettings",
    "Settings",
    "Workspace",
]
