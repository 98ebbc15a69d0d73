"""The only decoder: every image becomes RGB uint8 (h, w, 3), upright."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lsl_core.errors import UserInput
from lsl_core.types import Hw, ImageRef
from lsl_core.workspace.files import write_atomic

try:
    import simplejpeg
except ImportError:  # a machine that it has no wheel for
    simplejpeg = None

Pixels = NDArray[np.uint8]

#: The EXIF tag that says how to turn an image.
_ORIENTATION = 274
#: What files other than JPEG hold that say how to turn them: EXIF as PNG and WebP have it, XMP.
_TURNING = (b"eXIf", b"EXIF", b"Raw profile type", b"tiff:Orientation")

#: File name endings that are looked at when a folder is imported, in lower case.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


def decode_rgb(data: bytes, *, name: str) -> Pixels:
    """Decode an encoded image.

    JPEG, PNG, BMP, TIFF and WebP; grey becomes three equal channels, alpha is dropped, 16 bit is
    stretched from its own range to 8 bit, an EXIF rotation is applied.

    Raises:
        UserInput: when the bytes are no whole image.
    """
    check_whole(data, name)
    pixels = _decode(data)
    if pixels is None:
        raise UserInput(f"{name} is no image that can be read.", hint="Convert it to PNG or JPEG.")
    return as_rgb(pixels)


def as_rgb(pixels: NDArray[Any]) -> Pixels:
    """Return decoded pixels, grey or colour and of any depth, as `decode_rgb` gives them."""
    if pixels.dtype != np.uint8:
        pixels = _to_uint8(pixels)
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    return np.ascontiguousarray(pixels[:, :, :3], np.uint8)


def _decode(data: bytes) -> NDArray[Any] | None:
    pixels = _plain_jpeg(data)
    if pixels is not None:
        return pixels
    buffer = np.frombuffer(data, np.uint8)
    deep = _is_16_bit_png(data) or data[:2] in (b"II", b"MM")
    # IMREAD_COLOR_RGB reads CMYK and EXIF right, but cuts 16 bit to its upper byte, and asked for
    # all bits of a TIFF in colour OpenCV 5.0 returns other pixels than are in it; BGR is right
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR if deep else cv2.IMREAD_COLOR_RGB
    try:
        found: NDArray[Any] | None = cv2.imdecode(buffer, flags)
    except cv2.error:
        return None
    return found[:, :, ::-1] if deep and found is not None else found


def _plain_jpeg(data: bytes) -> Pixels | None:
    """Decode a JPEG that needs no more than that; None for all else.

    The pixels are those of OpenCV, in a third to two thirds of its time (decision 0072).
    """
    if simplejpeg is None or data[:3] != b"\xff\xd8\xff" or _is_turned(data):
        return None
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB"), np.uint8)
    except ValueError:  # CMYK, or damaged: OpenCV reads more than this one
        return None


def may_be_turned(data: bytes) -> bool:
    """Tell whether an image wants to be shown turned or mirrored.

    Of what is no JPEG it is known only when all of it is decoded; any that could say so counts.
    """
    if data[:3] == b"\xff\xd8\xff":
        head = data[: data.find(b"\xff\xda")]  # what comes before the picture itself
        return b"tiff:Orientation" in head or (b"Exif\0\0" in head and _is_turned(data))
    return any(sign in data for sign in _TURNING)


def _is_turned(data: bytes) -> bool:
    """Tell whether a JPEG wants to be shown turned or mirrored."""
    if b"Exif\0\0" not in data:
        return False
    try:
        with Image.open(io.BytesIO(data)) as image:
            return bool(image.getexif().get(_ORIENTATION, 1) != 1)
    except (OSError, ValueError, SyntaxError):
        return True


def _is_16_bit_png(data: bytes) -> bool:
    return data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 24 and data[24] == 16


def _to_uint8(pixels: NDArray[Any]) -> Pixels:
    """Stretch a deeper image from its own range to 0…255, as CVAT does for 16 bit."""
    values = pixels.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255.0 / max(high - low, 1e-6))).round().astype(np.uint8)


def check_whole(data: bytes, name: str) -> None:
    """Refuse a cut file: decoders fill the missing part with grey and say nothing."""
    cut = (data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-4096:]) or (
        data[:8] == b"\x89PNG\r\n\x1a\n" and b"IEND" not in data[-4096:]
    )
    if cut or not data:
        raise UserInput(
            f"{name} is cut off: only {len(data):,} bytes of it are here.",
            hint="Copy or upload the image again.",
        )


def read_rgb(path: Path) -> Pixels:
    """Read an image file; see `decode_rgb`.

    Raises:
        UserInput: when the file is missing or no whole image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserInput(f"{path} cannot be read: {error.strerror}.") from error
    return decode_rgb(data, name=path.name)


def image_ref(path: Path, *, frame: int, name: str, task_id: int | None = None) -> ImageRef:
    """Decode an image file once and return its identity.

    Raises:
        UserInput: when it is no whole image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserInput(f"{path} cannot be read: {error.strerror}.") from error
    hw: Hw = decode_rgb(data, name=name).shape[:2]
    return ImageRef(task_id, frame, name, hw, hashlib.sha256(data).hexdigest())


def write_rgb(path: Path, pixels: Pixels, *, quality: int = 90) -> None:
    """Encode RGB pixels by the ending of `path` (PNG, JPEG …) and write them atomically."""
    write_atomic(path, encode_rgb(pixels, suffix=path.suffix, quality=quality))


def encode_rgb(pixels: Pixels, *, suffix: str = ".jpg", quality: int = 90) -> bytes:
    """Encode RGB pixels (h, w, 3) as an image file of the kind that `suffix` names."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    lossy = suffix.lower() in (".jpg", ".jpeg")
    done, data = cv2.imencode(suffix, bgr, [cv2.IMWRITE_JPEG_QUALITY, quality] if lossy else [])
    if not done:
        raise ValueError(f"OpenCV cannot write {suffix} files")
    return data.tobytes()
