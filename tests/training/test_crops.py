import numpy as np
import pytest

from lsl_core.models.compact.network import STRIDE, UNIT
from lsl_core.training import Sample
from lsl_core.training.compact.crops import CROP_PX, draw_crop
from lsl_core.training.compact.targets import make_targets
from lsl_core.training.examples.tiles import make_tile, object_sizes, owners, windows_of
from lsl_core.types import CropMasks, Instances, SlideWindows
from tests.training.easy import HW, LABELS, easy_samples


def tiles(*, with_masks: bool) -> list:
    samples = easy_samples(2, with_masks=with_masks)
    return [make_tile(s.pixels(), s.instances, scale=1.3, least_range=20.0) for s in samples]


@pytest.mark.parametrize("with_masks", [True, False])
def test_boxes_of_a_crop_lie_around_what_is_bright(with_masks: bool) -> None:
    rng = np.random.default_rng(0)
    made = tiles(with_masks=with_masks)
    seen = 0
    for _ in range(20):
        crop = draw_crop(made, rng, with_masks=with_masks, mixed=False)
        bright = crop.image.mean(axis=2)
        ground = np.median(bright[crop.inside])
        for i in np.flatnonzero(~crop.doubtful):
            x1, y1, x2, y2 = np.rint(crop.boxes[i]).astype(int)
            if x2 - x1 < 12 or y2 - y1 < 12 or min(x1, y1) < 3 or max(x2, y2) > CROP_PX - 3:
                continue
            if not crop.inside[y1 - 3 : y2 + 3, x1 - 3 : x2 + 3].all():
                continue
            seen += 1
            inner = bright[y1:y2, x1:x2]
            assert inner.max() > ground + 0.4
            assert np.median(bright[y1 - 3 : y1 - 1, x1:x2]) < ground + 0.4
    assert seen > 30


def test_offsets_point_to_the_centre_and_sides_to_the_box() -> None:
    rng = np.random.default_rng(1)
    crop = draw_crop(tiles(with_masks=True), rng, with_masks=True)
    targets = make_targets([crop], len(LABELS))
    ids = crop.ids[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    for i in np.flatnonzero(~crop.doubtful):
        y, x = np.nonzero(ids == i + 1)
        for axis, place in enumerate((x, y)):
            offset = targets.offset[0, axis].numpy()[y, x] * UNIT
            centre = (place + 0.5 + offset) * STRIDE
            assert np.allclose(centre, crop.centres[i, axis], atol=1e-3)
    weight = targets.ltrb_weight[0, 0].numpy()
    y, x = np.nonzero(weight)
    left, top, right, bottom = targets.ltrb[0].numpy()[:, y, x] * UNIT * STRIDE
    found = np.stack([(x + 0.5) * STRIDE - left, (y + 0.5) * STRIDE - top], axis=1)
    assert len(y) > 10
    assert (left + right > 0).all()
    assert (top + bottom > 0).all()
    corners = crop.boxes[:, :2]
    nearest = np.abs(found[:, None] - corners[None]).sum(axis=2).min(axis=1)
    assert (nearest < 1e-2).all()


def test_every_sure_object_has_one_centre_of_its_label() -> None:
    rng = np.random.default_rng(2)
    made = tiles(with_masks=True)
    for _ in range(10):
        crop = draw_crop(made, rng, with_masks=True)
        targets = make_targets([crop], len(LABELS))
        heat, label = targets.heat[0, 0].numpy(), targets.label[0].numpy()
        assert int((heat >= 1).sum()) == int((~crop.doubtful).sum())
        weight = targets.label_weight[0, 0].numpy()
        for class_id in range(len(LABELS)):
            sure = int((~crop.doubtful & (crop.class_ids == class_id)).sum())
            assert weight[label == class_id].sum() == pytest.approx(sure, abs=0.2)


def test_nothing_is_learnt_outside_the_image() -> None:
    rng = np.random.default_rng(3)
    sample = easy_samples(1)[0]
    small = make_tile(
        sample.pixels()[:60, :60],
        Instances.empty((60, 60), masks=CropMasks.empty()),
        scale=1.0,
        least_range=20.0,
    )
    crop = draw_crop([small], rng, with_masks=True)
    assert not crop.inside.all()
    assert (crop.image[~crop.inside] == 0).all()
    targets = make_targets([crop], len(LABELS))
    outside = ~crop.inside[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    assert (targets.inside[0, 0].numpy()[outside] == 0).all()
    assert (targets.heat_weight[0, 0].numpy()[outside] == 0).all()


def test_a_large_image_is_cut_and_objects_keep_their_place() -> None:
    sample = easy_samples(1)[0]
    whole = owners(sample.instances) > 0
    seen = np.zeros(HW, bool)
    for window, drawn in windows_of(sample, SlideWindows(96, 80, 30)):
        part = owners(drawn) > 0
        here = np.s_[window.y : window.y + window.height, window.x : window.x + window.width]
        assert not (part & ~whole[here]).any()
        seen[here] |= part
    assert np.array_equal(seen, whole)


@pytest.mark.parametrize(
    ("least", "on_the_left"), [(0.0, True), (None, True), (0.25, True), (0.26, False)]
)
def test_an_object_of_which_a_window_shows_less_than_asked_for_is_left_out(
    least: float | None, on_the_left: bool
) -> None:
    masks = CropMasks.from_crops([np.ones((10, 40), bool)], [(30, 5)])
    boxes = np.array([[30, 5, 70, 15]], np.float32)
    one = (np.ones(1, np.float32), np.zeros(1, np.int32))
    for drawn in (masks, None):
        sample = Sample("a", lambda: None, Instances(boxes, *one, drawn, (40, 80)))
        asked = {} if least is None else {"least_visible": least}
        left, right = windows_of(sample, SlideWindows(40, 40, 0), **asked)
        assert left[1].boxes.tolist() == ([[30, 5, 40, 15]] if on_the_left else [])
        assert right[1].boxes.tolist() == [[0, 5, 30, 15]]


def test_sizes_come_from_masks_where_there_are_masks() -> None:
    masked = easy_samples(1)
    boxed = easy_samples(1, with_masks=False)
    assert np.median(object_sizes(masked)) < np.median(object_sizes(boxed))
    assert (object_sizes(masked) > 0).all()
