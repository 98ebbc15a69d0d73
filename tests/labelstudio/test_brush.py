import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_converter.brush import decode_rle, mask2rle

from lsl_core.errors import UserInput
from lsl_core.labelstudio import decode_brush, encode_brush
from lsl_core.types import CropMasks


def encoded(pixels):
    """Encode a mask of a whole image by way of its smallest crop."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    x, y = int(columns[0]), int(rows[0])
    crop = pixels[y : rows[-1] + 1, x : columns[-1] + 1]
    return encode_brush(CropMasks.from_crops([crop], [(x, y)]), 0, pixels.shape)


def of_seed(seed, hw=(37, 41)):
    random = np.random.default_rng(seed)
    pixels = random.random(hw) < random.choice([0.01, 0.3, 0.97])
    pixels[random.integers(hw[0]), random.integers(hw[1])] = True
    return pixels


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_label_studios_own_decoder_reads_what_we_write(seed):
    pixels = of_seed(seed)
    theirs = decode_rle(encoded(pixels)).reshape(*pixels.shape, 4)
    assert (theirs == np.where(pixels, 255, 0)[:, :, None]).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_we_read_what_label_studio_writes(seed):
    pixels = of_seed(seed)
    stream = mask2rle((pixels * 255).astype(np.uint8))
    assert (decode_brush(stream, pixels.shape) == pixels).all()


@pytest.mark.parametrize("hw", [(1, 1), (1, 7), (7, 1), (300, 500)])
def test_full_masks_of_any_size_come_back(hw):
    pixels = np.ones(hw, bool)
    assert decode_brush(encoded(pixels), hw).all()
    assert (decode_rle(encoded(pixels)) == 255).all()


def test_a_hole_and_several_parts_come_back():
    pixels = np.zeros((60, 80), bool)
    pixels[10:30, 5:40] = True
    pixels[15:20, 10:20] = False
    pixels[40:50, 60:80] = True
    assert (decode_brush(encoded(pixels), pixels.shape) == pixels).all()


def test_values_that_do_not_repeat_are_read():
    # as the tool itself writes soft edges: three values after each other, then a run
    soft = "".join(f"{value:08b}" for value in (0, 0, 0, 90, 9, 9, 9, 200))
    head = f"{12:032b}{7:05b}0010001101111111"
    stream = f"{head}000{7:03b}{soft}100{3:03b}{255:08b}"
    stream += "0" * (-len(stream) % 8)
    data = [int(stream[i : i + 8], 2) for i in range(0, len(stream), 8)]
    assert decode_brush(data, (1, 3)).tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (None, "no list of bytes"),
        ([1, 2, 999], "no list of bytes"),
        ([], "cut off"),
        (encoded(np.ones((4, 4), bool)), "not for an image"),
        (encoded(of_seed(1, (8, 8)))[:-6], "cut off"),
    ],
)
def test_a_damaged_stream_is_refused_with_a_reason(stream, reason):
    with pytest.raises(UserInput, match=reason):
        decode_brush(stream, (8, 8))
