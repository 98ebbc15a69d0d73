"""The folder that a project lives in."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lsl_core.errors import UserInput, WorkspaceError
from lsl_core.types import Mode
from lsl_core.workspace.files import write_atomic
from lsl_core.workspace.settings import Settings, read_settings, write_settings

SETTINGS_FILE = "lsl.toml"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A project folder: `lsl.toml` for people, `.lsl/` for the program.

    root: the folder itself, absolute.
    """

    root: Path

    @classmethod
    def create(cls, root: Path, *, mode: Mode) -> Workspace:
        """Make a new workspace in an empty or missing folder.

        Raises:
            UserInput: when there is a workspace already, or the path is a file.
        """
        root = root.expanduser().resolve()
        if (root / SETTINGS_FILE).exists():
            raise UserInput(
                f"{root} already is a workspace.", hint="Use it, or choose another folder."
            )
        if root.exists() and not root.is_dir():
            raise UserInput(f"{root} is a file.", hint="Choose a folder.")
        workspace = cls(root)
        workspace.data.mkdir(parents=True, exist_ok=True)
        write_atomic(workspace.data / ".gitignore", b"*\n")
        write_settings(root / SETTINGS_FILE, Settings(mode=mode))
        return workspace

    @classmethod
    def open(cls, path: Path) -> Workspace:
        """Find the workspace that `path` is, or lies in.

        Raises:
            WorkspaceError: when there is none, or a newer LSL made it.
        """
        start = path.expanduser().resolve()
        for folder in (start, *start.parents):
            if (folder / SETTINGS_FILE).is_file():
                workspace = cls(folder)
                workspace.settings()
                workspace.data.mkdir(exist_ok=True)
                return workspace
        raise WorkspaceError(
            f"There is no LSL workspace in {start}.",
            hint="Make one: lsl create NAME --task fsis. Or name one: lsl --workspace FOLDER …",
        )

    def settings(self) -> Settings:
        """Read the settings as they are now."""
        return read_settings(self.root / SETTINGS_FILE)

    def save(self, settings: Settings) -> None:
        """Write the settings."""
        write_settings(self.root / SETTINGS_FILE, settings)

    @property
    def data(self) -> Path:
        """The program's own folder."""
        return self.root / ".lsl"

    @property
    def database(self) -> Path:
        """The SQLite file of runs, previews and decisions."""
        return self.data / "lsl.db"

    @property
    def journal(self) -> Path:
        """The SQLite file that records every write to CVAT."""
        return self.data / "pushes.db"

    @property
    def sources(self) -> Path:
        """One folder per source: labelled or unlabelled images."""
        return self.data / "sources"

    @property
    def models(self) -> Path:
        """One folder per model version."""
        return self.data / "models"

    @property
    def pretrained(self) -> Path:
        """One folder per checkpoint that models are tuned from."""
        return self.data / "pretrained"

    @property
    def embeddings(self) -> Path:
        """What encoders of pretrained weights made of windows that were learnt from."""
        return self.data / "embeddings"

    @property
    def predictions(self) -> Path:
        """The prediction cache."""
        return self.data / "predictions"

    @property
    def tiles(self) -> Path:
        """Parts of very large images, for the viewer; may be removed at any time."""
        return self.data / "tiles"

    @property
    def frames(self) -> Path:
        """Images pulled from CVAT, by content hash."""
        return self.data / "frames"

    @property
    def snapshots(self) -> Path:
        """Annotations of a task as they were before a push."""
        return self.data / "snapshots"

    @property
    def serve(self) -> Path:
        """What is offered to others, and how the service stands."""
        return self.data / "serve"

    @property
    def backups(self) -> Path:
        """The backup repository, unless the settings name another place."""
        return self.data / "backups"

    @property
    def trash(self) -> Path:
        """Removed sources and models, kept until emptied."""
        return self.data / "trash"

    def free_bytes(self) -> int:
        """Return the free space of the disk that the workspace lies on, in bytes."""
        return shutil.disk_usage(self.root).free
