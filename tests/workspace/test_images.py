from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lsl_core.errors import UserInput
from lsl_core.workspace.images import decode_rgb, encode_rgb, image_ref, may_be_turned, read_rgb


@pytest.fixture
def red() -> np.ndarray:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[..., 0] = 255
    return pixels


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jpg"])
def test_red_is_red_in_every_format(red: np.ndarray, suffix: str) -> None:
    decoded = decode_rgb(encode_rgb(red, suffix=suffix), name="x")
    assert decoded.shape == (40, 60, 3)
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - red).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_is_stretched_from_its_own_range(suffix: str) -> None:
    deep = (np.arange(2400).reshape(40, 60) + 500).astype(np.uint16)
    _, data = cv2.imencode(suffix, deep)
    decoded = decode_rgb(data.tobytes(), name="deep")
    assert (decoded.min(), decoded.max()) == (0, 255)
    assert (decoded[..., 0] == decoded[..., 2]).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_is_the_colour_that_is_in_the_file(suffix: str, channels: int) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (40, 60, channels), dtype=np.uint16)
    deep[0, 0, :3], deep[0, 1, :3] = 0, 65535  # so that the range is the whole
    _, data = cv2.imencode(suffix, deep)
    decoded = decode_rgb(data.tobytes(), name="deep")
    expected = np.round(deep[:, :, 2::-1] / 65535.0 * 255.0)
    assert np.abs(decoded - expected).max() <= 1


def test_grey_and_alpha_become_three_channels() -> None:
    for channels in (1, 4):
        pixels = np.full((5, 6, channels), 77, np.uint8)
        _, data = cv2.imencode(".png", pixels)
        assert decode_rgb(data.tobytes(), name="x").shape == (5, 6, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_cut_file_is_refused_and_not_filled_with_grey(red: np.ndarray, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)
    data = encode_rgb(noise, suffix=suffix)
    with pytest.raises(UserInput, match="cut off"):
        decode_rgb(data[: len(data) // 2], name="a.jpg")


def test_what_is_no_image_says_so(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("hello")
    with pytest.raises(UserInput, match=r"notes\.png is no image"):
        read_rgb(path)
    with pytest.raises(UserInput, match="cannot be read"):
        read_rgb(tmp_path / "missing.png")


def test_identity_is_the_hash_of_the_file(tmp_path: Path, red: np.ndarray) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode_rgb(red, suffix=".png"))
    ref = image_ref(path, frame=3, name="a.png")
    assert (ref.image_hw, ref.frame) == ((40, 60), 3)
    path.write_bytes(encode_rgb(255 - red, suffix=".png"))
    assert image_ref(path, frame=3, name="a.png").sha256 != ref.sha256


def as_opencv_reads(data: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))


@pytest.mark.parametrize("turn", [None, 1, 3, 6, 7])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_every_jpeg_comes_out_as_opencv_reads_it(
    mode: str, turn: int | None, subsampling: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (67, 45, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (7, 7), 0)
    exif = Image.Exif()
    if turn is not None:
        exif[274] = turn
    file = io.BytesIO()
    Image.fromarray(smooth).convert(mode).save(file, "JPEG", subsampling=subsampling, exif=exif)
    data = file.getvalue()
    assert np.array_equal(decode_rgb(data, name="a"), as_opencv_reads(data))


@pytest.mark.parametrize("ending", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("turn", [None, 1, 6])
def test_an_image_that_is_to_be_turned_is_known_without_decoding_it(
    ending: str, turn: int | None
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    exif = Image.Exif()
    if turn is not None:
        exif[274] = turn
    file = io.BytesIO()
    options = {} if ending == "BMP" else {"exif": exif}
    Image.fromarray(noise).save(file, ending, **options)
    found = may_be_turned(file.getvalue())
    with Image.open(file) as image:
        is_turned = image.getexif().get(274, 1) != 1
    assert found >= is_turned
    assert found == is_turned or ending in ("PNG", "WEBP"), "of these any EXIF counts"


def test_a_jpeg_is_read_where_the_fast_decoder_is_missing(red: np.ndarray, monkeypatch) -> None:
    data = encode_rgb(red, suffix=".jpg")
    fast = decode_rgb(data, name="a")
    monkeypatch.setattr("lsl_core.workspace.images.simplejpeg", None)
    assert np.array_equal(decode_rgb(data, name="a"), fast)


def test_a_jpeg_with_a_broken_middle_is_read_as_far_as_it_goes() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)
    data = bytearray(encode_rgb(noise, suffix=".jpg"))
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff\xd0" * 20
    assert decode_rgb(bytes(data), name="a").shape == (400, 400, 3)
