"""Everything that can go wrong and is not our bug.

    LslError(message, *, hint, detail)
    ├ UserInput (exit 2) ─ LabelMismatch, BadThreshold, EmptySupport, TooLarge
    ├ CvatError (10) ─ CvatUnreachable, CvatAuth (11), CvatDenied, CvatTooOld, CvatNotFound,
    │                  CvatRequestFailed, TaskChanged
    ├ WorkspaceError (12) ─ Locked, DiskFull, FormatTooNew
    ├ ModelError (13) ─ WeightsMissing, WeightsDamaged, OutOfGpuMemory, DeviceMissing,
    │                   HubUnreachable, TrainingDiverged
    ├ BackupError (20) ─ Damaged, SnapshotMissing, RestoreRefused
    ├ ServeError (14) ─ TooBusy, TooLate
    ├ LabelStudioError (15) ─ LabelStudioUnreachable
    └ PartlyDone (3)
    RunCancelled (130) is no failure: somebody asked for it.

Our own bugs are ValueError, TypeError and RuntimeError, and end with a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


class LslError(Exception):
    """Base of every error that is shown to a person.

    Args:
        message: what happened, in one sentence; names the thing, quotes user words.
        hint: what to do now.
        detail: for the log, never for the screen; must hold no secret.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UserInput(LslError):
    """What a person typed or chose cannot be used."""

    exit_code = 2


class LabelMismatch(UserInput):
    """Labels of a model, a source or a task do not fit together."""


class BadThreshold(UserInput):
    """A threshold lies outside its range."""


class EmptySupport(UserInput):
    """A source holds too few labelled images or objects to learn from."""


class TooLarge(UserInput):
    """An image or a request is larger than the service takes."""


class CvatError(LslError):
    """CVAT did not do what was asked."""

    exit_code = 10


class CvatUnreachable(CvatError):
    """No answer from the server; trying again may help."""


class CvatAuth(CvatError):
    """The server refused the sign-in."""

    exit_code = 11


class CvatDenied(CvatError):
    """Signed in, but not allowed."""


class CvatTooOld(CvatError):
    """The server lacks what was asked of it."""


class CvatNotFound(CvatError):
    """The task, job, project or organisation does not exist, or is not visible."""


class CvatRequestFailed(CvatError):
    """The server answered with an error."""


class TaskChanged(CvatError):
    """The task changed since the plan was made."""


class WorkspaceError(LslError):
    """The workspace on disk cannot be used."""

    exit_code = 12


class Locked(WorkspaceError):
    """Another process holds what was asked for."""


class DiskFull(WorkspaceError):
    """No space left."""


class FormatTooNew(WorkspaceError):
    """Written by a newer version of LSL."""


class ModelError(LslError):
    """A model cannot be loaded or run."""

    exit_code = 13


class WeightsMissing(ModelError):
    """The weights file is not there."""


class WeightsDamaged(ModelError):
    """The weights do not match their card."""


class OutOfGpuMemory(ModelError):
    """Even one window does not fit on the device."""


class DeviceMissing(ModelError):
    """A device was asked for that this machine lacks."""


class TrainingDiverged(ModelError):
    """The loss of a training is no number any more.

    Args:
        step: where that was seen.
    """

    HINT = "Train again with another seed: lsl auto-label --seed 1"

    def __init__(self, step: int) -> None:
        super().__init__(
            f"Training stopped at step {step}: the loss is no number any more.", hint=self.HINT
        )


class HubUnreachable(ModelError):
    """Pretrained weights cannot be had from where they are published; trying again may help."""


class BackupError(LslError):
    """A backup cannot be written, read or trusted."""

    exit_code = 20


class Damaged(BackupError):
    """Stored bytes differ from what was written."""


class SnapshotMissing(BackupError):
    """No such snapshot."""


class RestoreRefused(BackupError):
    """Restoring would destroy something that is not saved."""


class ServeError(LslError):
    """A service that answers for models cannot be started, or cannot answer now."""

    exit_code = 14


class TooBusy(ServeError):
    """Too much waits already; trying again may help."""


class TooLate(ServeError):
    """The answer did not come in time; trying again may help."""


class LabelStudioError(LslError):
    """Label Studio did not do what was asked."""

    exit_code = 15


class LabelStudioUnreachable(LabelStudioError):
    """Label Studio did not answer at all; trying again may help."""


class PartlyDone(LslError):
    """Some of the work is done, some failed.

    Args:
        message: what happened.
        done: names of what is finished.
        failed: pairs of name and reason.
        hint: what to do now.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        done: Sequence[str],
        failed: Sequence[tuple[str, str]],
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.done = tuple(done)
        self.failed = tuple(failed)


class RunCancelled(LslError):
    """Somebody asked the run to stop; what was finished is kept."""

    exit_code = 130
