"""A model as a serverless function of CVAT's Nuclio: write its folder, deploy it, check it.

The folder holds everything: the model, the modules of LSL that it needs, the handler, and how
Nuclio builds it on a public Python image. Nothing of it comes from a private registry.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lsl_core.errors import UserInput
from lsl_core.geometry.drawable import Drawing
from lsl_core.services.models import pretrained, versions
from lsl_core.services.serving.bundle import Bundle, bundle_of
from lsl_core.services.serving.offers import check_look, function_name
from lsl_core.types import MODES, Geometry, ModelCard, SlideWindows
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import write_atomic, write_json

__all__ = [
    "BASE_IMAGE",
    "Drawing",
    "FunctionFolder",
    "FunctionSettings",
    "deploy_command",
    "nuclio_name",
    "write_function",
]

#: Public, and of the Python that both LSL and the Nuclio of today's CVAT know.
BASE_IMAGE = "python:3.11-slim"
_HANDLER = "lsl_core.serve.nuclio.main"
_PRETRAINED_CODE = "lsl_core.models.foundation.model"
_CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
#: Bytes of a request: an image of 96 MiB as base64.
_BODY_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """What the function shows when CVAT asks for nothing else.

    threshold: lowest score, None takes the model's own, one a label; CVAT's own wins.
    mask_threshold: lowest probability of a pixel. slide: windows, None shows images whole.
    drawing: None as the model gives objects. fill_holes: whether holes in masks are filled.
    """

    threshold: float | None = None
    mask_threshold: float = 0.5
    slide: SlideWindows | None = None
    drawing: Drawing | None = None
    fill_holes: bool = False


@dataclass(frozen=True, slots=True)
class FunctionFolder:
    """A function on disk, ready for `nuctl deploy`. labels: those that CVAT will list."""

    path: Path
    name: str
    labels: tuple[str, ...]


def nuclio_name(model: str) -> str:
    """Return the name of a model's function in Nuclio: a DNS-1123 label of at most 50 signs.

    Names that differ only in what such a label cannot hold stay different by a few signs of their
    hash: a function of the same name would be replaced.
    """
    slug = function_name(model)
    if slug == model and len(slug) <= 46:
        return f"lsl-{slug}"
    return f"lsl-{slug[:38].strip('-')}-{hashlib.sha256(model.encode()).hexdigest()[:6]}"


def write_function(
    workspace: Workspace,
    model: str,
    folder: Path | None = None,
    *,
    settings: FunctionSettings | None = None,
    base_image: str = BASE_IMAGE,
) -> FunctionFolder:
    """Write the function of a model version; it takes the place of an older one as a whole.

    Args:
        workspace: where the model is.
        model: its name, for the newest version, or the id of a version.
        folder: an empty, missing or earlier function folder; the workspace's own when None.
        settings: what it shows.
        base_image: Docker image with Python 3.11 and pip that it is built on.

    Raises:
        UserInput: when there is no such model, the folder holds something else, or a setting is
            no use.
        WeightsMissing: when what the model was tuned from is not here.
    """
    card = versions.get_model(workspace, model)
    settings = settings or FunctionSettings()
    check_look(
        card,
        drawing=settings.drawing,
        threshold=settings.threshold,
        mask_threshold=settings.mask_threshold,
        slide=settings.slide,
    )
    name = nuclio_name(card.name)
    folder = folder or workspace.data / "serverless" / name
    _check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        _fill(part, workspace, card, settings, name, base_image)
        part.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return FunctionFolder(folder.resolve(), name, card.labels)


def deploy_command(function: FunctionFolder, *, gpu: bool = False) -> list[str]:
    """Return the words of the command that builds and starts a function."""
    return [
        "nuctl", "deploy", function.name,
        "--project-name", "cvat",
        "--path", str(function.path),
        "--file", str(function.path / ("function-gpu.yaml" if gpu else "function.yaml")),
        "--platform", "local",
    ]  # fmt: skip


def _check_folder(folder: Path) -> None:
    is_ours = (folder / "function.yaml").is_file() and (folder / "settings.json").is_file()
    if folder.exists() and not is_ours and (not folder.is_dir() or any(folder.iterdir())):
        raise UserInput(
            f"{folder} holds something else.", hint="Choose an empty folder with --output."
        )


def _fill(
    folder: Path,
    workspace: Workspace,
    card: ModelCard,
    settings: FunctionSettings,
    name: str,
    base_image: str,
) -> None:
    tuned_from = pretrained.tuned_from(card)
    # a small model of ours needs neither the code nor the packages of pretrained ones
    bundle = bundle_of(_HANDLER, without="" if tuned_from else _PRETRAINED_CODE)
    for file in bundle.files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.root / file, folder / file)
    shutil.copyfile(bundle.root / Path(*_HANDLER.split(".")).with_suffix(".py"), folder / "main.py")
    (folder / "model").mkdir()
    for file_name in ("card.json", "weights.safetensors"):
        shutil.copyfile(workspace.models / card.id / file_name, folder / "model" / file_name)
    for weights in tuned_from:
        pretrained.copy_to(workspace, weights, folder / "model")
    write_json(folder / "settings.json", asdict(settings))
    write_atomic(folder / "requirements.txt", "\n".join([*bundle.requirements, ""]).encode())
    for gpu, file_name in ((False, "function.yaml"), (True, "function-gpu.yaml")):
        text = _yaml(_definition(card, settings, name, base_image, bundle, gpu=gpu))
        write_atomic(folder / file_name, text.encode())


def _install_commands(requirements: Sequence[str], *, gpu: bool) -> list[str]:
    """Return what builds the image: spelled out, so that Docker's cache serves the next model."""
    install = "pip install --no-cache-dir "
    torch = [word for word in requirements if word.startswith("torch")]
    rest = [word for word in requirements if word not in torch]
    return [
        install + ("" if gpu else f"--index-url {_CPU_WHEELS} ") + shlex.join(torch),
        install + shlex.join(rest),
    ]


def _definition(
    card: ModelCard,
    settings: FunctionSettings,
    name: str,
    base_image: str,
    bundle: Bundle,
    *,
    gpu: bool,
) -> dict[str, Any]:
    """Return the function as Nuclio describes one.

    Source: https://docs.nuclio.io, function configuration reference; the annotations are CVAT's.
    """
    kind = "mask" if MODES[card.mode].gives is Geometry.MASKS else "rectangle"
    drawn = settings.drawing.value if settings.drawing else kind
    labels = [{"id": i, "name": label, "type": drawn} for i, label in enumerate(card.labels)]
    commands = _install_commands(bundle.requirements, gpu=gpu)
    spec: dict[str, Any] = {
        "description": f"{card.name}, version {card.id}, made with LSL",
        "runtime": "python:3.11",
        "handler": "main:handler",
        "eventTimeout": "110s",
        "build": {
            "image": f"cvat/{name}{'-gpu' if gpu else ''}",
            "baseImage": base_image,
            "directives": {"preCopy": [{"kind": "RUN", "value": line} for line in commands]},
        },
        "triggers": {
            "http": {
                "kind": "http",
                # a click need not wait for a whole task; each worker holds the model
                "numWorkers": 2,
                "workerAvailabilityTimeoutMilliseconds": 100_000,
                "attributes": {"maxRequestBodySize": _BODY_BYTES},
            }
        },
        "platform": {
            "attributes": {
                "restartPolicy": {"name": "always", "maximumRetryCount": 3},
                "mountMode": "volume",
            }
        },
    }
    if gpu:
        spec["resources"] = {"limits": {"nvidia.com/gpu": 1}}
    annotations = {
        "name": card.name,
        "type": "detector",
        "framework": "pytorch",
        "spec": json.dumps(labels, ensure_ascii=False),
    }
    metadata = {"name": name, "namespace": "cvat", "annotations": annotations}
    return {"metadata": metadata, "spec": spec}


def _yaml(value: Any, indent: str = "") -> str:  # noqa: ANN401 - any JSON value
    """Write nested mappings and lists as YAML; strings as JSON, which YAML reads the same."""
    if isinstance(value, dict):
        lines = [
            f"{indent}{key}:\n{_yaml(inner, indent + '  ')}"
            if isinstance(inner, dict | list)
            else f"{indent}{key}: {json.dumps(inner, ensure_ascii=False)}\n"
            for key, inner in value.items()
        ]
        return "".join(lines)
    items = [_yaml(item, indent + "  ") for item in value]
    return "".join(f"{indent}- {item[len(indent) + 2 :]}" for item in items)
