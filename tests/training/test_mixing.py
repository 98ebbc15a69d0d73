import numpy as np
import pytest

from lsl_core.training.compact import crops
from lsl_core.training.compact.crops import CROP_PX, draw_crop
from lsl_core.training.compact.mixing import View, mosaic, paste
from lsl_core.training.examples.tiles import LEAST_VISIBLE, make_tile
from tests.training.easy import easy_samples

SIDE = 40


def view(level: float, *, objects: list[tuple[int, int, int, int]], masked: bool = True) -> View:
    ids = np.zeros((SIDE, SIDE), np.int32)
    image = np.full((SIDE, SIDE, 3), level, np.float32)
    for i, (x1, y1, x2, y2) in enumerate(objects):
        image[y1:y2, x1:x2] = level + 0.5
        if masked:
            ids[y1:y2, x1:x2] = i + 1
    boxes = np.array(objects, np.float32).reshape(-1, 4)
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    class_ids = np.arange(len(objects), dtype=np.int32)
    return View(image, np.ones((SIDE, SIDE), bool), ids, class_ids, boxes, sizes)


def test_pasted_objects_lie_in_front_and_bring_their_pixels_and_labels() -> None:
    onto = view(0.0, objects=[(2, 2, 30, 30)])
    other = view(-1.0, objects=[(20, 20, 28, 28), (32, 32, 38, 38)])
    seen = set()
    for seed in range(12):
        both = paste(onto, other, np.random.default_rng(seed))
        assert both.class_ids.tolist() in ([0], [0, 0, 1])
        for i, (x1, y1, x2, y2) in enumerate(other.boxes.astype(int).tolist()):
            if both.ids[y1, x1] != i + 2:
                continue
            seen.add(i)
            assert (both.ids[y1:y2, x1:x2] == i + 2).all()
            middle = both.image[(y1 + y2) // 2, (x1 + x2) // 2]
            assert middle == pytest.approx(np.full(3, -0.5), abs=0.01)
        assert (both.ids[2:20, 2:20] == 1).all(), "what nothing covers stays"
        assert both.image[10, 10] == pytest.approx(np.full(3, 0.5), abs=0.01)
    assert seen == {0, 1}


def test_nothing_is_pasted_where_there_is_no_image() -> None:
    onto = view(0.0, objects=[])
    onto.inside[:, 20:] = False
    for seed in range(6):
        both = paste(onto, view(-1.0, objects=[(15, 5, 25, 15)]), np.random.default_rng(seed))
        assert not both.ids[:, 20:].any()


def test_each_corner_of_a_mosaic_is_another_view_and_boxes_end_where_it_ends() -> None:
    views = [view(float(i), objects=[(4, 4, 36, 36)]) for i in range(4)]
    mixed = mosaic(views, np.random.default_rng(0))
    corners = [mixed.image[y, x, 0] for y in (0, -1) for x in (0, -1)]
    assert corners == [0.0, 1.0, 2.0, 3.0]
    assert [mixed.ids[y, x] for y in (6, -6) for x in (6, -6)] == [1, 2, 3, 4]
    for i, (x1, y1, x2, y2) in enumerate(mixed.boxes.astype(int).tolist()):
        y, x = np.nonzero(mixed.ids == i + 1)
        assert (x.min(), y.min(), x.max() + 1, y.max() + 1) == (x1, y1, x2, y2)
    assert (mixed.sizes == 32 * 32).all(), "what an object would have if all of it were seen"


@pytest.mark.parametrize("with_masks", [True, False])
def test_what_mixing_hides_is_doubtful(with_masks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "MOSAIC", 1.0)
    monkeypatch.setattr(crops, "PASTE", 1.0)
    samples = easy_samples(3, with_masks=with_masks)
    tiles = [make_tile(s.pixels(), s.instances, scale=1.3, least_range=20.0) for s in samples]
    largest = max(float(tile.areas.max()) for tile in tiles) * crops.SCALE**2
    rng, doubtful = np.random.default_rng(0), 0
    for _ in range(10):
        crop = draw_crop(tiles, rng, with_masks=with_masks)
        doubtful += int(crop.doubtful.sum())
        assert (crop.boxes >= 0).all()
        assert (crop.boxes <= CROP_PX).all()
        shown = (crop.boxes[:, 2:] - crop.boxes[:, :2]).prod(axis=1)
        if not with_masks:
            assert (shown[crop.doubtful] < LEAST_VISIBLE * largest).all()
    assert doubtful > 10


def test_one_image_has_nothing_to_make_a_mosaic_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "mosaic", None)
    monkeypatch.setattr(crops, "MOSAIC", 1.0)
    (sample,) = easy_samples(1)
    tile = make_tile(sample.pixels(), sample.instances, scale=1.3, least_range=20.0)
    assert len(draw_crop([tile], np.random.default_rng(0), with_masks=True).class_ids)
