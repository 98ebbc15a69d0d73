r"""A model as a function of cvat-cli, on this machine, with no server of ours in between.

    cvat-cli task auto-annotate TASK --function-module lsl_core.serve.cvat_function \
        -p model=str:bolts -p workspace=str:/data/bolts
    cvat-cli function create-native NAME --function-module lsl_core.serve.cvat_function -p …
    cvat-cli function run-agent ID --function-module lsl_core.serve.cvat_function -p …

The same shapes as `lsl cvat-inference` at the same settings. Agents answer clicks, too:
`-p interactive=bool:true`, and with a pretrained segmenter: `-p clicks=str:sam2.1-tiny` beside it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from lsl_core.cvat.functions import native
from lsl_core.errors import UserInput
from lsl_core.geometry.drawable import Drawing
from lsl_core.inference.batches import Pixels
from lsl_core.inference.cache import PredictionCache
from lsl_core.serve.answers import drawing_of
from lsl_core.serve.detector import Detector
from lsl_core.serve.interactor import Prompt
from lsl_core.serve.looking import DetectSettings
from lsl_core.serve.selecting import select_any
from lsl_core.services.models import pretrained, versions
from lsl_core.types import SlideWindows
from lsl_core.workspace import Workspace
from lsl_core.workspace.images import as_rgb

if TYPE_CHECKING:
    from lsl_core.models.foundation.selector import Selector

_LOG = logging.getLogger(__name__)


def create(
    model: str,
    workspace: str = ".",
    conf: float | None = None,
    mask_threshold: float = 0.5,
    slidewindow: bool = False,
    width: int = 1024,
    height: int = 1024,
    overlap: int = 150,
    draw: str | None = None,
    interactive: bool = False,
    clicks: str | None = None,
) -> DetectFunction | SelectFunction:
    """Return the function; cvat-cli calls this with what follows each `-p`.

    Args:
        model: name of a model, for its newest version, or of a version.
        workspace: its folder, or one inside it.
        conf: lowest score, for all labels; the model's own when None. cvat-cli's
            --conf-threshold wins.
        mask_threshold: lowest probability of a pixel of a mask.
        slidewindow: look at large images in windows.
        width: of a window, pixels.
        height: of a window, pixels.
        overlap: shared strip of windows, pixels.
        draw: mask, polygon or rectangle; as the model gives them when None.
        interactive: answer clicks instead of finding everything.
        clicks: pretrained weights that answer them, instead of the model's own masks.
    """
    place = Workspace.open(Path(workspace))
    card = versions.get_model(place, model)
    settings = place.settings().inference
    detector = Detector.open(
        place.models / card.id,
        device=settings.device,
        cache=PredictionCache(place.predictions, max_bytes=int(settings.cache_gb * 1e9)),
        floor_score=settings.floor_score,
        batch_size=settings.batch_size,
    )
    slide = SlideWindows(width, height, overlap) if slidewindow else None
    asked = DetectSettings(conf, mask_threshold, slide)
    if interactive:
        return SelectFunction(detector, slide, _selector(place, clicks))
    drawing = drawing_of(card)
    if draw is not None:
        if draw not in {kind.value for kind in Drawing}:
            raise UserInput(f'"{draw}" cannot be drawn.', hint="One of: mask, polygon, rectangle.")
        drawing = Drawing(draw) if drawing is Drawing.MASK else drawing
    return DetectFunction(detector, asked, drawing)


def _selector(workspace: Workspace, name: str | None) -> Selector | None:
    if name is None:
        return None
    # loads transformers, seconds: only on use
    from lsl_core.models.foundation.selector import Selector

    device = workspace.settings().inference.device
    return Selector.open(pretrained.segmenter(workspace, name), device=device)


class DetectFunction:
    """A `cvat_sdk.auto_annotation.DetectionFunction`."""

    def __init__(self, detector: Detector, settings: DetectSettings, drawing: Drawing) -> None:
        self._detector = detector
        self._settings = settings
        self._drawing = drawing
        self.spec = native.detection_spec(detector.card.labels, drawing)

    def detect(self, context: Any, image: Image.Image) -> list[Any]:  # noqa: ANN401 - untyped SDK
        """Return the shapes of one image; an image that cannot be looked at has none.

        One bad image ends no run of a whole task: it is named in the log.
        """
        settings, drawing = self._settings, self._drawing
        if context.conf_threshold is not None:
            settings = DetectSettings(
                context.conf_threshold, settings.mask_threshold, settings.slide
            )
        if context.conv_mask_to_poly and drawing is Drawing.MASK:
            drawing = Drawing.POLYGON
        try:
            found = self._detector.detect(_rgb(image), settings, name=context.frame_name)
        except (UserInput, OSError) as error:
            _LOG.error("%s has no shapes: %s", context.frame_name, error)
            return []
        return native.detected_shapes(found, self._detector.card.labels, drawing)


class SelectFunction:
    """A `cvat_sdk.auto_annotation.InteractionFunction`: clicks or a box become one mask."""

    def __init__(
        self, detector: Detector, slide: SlideWindows | None, selector: Selector | None = None
    ) -> None:
        self._detector = detector
        self._slide = slide
        self._selector = selector
        self.spec = native.interaction_spec()

    def preprocess_image(self, _: Any, image: Image.Image) -> Pixels:  # noqa: ANN401
        """Decode once; the model's answer is kept as well, by content."""
        return _rgb(image)

    def detect(self, _: Any, pp_image: Pixels, prompts: Any) -> list[Any]:  # noqa: ANN401
        """Return the mask of the object that was pointed at, or nothing."""
        box = prompts.bounding_box
        prompt = Prompt(
            tuple(prompts.pos_points),
            tuple(prompts.neg_points),
            (*box[0], *box[1]) if box else None,
        )
        try:
            mask = select_any(self._selector, self._detector, pp_image, prompt, slide=self._slide)
        except UserInput as error:
            _LOG.error("nothing was selected: %s", error)
            return []
        return native.selected_shape(mask)


def _rgb(image: Image.Image) -> Pixels:
    """Return an image as the product's own decoder would give it: upright, RGB, 8 bit."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "I;16", "I;16B", "F"):
        return as_rgb(np.asarray(upright))
    if upright.mode == "CMYK" and image.format == "JPEG":  # Pillow rounds, OpenCV does not
        inks = np.asarray(upright).astype(np.int32)  # (h, w, 4)
        light = 255 - inks[:, :, 3:]
        return (light - ((inks[:, :, :3] * light) >> 8)).astype(np.uint8)
    return np.asarray(upright.convert("RGB"), np.uint8)
