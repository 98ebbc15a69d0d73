"""Which pretrained weights there are. One explicit table; nothing registers itself. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lsl_core.types import Mode


class Role(StrEnum):
    """What pretrained weights do."""

    DETECTOR = "detector"
    SEGMENTER = "segmenter"


#: What each mode is made of.
ROLES: dict[Mode, tuple[Role, ...]] = {
    Mode.FSOD: (Role.DETECTOR,),
    Mode.WSIS: (Role.DETECTOR, Role.SEGMENTER),
    Mode.FSIS: (Role.DETECTOR, Role.SEGMENTER),
    Mode.FSIS_SEGONLY: (Role.SEGMENTER,),
}

#: `model_type` of a config.json -> its role. SAM 2 is published as the video model around it.
ARCHITECTURES: dict[str, Role] = {
    "rf_detr": Role.DETECTOR,
    "sam": Role.SEGMENTER,
    "sam2": Role.SEGMENTER,
    "sam2_video": Role.SEGMENTER,
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Pretrained weights that are published.

    title: for people. repo: where on the hub. revision: the commit that is taken; None where none
    could be confirmed, then the first pull takes the newest and its lock file holds it from then
    on. sha256: of files, as published, where it could be confirmed; of the others the lock file
    holds what the first pull saw. megabytes: about, of what is downloaded.
    """

    name: str
    title: str
    role: Role
    repo: str
    licence: str
    megabytes: int
    revision: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)


#: Revisions and hashes: only those that lock files of three or more independent public projects
#: agree on (read in November 2026); no hub could be asked when this was written.
_KNOWN = (
    Checkpoint(
        "rf-detr-medium",
        "RF-DETR medium: boxes, 34 M parameters, looks at 576×576 pixels",
        Role.DETECTOR,
        repo="Roboflow/rf-detr-medium",
        licence="Apache-2.0",
        megabytes=135,
        revision="1b5b672408f86dd38e05dd3cf3f2e0834e545a59",
    ),
    Checkpoint(
        "rf-detr-nano",
        "RF-DETR nano: boxes, 30 M parameters, looks at 384×384 pixels",
        Role.DETECTOR,
        repo="Roboflow/rf-detr-nano",
        licence="Apache-2.0",
        megabytes=120,
    ),
    Checkpoint(
        "sam2.1-tiny",
        "SAM 2.1 tiny: masks, 31 M parameters, looks at 1024×1024 pixels",
        Role.SEGMENTER,
        repo="facebook/sam2.1-hiera-tiny",
        licence="Apache-2.0",
        megabytes=156,
        revision="de431c4043854a71d8101e17995dfe596bf101a5",
        sha256={
            "config.json": "860aff9751b139d83a4ad7df1e5535416fded533e0ead02625edbefcb9953cce",
            "model.safetensors": "48c14467e5cf9e51870511feb72c89688e82dd74523142c0538b663e193ac2a7",
        },
    ),
    Checkpoint(
        "sam-base",
        "SAM base (ViT-B): masks, 94 M parameters, looks at 1024×1024 pixels",
        Role.SEGMENTER,
        repo="facebook/sam-vit-base",
        licence="Apache-2.0",
        megabytes=375,
        revision="70c1a07f894ebb5b307fd9eaaee97b9dfc16068f",
    ),
)
CHECKPOINTS: dict[str, Checkpoint] = {one.name: one for one in _KNOWN}

#: What is taken where nobody chooses.
DEFAULTS: dict[Role, str] = {Role.DETECTOR: "rf-detr-medium", Role.SEGMENTER: "sam2.1-tiny"}
