"""Tasks and shapes that the cvat-sdk tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cvat_sdk import Client, models
from cvat_sdk.core.proxies.tasks import Task
from cvat_sdk.masks import encode_mask
from sandbox_helpers import draw_images

LABELS = [
    {"name": "box", "type": "rectangle", "color": "#ff0000"},
    {
        "name": "cell",
        "type": "mask",
        "attributes": [
            {
                "name": "conf",
                "mutable": False,
                "input_type": "number",
                "values": ["0", "100", "1"],
                "default_value": "50",
            }
        ],
    },
    {"name": "poly", "type": "polygon"},
    {"name": "anyl", "type": "any"},
]


def a_task(client: Client, tmp_path: Path, count: int = 5, **spec) -> Task:
    spec = {"name": "a task", "labels": LABELS, "segment_size": 3, **spec}
    if "project_id" in spec:
        del spec["labels"]
    images = draw_images(tmp_path / "images", count)
    return client.tasks.create_from_data(spec, images, data_params={"image_quality": 90})


def label_ids(task: Task) -> dict[str, int]:
    return {label.name: label.id for label in task.get_labels()}


def a_mask(height: int = 72, width: int = 96, *, seed: int = 0) -> np.ndarray:
    """Draw a mask with a hole and ragged edges."""
    rng = np.random.default_rng(seed)
    bits = np.zeros((height, width), bool)
    y, x = rng.integers(2, 20, 2)
    bits[y : y + 30, x : x + 40] = rng.random((30, 40)) > 0.2
    bits[y + 8 : y + 14, x + 8 : x + 20] = False
    return bits


def shapes_of(labels: dict[str, int]) -> list[dict]:
    return [
        {"type": "mask", "label_id": labels["cell"], "frame": 0, "points": encode_mask(a_mask())},
        {
            "type": "mask",
            "label_id": labels["cell"],
            "frame": 4,
            "points": encode_mask(a_mask(seed=7)),
            "source": "auto",
        },
        {
            "type": "polygon",
            "label_id": labels["poly"],
            "frame": 1,
            "points": [9.5, 28, 20, 28, 20, 39],
            "group": 3,
        },
        {
            "type": "polygon",
            "label_id": labels["poly"],
            "frame": 1,
            "points": [35, 38, 50, 38, 50, 53, 35, 53],
            "group": 3,
        },
        {
            "type": "rectangle",
            "label_id": labels["box"],
            "frame": 4,
            "points": [25, 29, 38.25, 42],
            "rotation": 30.0,
            "z_order": 2,
            "occluded": True,
        },
        {
            "type": "ellipse",
            "label_id": labels["anyl"],
            "frame": 2,
            "points": [40, 30, 60, 20],
        },
    ]


def put(task: Task, shapes: list[dict], **more) -> None:
    task.set_annotations(models.LabeledDataRequest(shapes=shapes, **more))


def bare(shape) -> tuple:
    return (shape.frame, shape.label_id, str(shape.type), tuple(shape.points))
