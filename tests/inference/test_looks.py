import numpy as np

from lsl_core.inference import looks
from lsl_core.inference.looks import LookStore, contents_of, distances, look_of
from lsl_core.sandbox.scenes import SceneKind, draw_scene
from lsl_core.types import Instances


def objects(boxes, class_ids, image_hw=(100, 100)):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    ids = np.array(class_ids, np.int32)
    return Instances(boxes, np.ones(len(ids), np.float32), ids, None, image_hw)


def scene(kind, seed, image_hw=(200, 260)):
    return draw_scene(kind, seed=seed, image_hw=image_hw).pixels


def test_an_image_is_like_itself_at_any_size():
    pixels = scene(SceneKind.CELLS, 0, (512, 512))
    half = np.ascontiguousarray(pixels[::2, ::2])
    assert distances([look_of(pixels)], [look_of(pixels)])[0, 0] < 1e-3
    assert distances([look_of(pixels)], [look_of(half)])[0, 0] < 0.1


def test_images_of_one_kind_are_more_alike_than_of_two():
    cells = [look_of(scene(SceneKind.CELLS, seed)) for seed in range(3)]
    parts = [look_of(scene(SceneKind.PARTS, seed)) for seed in range(3)]
    inside = max(distances(cells, cells).max(), distances(parts, parts).max())
    assert inside < distances(cells, parts).min()


def test_an_inverted_image_looks_unlike():
    pixels = scene(SceneKind.CELLS, 0)
    others = [look_of(scene(SceneKind.CELLS, seed)) for seed in range(1, 4)]
    assert distances([look_of(255 - pixels)], others).min() > distances(others, others).max()


def test_contents_tell_labels_sizes_and_nothing_apart():
    small, large = [0, 0, 4, 4], [0, 0, 60, 60]
    first = contents_of(objects([small, small], [0, 0]), 2)
    assert distances([first], [contents_of(objects([small], [0]), 2)])[0, 0] < 1e-3
    other_label = distances([first], [contents_of(objects([small], [1]), 2)])[0, 0]
    other_size = distances([first], [contents_of(objects([large], [0]), 2)])[0, 0]
    both = distances([first], [contents_of(objects([large], [1]), 2)])[0, 0]
    assert other_label == other_size == np.float32(0.5**0.5)
    assert both == distances([first], [contents_of(objects([], []), 2)])[0, 0] == 1


def test_looks_are_kept_by_hash_and_forgotten_with_their_version(tmp_path, monkeypatch):
    look = look_of(scene(SceneKind.CELLS, 0))
    LookStore(tmp_path / "lsl.db").put({"aa": look, "bb": 2 * look})
    found = LookStore(tmp_path / "lsl.db").get(["aa", "cc"])
    assert list(found) == ["aa"]
    assert (found["aa"] == look).all()
    monkeypatch.setattr(looks, "LOOK_VERSION", looks.LOOK_VERSION + 1)
    assert LookStore(tmp_path / "lsl.db").get(["aa"]) == {}
