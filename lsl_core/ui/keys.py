"""Keys of widgets and of session state: one name for each thing, in one place."""

from __future__ import annotations

VIEWER = "lsl-viewer"
SERVE_TEST_VIEWER = "lsl-serve-test-viewer"
REVIEW_VIEWER = "lsl-review-viewer"
