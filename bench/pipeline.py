"""What a tiling framework costs around a model that costs nothing; and very large images."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from free import FreeModel, Pixels, canned, photo
from measure import apart, cost, status_mb, table
from peers import installed

from lsl_core.inference.cache import PredictionCache
from lsl_core.inference.runner import predict_images
from lsl_core.types import ImageRef, SlideWindows
from lsl_core.windows import plan
from lsl_core.workspace.images import read_rgb, write_rgb

WINDOW, OVERLAP = 1024, 150
SLIDE = SlideWindows(WINDOW, WINDOW, OVERLAP)


def _predicted(images: Any, model: FreeModel) -> Any:
    """Predict images with nothing in the cache and nothing kept."""
    with tempfile.TemporaryDirectory() as folder:
        yield from predict_images(
            lambda: model,
            card=model.card,
            transform_version=model.transform_version,
            images=images,
            slide=SLIDE,
            cache=PredictionCache(Path(folder), max_bytes=0),
        )


def ours(image: Pixels, count: int, batch: int) -> int:
    """Return how many objects the runner joins."""
    ref = ImageRef(None, 0, "a.png", image.shape[:2], "0" * 64)
    model = FreeModel(canned(count, WINDOW))
    (found,) = _predicted([(ref, lambda: image)], model)
    return len(found.instances)


def ours_stitch(image: Pixels, count: int, batch: int) -> int:
    """Return the same without the runner: plan, cut, stitch."""
    from lsl_core.windows import cut, stitch

    answer = canned(count, WINDOW)
    parts = []
    for window in plan(image.shape[:2], SLIDE):
        cut(image, window)
        parts.append((window, answer))
    return len(stitch(parts, image_hw=image.shape[:2]))


def sahi(image: Pixels, count: int, batch: int) -> int:
    """Return how many objects SAHI keeps: boolean masks of window size, as its models give."""
    from sahi.models.base import DetectionModel
    from sahi.predict import get_sliced_prediction
    from sahi.prediction import ObjectPrediction
    from sahi.utils.cv import get_coco_segmentation_from_bool_mask

    masks, boxes, scores, labels = _dense(count)

    class Free(DetectionModel):  # type: ignore[misc]
        def load_model(self) -> None:
            self.model = self

        def perform_inference(self, image: Pixels) -> None:
            self._original_predictions = masks

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = None, full_shape_list: Any = None
        ) -> None:
            found = [
                ObjectPrediction(
                    bbox=boxes[i].tolist(),
                    score=float(scores[i]),
                    category_id=int(labels[i]),
                    category_name=str(labels[i]),
                    segmentation=get_coco_segmentation_from_bool_mask(masks[i]),
                    shift_amount=shift_amount_list[0],
                    full_shape=full_shape_list[0],
                )
                for i in range(count)
            ]
            self._object_prediction_list_per_image = [found]

    share = OVERLAP / WINDOW
    result = get_sliced_prediction(
        image,
        Free(device="cpu", confidence_threshold=0.1),
        WINDOW,
        WINDOW,
        overlap_height_ratio=share,
        overlap_width_ratio=share,
        perform_standard_pred=False,
        verbose=0,
        batch_size=batch,
    )
    return len(result.object_prediction_list)


def supervision(image: Pixels, count: int, batch: int) -> int:
    """Return how many objects supervision keeps, with its compact masks."""
    import supervision as sv

    masks, boxes, scores, labels = _dense(count)

    def one(_: Pixels) -> Any:
        if not count:
            return sv.Detections.empty()
        return sv.Detections(
            xyxy=boxes - (0, 0, 1, 1), mask=masks, confidence=scores, class_id=labels
        )

    slicer = sv.InferenceSlicer(
        one if batch == 1 else lambda tiles: [one(t) for t in tiles],
        slice_wh=WINDOW,
        overlap_wh=OVERLAP,
        compact_masks=True,
        batch_size=batch,
        thread_workers=1,
    )
    return len(slicer(image))


def _dense(count: int) -> tuple[Any, Any, Any, Any]:
    found = canned(count, WINDOW)
    masks = np.zeros((count, WINDOW, WINDOW), bool)
    for i in range(count):
        x, y, w, h = found.masks.crops[i].tolist()  # type: ignore[union-attr]
        masks[i, y : y + h, x : x + w] = found.masks.crop(i) >= 128  # type: ignore[union-attr]
    return masks, found.boxes.copy(), found.scores.copy(), found.class_ids.astype(int)


CASES = {
    "ours, runner": ("numpy", ours, 1),
    "ours, cut and stitch": ("numpy", ours_stitch, 1),
    "sahi, batch 1": ("sahi", sahi, 1),
    "sahi, batch 8": ("sahi", sahi, 8),
    "supervision, batch 1": ("supervision", supervision, 1),
    "supervision, batch 8": ("supervision", supervision, 8),
}


def run_one(name: str, side: int, count: int, repeat: int) -> dict[str, Any]:
    """Measure one case; runs in a process of its own."""
    _, work, batch = CASES[name]
    image = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    work(image[: WINDOW + 200, : WINDOW + 200], count, batch)
    found, spent = cost(lambda: work(image, count, batch), repeat=repeat, warm_up=False)
    windows = len(plan((side, side), SLIDE))
    return {
        "name": name,
        "cpu ms/window": spent.cpu_s / windows * 1e3,
        "wall ms/window": spent.wall_s / windows * 1e3,
        "MB": round(spent.peak_mb),
        "results": found,
    }


def run(*, side: int, counts: list[int], repeat: int, limit_s: float, limit_gb: float) -> None:
    """Print what everybody costs a window."""
    here = {n.split("-")[0] for n in installed()}
    for count in counts:
        print(f"\n{side}² image, {count} objects in each window, model free")
        rows = []
        for name in CASES:
            if name.split(",")[0] in here:
                limits = {"limit_s": limit_s, "limit_gb": limit_gb}
                rows.append({"name": name, **apart(run_one, name, side, count, repeat, **limits)})
        table(rows)


# ------------------------------------------------------------ very large images
class Files:
    """The same large file several times; remembers when each was decoded."""

    def __init__(self, path: Path, side: int, count: int) -> None:
        self.path, self.side, self.count = path, side, count
        self.decoded: list[float] = []

    def __iter__(self) -> Iterator[Any]:
        for i in range(self.count):
            yield ImageRef(None, i, f"{i}.jpg", (self.side, self.side), f"{i:064d}"), self._read

    def _read(self) -> Pixels:
        pixels = read_rgb(self.path)
        self.decoded.append(time.perf_counter())
        return pixels


def large_one(path: str, side: int, images: int, count: int) -> dict[str, Any]:
    """Predict large images from disk; runs in a process of its own."""
    model = FreeModel(canned(count, WINDOW), device_s=0.002)
    files = Files(Path(path), side, images)
    first, busiest, stop = 0.0, [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            busiest[0] = max(busiest[0], status_mb("VmRSS"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.perf_counter()
    objects = 0
    for found in _predicted(files, model):
        first = first or time.perf_counter()
        objects += len(found.instances)
    total = time.perf_counter() - begin
    stop.set()
    watcher.join()
    return {
        "name": f"{images} images of {side}²",
        "peak process GiB": max(busiest[0], status_mb("VmHWM")) / 1024,
        "first result s": first - begin,
        "last image decoded s": files.decoded[-1] - begin,
        "all s": total,
        "objects": objects,
    }


def large(*, side: int, images: int, count: int, limit_s: float) -> None:
    """Print memory and when the first result came."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.jpg"
        write_rgb(path, photo(side))
        row = apart(large_one, str(path), side, images, count, limit_s=limit_s, limit_gb=24)
        print(f"\nVery large images from disk, {count} objects in each window")
        table([{"name": f"{images} images of {side}²", **row}])
