"""The canvas viewer: an image with masks, thresholds that move in the browser, decisions.

Usage: `message = pack(pixels, instances, labels, image_id=...)` once per image, then
`state = viewer(message, key=...)` on every run of the page, then `shown(instances, state)`.
"""

from lsl_core.types import Decision
from lsl_core.ui.viewer.component import viewer
from lsl_core.ui.viewer.message import pack
from lsl_core.ui.viewer.state import ViewerState, shown, shown_mask

__all__ = ["Decision", "ViewerState", "pack", "shown", "shown_mask", "viewer"]
