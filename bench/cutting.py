"""From an image to batches of windows, beside the speed of this machine's memory."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from measure import cost, table
from numpy.typing import NDArray

from lsl_core.models.compact import entry
from lsl_core.models.compact.transform import LEAST_RANGE, Levels
from lsl_core.models.memory import keep_freed_memory
from lsl_core.types import SlideWindows
from lsl_core.windows import cut, plan

#: One scale and shift for all channels, as grey levels to about [-2, 2].
SCALE, SHIFT = 1 / 58.0, -120 / 58.0


def run(*, side: int, repeat: int) -> None:
    """Print what cutting and normalising cost; one thread, all ways in turns."""
    cv2.setNumThreads(1)
    keep_freed_memory()  # as every program does that loads a model
    image = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    windows = plan((side, side), SlideWindows())
    shape = (len(windows), windows[0].height, windows[0].width, 3)
    values = int(np.prod(shape))
    large, copy = np.ones(256 << 20, np.uint8), np.empty(256 << 20, np.uint8)
    batch8, batch32 = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    piece = np.ones(values, np.uint8)
    ways = {
        "as many bytes in one piece, uint8": (2, lambda: np.copyto(batch8.reshape(-1), piece)),
        "cut, uint8 batch": (2, lambda: _copied(image, windows, batch8)),
        **{name: (5, work) for name, work in _normalising(image, windows, batch32).items()},
        **{name: (5, work) for name, work in _levelling(image, windows).items()},
    }
    works = [lambda: np.copyto(copy, large), *(work for _, work in ways.values())]
    turns = [[cost(work, repeat=1, warm_up=False)[1].cpu_s for work in works]
             for _ in range(repeat + 1)]  # fmt: skip
    copied, *took = np.median(turns[1:], axis=0).tolist()
    speed = 2 * large.nbytes / copied
    print(f"\n{len(windows)} windows of {side}², memory moves {speed / 1e9:.1f} GB/s (copying)")
    rows = [{"name": f"floor: uint8 to {kind}", "CPU ms": values * moved / speed * 1e3,
             "times floor": 1} for kind, moved in (("uint8", 2), ("float32", 5))]  # fmt: skip
    for (name, (moved, _)), cpu_s in zip(ways.items(), took, strict=True):
        floor = values * moved / speed
        rows.append({"name": name, "CPU ms": cpu_s * 1e3, "times floor": cpu_s / floor})
    table(rows)
    cv2.setNumThreads(-1)


def _copied(image: NDArray[np.uint8], windows: tuple, out: NDArray[np.uint8]) -> None:
    for k, window in enumerate(windows):
        np.copyto(out[k], cut(image, window))


def _levelling(image: NDArray[np.uint8], windows: tuple) -> dict[str, Callable[[], None]]:
    """Return what the compact model does, window by window as on a processor."""
    import torch

    torch.set_num_threads(1)
    place = torch.device("cpu")
    sent = np.empty((windows[0].height, windows[0].width, 3), np.uint8)

    def on_processor() -> None:
        for window in windows:
            entry.on_processor([cut(image, window)], place, least_range=LEAST_RANGE, invert=False)

    def before_device() -> None:
        for window in windows:
            shown = cut(image, window)
            Levels.of(shown, LEAST_RANGE)
            np.copyto(sent, shown)

    def on_device() -> None:
        for window in windows:
            entry.on_device([cut(image, window)], place, least_range=LEAST_RANGE, invert=False)

    return {
        "compact: cut + levelled region by region": on_processor,
        "compact, before a GPU: cut + levels of regions, uint8": before_device,
        "compact, the GPU's part too, by a processor": on_device,
    }


def _normalising(
    image: NDArray[np.uint8], windows: tuple, out: NDArray[np.float32]
) -> dict[str, Callable[[], None]]:
    flat = image.reshape(len(image), -1)
    views = [flat[w.y : w.y + w.height, 3 * w.x : 3 * (w.x + w.width)] for w in windows]
    batch = out.reshape(len(windows), windows[0].height, -1)
    levels = (np.arange(256) * SCALE + SHIFT).astype(np.float32).reshape(1, 256)

    def blocks() -> None:
        for view, target in zip(views, batch, strict=True):
            for row in range(0, len(view), 64):  # stays in the second-level cache
                part = target[row : row + 64]
                np.copyto(part, view[row : row + 64])
                part *= np.float32(SCALE)
                part += np.float32(SHIFT)

    def lookup() -> None:
        for view, target in zip(views, batch, strict=True):
            cv2.LUT(view, levels, dst=target)

    def weighted() -> None:
        for view, target in zip(views, batch, strict=True):
            cv2.addWeighted(view, SCALE, view, 0, SHIFT, dst=target, dtype=cv2.CV_32F)

    def ranged() -> None:
        for view, target in zip(views, batch, strict=True):
            low, high, _, _ = cv2.minMaxLoc(view)
            ends = (low * SCALE + SHIFT, high * SCALE + SHIFT)
            cv2.normalize(view, target, *ends, cv2.NORM_MINMAX, cv2.CV_32F)

    ways = {
        "cut + normalise, numpy by blocks": blocks,
        "cut + normalise, cv2.LUT": lookup,
        "cut + normalise, cv2.addWeighted": weighted,
        "cut + normalise, cv2.normalize": ranged,
    }
    ways.update(_with_torch(image, windows, batch))
    return ways


def _with_torch(
    image: NDArray[np.uint8], windows: tuple, batch: NDArray[np.float32]
) -> dict[str, Callable[[], None]]:
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)
    source = torch.from_numpy(image.reshape(len(image), -1))
    target = torch.from_numpy(batch)
    piece = torch.ones(target.shape, dtype=torch.uint8)

    def converted() -> None:
        for k, w in enumerate(windows):
            target[k].copy_(source[w.y : w.y + w.height, 3 * w.x : 3 * (w.x + w.width)])

    def normalised() -> None:
        for k, w in enumerate(windows):
            view = source[w.y : w.y + w.height, 3 * w.x : 3 * (w.x + w.width)]
            for row in range(0, w.height, 64):
                part = target[k, row : row + 64]
                part.copy_(view[row : row + 64])
                part.mul_(SCALE).add_(SHIFT)

    return {
        "as many values in one piece, to float32 by torch": lambda: target.copy_(piece),
        "cut + to float32 by torch (scale in the network)": converted,
        "cut + normalise, torch by blocks": normalised,
    }
