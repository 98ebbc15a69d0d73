import json
from functools import partial

import cv2
import numpy as np
import pytest

SIDE = 96
RED, GREEN = (200, 60, 60), (60, 190, 60)


def blobs(folder, name, seeds, *, ground, colours):
    """Write images of 6 discs each, and their COCO file."""
    images, annotations = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        pixels = np.full((SIDE, SIDE, 3), ground, np.uint8)
        for k in range(6):
            at = np.array([16 + 32 * (k % 3), 24 + 48 * (k // 3)]) + rng.integers(-4, 5, 2)
            label, radius = k % len(colours), int(rng.integers(8, 12))
            disc = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), at.tolist(), radius, 1, -1)
            pixels[disc > 0] = colours[label]
            outline, _ = cv2.findContours(disc, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            shape = {"bbox": cv2.boundingRect(disc), "segmentation": [outline[0].ravel().tolist()]}
            annotations.append({"image_id": seed, "category_id": label + 1, **shape})
        noisy = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{seed}.png"), noisy[:, :, ::-1])
        images.append({"id": seed, "file_name": f"{seed}.png", "height": SIDE, "width": SIDE})
    categories = [{"id": i + 1, "name": f"label {i}"} for i in range(len(colours))]
    rows = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{name}.json").write_text(json.dumps(rows))


@pytest.fixture
def otsu(bench, tmp_path):
    return partial(measured_otsu, bench, tmp_path)


def measured_otsu(bench, folder, mode, **scene):
    for name, seeds in (("train", (0, 1)), ("val", (2,)), ("test", (3, 4, 5))):
        blobs(folder, name, seeds, **scene)
    asked = ["--peer", "otsu", "--mode", mode, "--images", folder]
    for name in ("train", "val", "test"):
        asked += [f"--{name}", folder / f"{name}.json"]
    return json.loads(bench("fewshot_peers.py", *asked).splitlines()[-1])["runs"][0]


@pytest.mark.parametrize(
    ("ground", "blob"), [(20, (180,) * 3), (220, (90,) * 3)], ids=["bright blobs", "dark blobs"]
)
def test_otsu_finds_blobs_whatever_their_polarity(otsu, ground, blob):
    measured = otsu("fsis", ground=ground, colours=[blob])
    assert measured["kind"] == "masks"
    assert measured["ap50"] > 0.95
    assert measured["ap"] > 0.6


def test_otsu_tells_labels_apart_by_colour(otsu):
    measured = otsu("fsod", ground=20, colours=[RED, GREEN])
    assert measured["kind"] == "boxes"
    assert min(measured["per_label"].values()) > 0.6


def test_a_peer_is_not_asked_for_what_it_cannot_give(bench, tmp_path, capsys):
    files = [f"--{name}={tmp_path}" for name in ("train", "val", "test", "images")]
    with pytest.raises(SystemExit) as ended:
        bench("fewshot_peers.py", "--peer", "unet", "--mode", "fsod", *files)
    assert ended.value.code == 2
    assert "unet does not give boxes" in capsys.readouterr().err


def test_touching_objects_are_flooded_from_their_own_seeds():
    from peer_training import flooded

    y, x = np.mgrid[:21, :40]
    height = np.maximum(10 - np.hypot(x - 11, y - 10), 10 - np.hypot(x - 28, y - 10))
    foreground, seeds = height > 0, np.zeros((21, 40), np.int32)
    seeds[10, 11], seeds[10, 28] = 1, 2
    lonely = np.zeros_like(foreground)
    lonely[0, 0] = True
    owners = flooded(height, seeds, foreground | lonely)
    assert owners[0, 0] == 0
    assert (owners[foreground] > 0).all()
    wrong = foreground & (owners != np.where(x < 19.5, 1, 2))
    assert wrong.sum() < foreground[:, 19].sum()  # less than the line between them


def test_distance_is_one_in_the_middle_of_every_object():
    from peer_networks import _distances

    ids = np.zeros((40, 60), np.int32)
    ids[5:16, 5:16], ids[20:23, 30:60] = 1, 2
    distance = _distances(ids)
    assert distance[10, 10] == distance[21, 45] == 1
    assert distance[ids == 0].max() == 0
    assert 0 < distance[5, 10] < 0.3
