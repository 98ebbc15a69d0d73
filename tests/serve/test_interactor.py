import json

import numpy as np
import pytest

from lsl_core.errors import UserInput
from lsl_core.serve import Detector
from lsl_core.serve.interactor import Prompt, interactor_answer, pointed_at, select
from lsl_core.types import Instances, SoftMasks

from .fakes import BrightModel, found_in, image_with, looks, png, ring


def whole(mask, hw=(100, 120)):
    x, y, w, h = mask.crops[0].tolist()
    pixels = np.zeros(hw, bool)
    pixels[y : y + h, x : x + w] = mask.crop(0)
    return pixels


def at(pixels, prompt):
    mask = pointed_at(found_in(pixels), pixels, prompt)
    return whole(mask, pixels.shape[:2])


TWO = image_with((10, 10, 20, 20), (60, 50, 30, 20))


def test_a_click_gives_the_object_under_it_with_its_hole():
    mask = at(ring(), Prompt(((25, 35),)))

    assert np.array_equal(mask, ring()[:, :, 0] > 0)


def test_clicks_on_two_objects_give_both():
    mask = at(TWO, Prompt(((15, 15), (65, 55))))

    assert np.array_equal(mask, TWO[:, :, 0] > 0)


def test_a_box_gives_the_object_that_it_is_drawn_around():
    mask = at(TWO, Prompt(box=(57, 48, 94, 72)))

    assert mask.sum() == 600
    assert mask[50:70, 60:90].all()


def test_a_box_drawn_from_the_other_corner_is_the_same_box():
    with Detector(BrightModel()) as detector:
        one = select(detector, png(TWO), Prompt(box=(57, 48, 94, 72)))
        other = select(detector, png(TWO), Prompt(box=(94, 72, 57, 48)))

    assert np.array_equal(whole(one), whole(other))


def test_a_negative_click_takes_its_side_of_a_joined_object_away():
    pixels = image_with((20, 30, 30, 30), (50, 30, 30, 30), hw=(100, 120))
    pixels[30:60, 49:51] = 190  # a seam

    mask = at(pixels, Prompt(((25, 45),), ((75, 45),)))

    assert mask[45, 25]
    assert not mask[45, 75]
    assert mask[30:60, 20:45].mean() > 0.9
    assert mask[30:60, 55:80].mean() < 0.1


def test_a_negative_click_chooses_the_other_of_two_objects_under_a_click():
    small, large = np.full((10, 10), 255, np.uint8), np.full((40, 40), 200, np.uint8)
    found = Instances(
        np.array([[20, 20, 30, 30], [10, 10, 50, 50]], np.float32),
        np.array([0.4, 0.9], np.float32),
        np.zeros(2, np.int32),
        SoftMasks.from_crops([small, large], [(20, 20), (10, 10)]),
        (100, 120),
    )
    pixels = image_with((10, 10, 40, 40))

    assert pointed_at(found, pixels, Prompt(((25, 25),))).areas()[0] == 1600
    mask = pointed_at(found, pixels, Prompt(((25, 25),), ((45, 45),)))
    assert mask.areas()[0] == 100


def test_a_click_beside_the_sure_part_grows_the_object_to_it():
    soft = np.full((20, 40), 100, np.uint8)
    soft[:, :20] = 250
    found = Instances(
        np.array([[10, 10, 30, 30]], np.float32),
        np.array([0.9], np.float32),
        np.zeros(1, np.int32),
        SoftMasks.from_crops([soft], [(10, 10)]),
        (100, 120),
    )
    pixels = image_with((10, 10, 40, 20))

    assert pointed_at(found, pixels, Prompt(((15, 15),))).areas()[0] == 400
    assert pointed_at(found, pixels, Prompt(((15, 15), (45, 15)))).areas()[0] == 800


def unknown():
    """Return an image with a disc that the model does not see."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 12, (100, 120, 3)).astype(np.uint8)
    y, x = np.mgrid[:100, :120]
    disc = (x - 60) ** 2 + (y - 50) ** 2 < 400
    pixels[disc] = (20, 20, 70)
    return pixels, disc


@pytest.mark.parametrize(
    "prompt", [Prompt(box=(38, 28, 82, 72)), Prompt(((60, 50), (50, 45)))], ids=["box", "clicks"]
)
def test_what_the_model_does_not_know_is_cut_out_by_its_colour(prompt):
    pixels, disc = unknown()

    mask = at(pixels, prompt)

    assert (mask & disc).sum() / (mask | disc).sum() > 0.9


def test_every_click_is_obeyed_wherever_it_falls():
    rng = np.random.default_rng(1)
    for _ in range(12):
        pixels = ring() if rng.random() < 0.5 else unknown()[0]
        points = rng.integers(0, (120, 100), (4, 2)).tolist()
        positive, negative = points[: rng.integers(1, 4)], points[3:]
        if any(abs(x - u) < 6 and abs(y - v) < 6 for x, y in positive for u, v in negative):
            continue
        mask = at(pixels, Prompt(tuple(map(tuple, positive)), tuple(map(tuple, negative))))
        assert all(mask[y, x] for x, y in positive)
        assert not any(mask[y, x] for x, y in negative)


def test_clicks_outside_the_image_count_at_its_border():
    with Detector(BrightModel()) as detector:
        mask = select(detector, png(image_with((100, 80, 20, 20))), Prompt(((500, 99.7),)))

    assert mask.areas()[0] == 400


def test_pointing_at_nothing_is_refused():
    with Detector(BrightModel()) as detector, pytest.raises(UserInput, match="pointed at"):
        select(detector, png(ring()), Prompt())


def test_the_model_looks_once_however_often_people_click(tmp_path):
    from lsl_core.inference.cache import PredictionCache

    model = BrightModel()
    with Detector(
        model, looks(model, cache=PredictionCache(tmp_path, max_bytes=10**6))
    ) as detector:
        for point in ((25, 35), (55, 65), (30, 40)):
            select(detector, png(ring()), Prompt((point,)))

    assert len(model.batches) == 1


def test_the_answer_holds_rows_of_the_crop_and_its_place():
    with Detector(BrightModel()) as detector:
        answer = json.loads(interactor_answer(select(detector, png(ring()), Prompt(((25, 35),)))))

    mask = np.array(answer["mask"])
    assert mask.shape == (40, 40)
    assert mask.sum() == 1500
    assert answer["bounds"] == [20, 30, 59, 69]
    assert sorted(map(tuple, answer["points"])) == [(20, 30), (20, 70), (60, 30), (60, 70)]
