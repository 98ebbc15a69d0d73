"""Models that answer others: one implementation behind every door.

The core, for whoever opens a door (stable)::

    detector = Detector.open(folder, device="auto", cache=None | PredictionCache(...))
        folder: a model version with card.json and weights.safetensors; loaded once.
        Any number of threads may ask at the same time; they share batches.
    detector.detect(image_bytes, DetectSettings(threshold=None, mask_threshold=0.5, slide=None,
                    labels=None, fill_holes=False), name="a.png", timeout_s=100) -> Instances
        what a preview shows and a push draws at these settings: binary masks, or boxes.
    detector.predict(image_bytes, slide=None) -> Instances with soft masks, score >= 0.05
    detector.answer(image_bytes, settings, drawing, timeout_s=100) -> bytes
        what `detect` finds as CVAT's JSON; small images in processes of the model, if it has any
    detector.card, .device, .close(); also a context manager

    cvat_answer(instances, card.labels, drawing_of(card)) -> bytes
        the JSON text that CVAT expects of a detector function
    label_specs(card.labels, drawing) -> list: the `spec` annotation of such a function

Errors of one image (say them to the caller as 4xx, nothing else is disturbed): UserInput for bytes
that are no whole image, TooLarge; of the moment (5xx, try again): TooBusy, TooLate; ModelError.
Importing this package loads no torch; opening a detector does.
"""

from lsl_core.serve.answers import cvat_answer, drawing_of, label_specs
from lsl_core.serve.detector import Detector
from lsl_core.serve.looking import DetectSettings

__all__ = ["DetectSettings", "Detector", "cvat_answer", "drawing_of", "label_specs"]
