"""Projects of Label Studio: sign in, import one as a source, train from it."""

from __future__ import annotations

import mimetypes
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lsl_core import sources
from lsl_core.errors import LabelStudioUnreachable, LslError, UserInput
from lsl_core.labelstudio import LabelStudio, parse_config, read_regions
from lsl_core.progress import NULL, Progress
from lsl_core.services.models import training, versions
from lsl_core.sources import Imported
from lsl_core.workspace import LabelStudioSettings, Workspace
from lsl_core.workspace.files import safe_relative, write_json
from lsl_core.workspace.images import image_ref
from lsl_core.workspace.secrets import Secret, SecretStore, default_secrets_path

__all__ = ["import_project", "open_server", "run_train_project", "set_up"]

Json = dict[str, Any]

#: Images that are fetched at a time.
_AT_A_TIME = 4


def set_up(
    workspace: Workspace,
    *,
    url: str,
    token: str,
    verify_tls: bool = True,
    image_hosts: Sequence[str] = (),
) -> str:
    """Sign in with an access token and remember it for this workspace; return the user.

    Raises:
        LabelStudioError: when the server does not answer or refuses the token.
    """
    with LabelStudio(url, token, verify_tls=verify_tls) as server:
        user = server.user()
        settings = workspace.settings()
        settings.labelstudio = LabelStudioSettings(
            url=server.url, user=user, verify_tls=verify_tls, image_hosts=tuple(image_hosts)
        )
        _secrets().put(Secret("token", token), url=server.url, user=user)
        workspace.save(settings)
    return user


def open_server(workspace: Workspace) -> LabelStudio:
    """Return the server that was set up.

    Raises:
        UserInput: when none was, or its token is not on this machine.
    """
    kept = workspace.settings().labelstudio
    secret = _secrets().get(url=kept.url, user=kept.user) if kept else None
    if kept is None or secret is None:
        raise UserInput(
            "No Label Studio is set up in this workspace.",
            hint="Run lsl labelstudio-setup --url URL --token TOKEN",
        )
    return LabelStudio(
        kept.url, secret.value, verify_tls=kept.verify_tls, image_hosts=kept.image_hosts
    )


def import_project(
    workspace: Workspace, project_id: int, *, name: str, progress: Progress = NULL
) -> Imported:
    """Make a source of the annotated tasks of a project; nothing when the server goes away.

    Of several annotations of a task the ground truth counts, or the latest; skipped ones do not.
    An empty annotation says that nothing is there; a task without one was not labelled yet.

    Raises:
        LabelStudioError: when the project cannot be read.
        UserInput: when nothing in it is labelled or usable, or the name is taken.
    """
    sources.check_new_name(workspace.sources, name)
    with (
        open_server(workspace) as server,
        tempfile.TemporaryDirectory(prefix="labelstudio-", dir=workspace.data) as folder,
    ):
        project = server.project(project_id)
        config = parse_config(str(project.get("label_config", "")))
        labelled = list(_labelled(server.tasks(project_id)))
        if not labelled:
            raise UserInput(
                f'Project {project_id} "{project.get("title", "")}" has no annotated task.',
                hint="Annotate at least two images in Label Studio, then import it again.",
            )
        images = Path(folder) / "images"
        document, left_out = _fetch(
            server, labelled, images, config.image_key, config.labels, progress
        )
        if not document["images"]:
            file, reason = left_out[0]
            raise UserInput(
                f"No image of project {project_id} can be used. "
                f"The first of {len(labelled):,}, {file}: {reason}"
            )
        write_json(Path(folder) / "annotations.json", document)
        made = sources.import_coco(
            workspace.sources,
            name,
            images=images,
            annotation=Path(folder) / "annotations.json",
            origin={"kind": "labelstudio", "url": server.url, "project_id": project_id},
            progress=progress,
        )
    return Imported(made.info, (*left_out, *made.left_out))


def _labelled(tasks: Iterator[Json]) -> Iterator[tuple[Json, Json]]:
    """Give each annotated task with the annotation that counts."""
    for task in tasks:
        there = [a for a in task.get("annotations") or [] if not a.get("was_cancelled")]
        if there:
            yield task, max(there, key=_rank)


def _rank(annotation: Json) -> tuple[bool, str, int]:
    when = str(annotation.get("updated_at") or annotation.get("created_at") or "")
    return bool(annotation.get("ground_truth")), when, int(annotation.get("id") or 0)


def _fetch(
    server: LabelStudio,
    labelled: Sequence[tuple[Json, Json]],
    folder: Path,
    image_key: str,
    labels: Sequence[str],
    progress: Progress,
) -> tuple[Json, list[tuple[str, str]]]:
    """Fetch the images into a folder; return a COCO document, and what had to be left out."""
    category = {label: i for i, label in enumerate(labels, start=1)}
    document: Json = {
        "categories": [{"id": i, "name": label} for label, i in category.items()],
        "images": [],
        "annotations": [],
    }
    left_out: list[tuple[str, str]] = []
    names = _names([(task.get("data", {}).get(image_key), task.get("id")) for task, _ in labelled])
    progress.start("Fetching images", total=len(labelled), unit="images")
    fetch = partial(_fetch_one, server, folder, image_key)
    pool = ThreadPoolExecutor(_AT_A_TIME)
    try:
        answers = pool.map(fetch, [task for task, _ in labelled], names)
        for (_, annotation), name, failed in zip(labelled, names, answers, strict=True):
            progress.check()
            if isinstance(failed, LabelStudioUnreachable):
                raise failed  # half a project is no source
            try:
                if failed is not None:
                    raise failed
                _add(document, category, folder, name, annotation, left_out)
            except LslError as error:
                left_out.append((name, str(error)))
            progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)
    return document, left_out


def _fetch_one(
    server: LabelStudio, folder: Path, image_key: str, task: Json, name: str
) -> LslError | None:
    """Fetch the image of a task; return what went wrong."""
    address = task.get("data", {}).get(image_key)
    try:
        if not isinstance(address, str):
            return UserInput(f'its field "{image_key}" holds no address of an image')
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(server.image(address, task_id=task.get("id")))
    except LslError as error:
        return error
    return None


def _add(
    document: Json,
    category: dict[str, int],
    folder: Path,
    name: str,
    annotation: Json,
    left_out: list[tuple[str, str]],
) -> None:
    number = len(document["images"]) + 1
    height, width = image_ref(folder / name, frame=0, name=name).image_hw
    shapes, problems = read_regions(annotation.get("result") or [], (height, width))
    left_out += [(name, problem) for problem in problems]
    entry = {"id": number, "file_name": name, "height": height, "width": width}
    document["images"].append(entry)
    for shape in shapes:
        if shape.label not in category:
            left_out.append((name, f'the project has no label "{shape.label}"'))
            continue
        document["annotations"].append(
            {
                "id": len(document["annotations"]) + 1,
                "image_id": number,
                "category_id": category[shape.label],
                "bbox": shape.bbox,
                "segmentation": shape.segmentation,
                "iscrowd": 0,
            }
        )


def _names(places: Sequence[tuple[object, object]]) -> list[str]:
    """Return a file name for each image: its own, with its task's number where two share one."""
    plain = [_file_name(address) for address, _ in places]
    count = Counter(plain)
    return [
        name if count[name] == 1 else f"{task_id}-{name}"
        for name, (_, task_id) in zip(plain, places, strict=True)
    ]


def _file_name(address: object) -> str:
    if not isinstance(address, str):
        return "image"
    if address.startswith("data:"):
        kind = re.split("[;,]", address[5:100], maxsplit=1)[0]
        return f"image{mimetypes.guess_extension(kind) or ''}"
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")  # files of the server's own disk
    path = local[0] if local else unquote(parts.path)
    return str(safe_relative(PurePosixPath(path).name))


def run_train_project(
    workspace: Workspace, *, project_id: int, model: str, progress: Progress
) -> dict[str, Any]:
    """Import a project as a new source and train a new version of a model on it, in the worker."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H.%M.%S")
    name = f"Label Studio {project_id} {stamp}"
    imported = import_project(workspace, project_id, name=name, progress=progress)
    trained = training.run_train(
        workspace,
        source=name,
        name=model,
        mode=versions.get_model(workspace, model).mode,
        progress=progress,
    )
    return trained | {"source": name, "left_out": list(imported.left_out)}


def _secrets() -> SecretStore:
    return SecretStore(default_secrets_path())
