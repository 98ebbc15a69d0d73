"""Files of a repository on the Hugging Face hub, at one commit. No torch."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsl_core.errors import DiskFull, HubUnreachable, WeightsDamaged
from lsl_core.progress import Progress
from lsl_core.workspace.files import sha256_file

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MB = 1_000_000


def download(
    repo: str,
    revision: str,
    folder: Path,
    wanted: Callable[[str], bool],
    *,
    name: str,
    endpoint: str | None,
    progress: Progress,
) -> str:
    """Download files of a repository and return the commit, 40 hex digits, they are of.

    Each file is compared with the hash that the hub itself states for it, where it states one.

    Args:
        repo: owner and name.
        revision: a commit; "" for the newest.
        folder: where the files go.
        wanted: whether a file of that name is wanted.
        name: of the weights here, for messages.
        endpoint: address of the hub; None for the usual one.
        progress: told megabytes; asked between pieces whether to stop.

    Raises:
        HubUnreachable: when the hub does not answer, or refuses.
        WeightsDamaged: when a file came that is not what the hub says.
        DiskFull: when there is no room; found before anything is downloaded.
    """
    with _explained(repo, name, folder):
        commit, files = _listed(repo, revision, wanted, name, endpoint)
        total = sum(file.size or 0 for file in files)
        if shutil.disk_usage(folder).free < total:
            raise _no_room(repo, folder, total)
        progress.start(f"Getting {repo}", total=max(1, round(total / _MB)), unit="MB")
        bar = _bar(progress)
        for file in files:
            progress.check()
            _fetch(file, repo, commit, folder, endpoint, bar)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # notes of the hub's client
    return commit


def _listed(
    repo: str, revision: str, wanted: Callable[[str], bool], name: str, endpoint: str | None
) -> tuple[str, list[RepoSibling]]:
    """Return the commit that the hub has, and its files that are wanted."""
    from huggingface_hub import HfApi  # only those who download wait for it

    info = HfApi(endpoint=endpoint).model_info(repo, revision=revision or None, files_metadata=True)
    commit = info.sha or ""
    if not _COMMIT.fullmatch(commit) or (revision and commit != revision):
        raise WeightsDamaged(
            f"The hub gave {repo} at {commit or 'no commit'}, not {revision or 'a commit'}.",
            hint=f"Pull it again, or from a folder: lsl models pull {name} --from FOLDER",
        )
    return commit, [file for file in info.siblings or [] if wanted(file.rfilename)]


def _fetch(
    file: RepoSibling,
    repo: str,
    commit: str,
    folder: Path,
    endpoint: str | None,
    bar: Any,  # noqa: ANN401 - a class of tqdm's
) -> None:
    """Download one file, and compare it with the hash that the hub states."""
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(
        repo, file.rfilename, revision=commit, local_dir=folder, endpoint=endpoint, tqdm_class=bar
    )
    if file.lfs and sha256_file(Path(path)) != file.lfs.sha256:
        raise WeightsDamaged(
            f"{file.rfilename} of {repo} did not come as it is on the hub.", hint="Pull it again."
        )


@contextmanager
def _explained(repo: str, name: str, folder: Path) -> Iterator[None]:
    """Say what the hub's client could not do in a line with a next step."""
    from httpx2 import HTTPError

    try:
        yield
    except (HTTPError, OSError, ValueError) as error:  # the last two come from the hub's client
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise _no_room(repo, folder) from error
        raise HubUnreachable(
            f"{repo} could not be had from the hub.",
            hint="Check the connection (or a mirror: HF_ENDPOINT) and try again. Without a "
            "connection, copy the folder from a machine that has one: "
            f"lsl models pull {name} --from FOLDER",
            detail=f"{type(error).__name__}: {error}",
        ) from error


def _no_room(repo: str, folder: Path, size: int | None = None) -> DiskFull:
    """Return the error for a disk that cannot hold `size` bytes more."""
    needed = f"Free {size / _MB:.0f} MB" if size else "Free some"
    return DiskFull(
        f"There is no space left for {repo}.",
        hint=f"{needed} under {folder.parent} and pull it again.",
    )


def _bar(progress: Progress) -> Any:  # noqa: ANN401 - a class made here
    """Return the class of progress bars that tell ours instead of the terminal."""
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    class Told(tqdm):  # type: ignore[misc]  # tqdm has no types
        _bytes = 0.0

        def __init__(self, *args: Any, **fields: Any) -> None:  # noqa: ANN401 - as tqdm
            fields.pop("name", None)
            super().__init__(*args, **fields | {"disable": True})

        def update(self, n: float | None = 1) -> bool:
            """Hear of bytes."""
            before = int(Told._bytes / _MB)
            Told._bytes += n or 0
            progress.advance(int(Told._bytes / _MB) - before)
            progress.check()
            return bool(super().update(n))

    return Told
