"""Sample images with known objects, drawn by code: the same seed draws the same pixels."""

from lsl_core.sandbox.scenes.catalogue import (
    SCENE_LABELS,
    Scene,
    SceneFrame,
    SceneKind,
    draw_scene,
    labelled_frames,
    large_frames,
)

__all__ = [
    "SCENE_LABELS",
    "Scene",
    "SceneFrame",
    "SceneKind",
    "draw_scene",
    "labelled_frames",
    "large_frames",
]
