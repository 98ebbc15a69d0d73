from __future__ import annotations

import json

import pytest

from lsl_core.errors import UserInput
from lsl_core.sources import split_coco


@pytest.fixture
def annotation(tmp_path):
    images = [{"id": n, "file_name": f"{n // 2}.png", "height": 4, "width": 4} for n in range(20)]
    objects = [{"id": n, "image_id": n % 20, "category_id": 1} for n in range(50)]
    path = tmp_path / "bolts.json"
    document = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "b"}]}
    path.write_text(json.dumps(document))
    return path


def test_every_image_and_object_goes_to_one_part_and_copies_stay_together(annotation, tmp_path):
    parts = split_coco(annotation, tmp_path / "out", share=0.8)
    first, second = (json.loads(part.path.read_text()) for part in parts)
    assert [part.path.name for part in parts] == ["bolts_1_16.json", "bolts_2_4.json"]
    names = [{image["file_name"] for image in part["images"]} for part in (first, second)]
    assert not names[0] & names[1]
    assert len(first["annotations"]) + len(second["annotations"]) == 50
    for part in (first, second):
        ids = {image["id"] for image in part["images"]}
        assert {one["image_id"] for one in part["annotations"]} == ids
        assert part["categories"] == [{"id": 1, "name": "b"}]


def test_the_same_seed_draws_the_same_images_and_another_one_others(annotation, tmp_path):
    texts = [
        split_coco(annotation, tmp_path / str(n), share=0.5, seed=seed)[0].path.read_text()
        for n, seed in enumerate((3, 3, 4))
    ]
    assert texts[0] == texts[1] != texts[2]


def test_nothing_is_overwritten_and_bad_input_is_named(annotation, tmp_path):
    split_coco(annotation, tmp_path, share=0.5)
    with pytest.raises(UserInput, match="is there already"):
        split_coco(annotation, tmp_path, share=0.5)
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(UserInput, match="not between 0 and 1"):
            split_coco(annotation, tmp_path, share=share)
    annotation.write_text("[]")
    with pytest.raises(UserInput, match="no COCO file"):
        split_coco(annotation, tmp_path, share=0.5)
    with pytest.raises(UserInput, match="cannot be read"):
        split_coco(tmp_path / "missing.json", tmp_path, share=0.5)
