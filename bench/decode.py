"""Decoding JPEG and PNG to RGB: the product's decoder beside others that are installed."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from free import photo
from measure import cost, table

from lsl_core.workspace.images import decode_rgb, encode_rgb


def run(*, side: int, repeat: int) -> None:
    """Print megapixels a second of processor time, one thread."""
    cv2.setNumThreads(1)
    image = photo(side)
    for kind in (".jpg", ".png"):
        data = encode_rgb(image, suffix=kind)
        print(f"\n{kind[1:].upper()}, {side}², {len(data) / 1e6:.1f} MB")
        rows = []
        for name, work in _decoders(kind, data).items():
            _, spent = cost(work, repeat=repeat)
            speed = side * side / 1e6 / spent.cpu_s
            rows.append({"name": name, "Mpx/s": speed, "MB": round(spent.peak_mb)})
        table(rows)
    cv2.setNumThreads(-1)


def _decoders(kind: str, data: bytes) -> dict[str, Callable[[], Any]]:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    buffer = np.frombuffer(data, np.uint8)
    works: dict[str, Callable[[], Any]] = {
        "ours (workspace.images)": lambda: decode_rgb(data, name="a"),
        "cv2, RGB": lambda: cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB),
        "PIL": lambda: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")),
    }
    if importlib.util.find_spec("imagecodecs"):
        import imagecodecs

        read = imagecodecs.jpeg8_decode if kind == ".jpg" else imagecodecs.png_decode
        works["imagecodecs"] = lambda: read(data)
    if kind == ".jpg" and importlib.util.find_spec("simplejpeg"):
        import simplejpeg

        works["simplejpeg"] = lambda: simplejpeg.decode_jpeg(data, "RGB")
    return works
