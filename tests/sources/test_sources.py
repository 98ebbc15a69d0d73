from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsl_core.errors import UserInput
from lsl_core.sources import (
    import_coco,
    import_unlabelled,
    list_sources,
    load_source,
    remove_source,
    rename_source,
)
from lsl_core.workspace.images import write_rgb


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name in ("a.png", "sub/a.png", "b.jpg"):
        write_rgb(folder / name, np.full((40, 60, 3), 90, np.uint8))
    return folder


def coco(**changes: Any) -> dict[str, Any]:
    ring = [10, 10, 30, 10, 30, 30, 10, 30]
    return {
        "categories": [{"id": 3, "name": "bolt"}, {"id": 9, "name": "nut"}],
        "images": [
            {"id": 5, "file_name": "a.png", "width": 60, "height": 40},
            {"id": 8, "file_name": "sub/a.png", "width": 60, "height": 40},
        ],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 9, "bbox": [10, 10, 20, 20],
             "segmentation": [ring], "iscrowd": 0},
            {"id": 2, "image_id": 8, "category_id": 3, "bbox": [1.5, 2.0, 10.0, 5.5]},
        ],
    } | changes  # fmt: skip


def write(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(document))
    return path


def test_a_coco_source_comes_back_as_it_was_drawn(tmp_path: Path, images: Path) -> None:
    folder = tmp_path / "sources"
    made = import_coco(folder, "bolts", images=images, annotation=write(tmp_path, coco()))
    assert made.left_out == ()
    source = load_source(folder, "bolts")
    assert source.labels.names == ("bolt", "nut")
    first, second = source.images
    assert first.instances.class_ids.tolist() == [1]
    assert first.has_mask.tolist() == [True]
    assert first.instances.masks is not None
    assert first.instances.masks.areas().tolist() == [400]
    assert second.has_mask.tolist() == [False]
    assert second.instances.boxes.tolist() == [[1.5, 2.0, 11.5, 7.5]]
    assert [image.path.read_bytes()[:4] for image in source.images] == [b"\x89PNG"] * 2
    assert list_sources(folder) == [source.info]


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        ({"image_id": 99, "category_id": 3, "bbox": [1, 1, 5, 5]}, "its image"),
        ({"image_id": 5, "category_id": 1, "bbox": [1, 1, 5, 5]}, "its label"),
        ({"image_id": 5, "category_id": 3, "bbox": [70, 1, 5, 5]}, "outside the image"),
        ({"image_id": 5, "category_id": 3, "bbox": [1, 1, 0, 5]}, "empty"),
        ({"image_id": 5, "category_id": 3}, "four numbers"),
        (
            {"image_id": 5, "category_id": 3, "bbox": [1, 1, 5, 5], "segmentation": {"x": 1}},
            "mask",
        ),
    ],
)
def test_objects_that_cannot_be_used_are_listed(
    tmp_path: Path, images: Path, annotation: dict[str, Any], says: str
) -> None:
    document = coco(annotations=[annotation | {"id": 7}])
    made = import_coco(tmp_path / "s", "x", images=images, annotation=write(tmp_path, document))
    assert made.info.num_objects == 0
    assert len(made.left_out) == 1
    assert says in made.left_out[0][1]


def test_bad_images_are_listed_and_the_rest_is_imported(tmp_path: Path, images: Path) -> None:
    (images / "sub/a.png").write_bytes((images / "sub/a.png").read_bytes()[:60])
    entries = [*coco()["images"], {"id": 9, "file_name": "../x.png", "width": 6, "height": 4},
               {"id": 10, "file_name": "b.jpg", "width": 61, "height": 40}]  # fmt: skip
    made = import_coco(
        tmp_path / "s", "x", images=images, annotation=write(tmp_path, coco(images=entries))
    )
    assert made.info.num_images == 1
    reasons = dict(made.left_out)
    assert "cut off" in reasons["sub/a.png"]
    assert "leaves the folder" in reasons["../x.png"]
    assert "60×40" in reasons["b.jpg"]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("nothing", "no COCO file"),
        ({"images": []}, "no COCO file"),
        (coco(categories=[]), "no labels"),
        (coco(categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]), "twice"),
        (coco(images=[], annotations=[]), "empty"),
    ],
)
def test_a_file_that_is_no_coco_leaves_nothing(
    tmp_path: Path, images: Path, document: object, says: str
) -> None:
    with pytest.raises(UserInput, match=says):
        import_coco(tmp_path / "s", "x", images=images, annotation=write(tmp_path, document))
    assert list((tmp_path / "s").glob("*")) == []


def test_a_folder_without_labels_takes_every_image_in(tmp_path: Path, images: Path) -> None:
    (images / "notes.txt").write_text("no image")
    (images / "broken.png").write_bytes(b"\x89PNG")
    made = import_unlabelled(tmp_path / "s", "raw", images=images)
    assert made.info.num_images == 3
    assert not made.info.is_labelled
    assert [name for name, _ in made.left_out] == ["broken.png"]
    names = [image.ref.name for image in load_source(tmp_path / "s", "raw").images]
    assert names == ["a.png", "b.jpg", "sub/a.png"]


def test_names_are_taken_once_and_removal_can_be_taken_back(tmp_path: Path, images: Path) -> None:
    folder, annotation = tmp_path / "s", write(tmp_path, coco())
    import_coco(folder, "one", images=images, annotation=annotation)
    with pytest.raises(UserInput, match='a source "one" already'):
        import_coco(folder, "one", images=images, annotation=annotation)
    rename_source(folder, "one", "two")
    assert [info.name for info in list_sources(folder)] == ["two"]
    trashed = remove_source(folder, "two", trash=tmp_path / "trash")
    assert (trashed / "annotations.json").is_file()
    with pytest.raises(UserInput, match="Sources here: none yet"):
        load_source(folder, "two")


def test_removing_the_imported_folder_leaves_the_source(tmp_path: Path, images: Path) -> None:
    import_unlabelled(tmp_path / "s", "raw", images=images)
    for path in images.rglob("*.*"):
        path.unlink()
    assert all(image.path.is_file() for image in load_source(tmp_path / "s", "raw").images)
