"""The recorded contract of real CVAT servers, played against the sandbox."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from contract_replay import PASSWORDS, Replay, records_in
from sandbox_helpers import Http, draw_images

from lsl_core.sandbox import Sandbox

#: Steps of which only the status is compared, each with the reason.
LOOSE = {
    "annotation formats": "the sandbox reads and writes two formats, not thirty",
    "server plugins": "the sandbox says that it has no AI tools",
    "requests list": "how many polls and restores came before differs",
    "lambda functions, no gateway": "the text is urllib3's and names its objects",
    "lambda request create, no gateway": "the text is urllib3's and names its objects",
}

#: The second session on a server that still held the tasks of the first.
_MORE = "the recording's server held an earlier session's projects and tasks"
LOOSE_SECOND = {
    "project list page": _MORE,
    "project list filter json-logic": _MORE,
    "project search": _MORE,
    "page_size 1": _MORE,
    "page_size 100000": _MORE,
}


def contract() -> Path:
    default = Path(__file__).parents[3] / "shared"
    return Path(os.environ.get("LSL_SHARED", default)) / "cvat-contract"


def coco_file(*, prefix: str = "", label: str = "box") -> bytes:
    """Write what the recording imported: a box and a mask on frame 4, and so on."""
    names = ["box", "cell", "poly"]
    images = [
        {"id": n + 1, "file_name": f"{prefix}img_{n:03d}.png", "width": 96, "height": 72}
        for n in range(6)
    ]
    found: list[dict] = []

    def add(frame: int, category: int, **rest) -> None:
        found.append({"id": len(found) + 1, "image_id": frame + 1, "category_id": category, **rest})

    add(4, 1, bbox=[25, 29, 13, 13], segmentation=[], iscrowd=0)
    add(4, 2, bbox=[0, 0, 0, 0], segmentation=disc(9, 17, 20, 35, 38), iscrowd=1)
    add(0, 2, bbox=[0, 0, 0, 0], segmentation=disc(10, 6, 9, 26, 29), iscrowd=1)
    add(
        1,
        3,
        bbox=[0, 0, 0, 0],
        segmentation=[
            [9, 28, 20, 28, 20, 39, 9, 39],
            [35, 38, 50, 38, 50, 53, 35, 53],
        ],
        iscrowd=0,
    )
    add(2, 1, bbox=[54, 46, 19, 19], segmentation=[], iscrowd=0)
    for item in found:
        if item["category_id"] == 2:
            item["attributes"] = {"conf": 50.0}
    names[0] = label
    categories = [{"id": n, "name": name} for n, name in enumerate(names, 1)]
    return json.dumps({"images": images, "categories": categories, "annotations": found}).encode()


def recorded_masks() -> dict[tuple[int, int], list[float]]:
    """Find the masks that the recording's import ended in, by their box's corner."""
    for folder in sorted(contract().glob("2.3*.0")):
        for record in records_in(folder):
            if record["step"] == "annotations get after COCO import":
                shapes = record["response"]["body"]["json"]["shapes"]
                masks = [shape["points"] for shape in shapes if shape["type"] == "mask"]
                return {(int(points[-4]), int(points[-3])): points for points in masks}
    return {}


def disc(_: int, left: int, top: int, right: int, bottom: int) -> dict:
    """Turn one recorded mask into COCO's RLE, the slow and plain way."""
    import numpy as np

    points = recorded_masks()[left, top]
    runs = np.asarray(points[:-4], int)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    full = np.zeros((72, 96), bool)
    full[top : bottom + 1, left : right + 1] = flat.reshape(bottom - top + 1, right - left + 1)
    counts, last = [0], False
    for bit in full.T.reshape(-1):
        if bit != last:
            counts.append(0)
            last = bit
        counts[-1] += 1
    return {"counts": counts, "size": [72, 96]}


@pytest.mark.parametrize("recording", ["2.30.0", "2.39.0", "2.30.0-by-sdk-2.30.0"])
def test_the_sandbox_answers_as_a_real_server_did(recording, tmp_path):
    folder = contract() / recording
    if not folder.is_dir():
        pytest.skip(f"no recorded contract at {folder} (set LSL_SHARED)")
    files = {path.name: path.read_bytes() for path in draw_images(tmp_path / "images", 6)}
    files["notimage.png"] = b"this is no image."
    files["broken.json"] = b'{"images": ['
    files["instances.json"] = coco_file()
    files["bad_label.json"] = coco_file(label="no_such_label")
    files["bad_files.json"] = coco_file(prefix="zz_")
    with Sandbox(
        tmp_path / "sandbox", version=recording.partition("-")[0], users={"admin": "admin"}
    ) as sandbox:
        sandbox.add_user("lead", PASSWORDS["lead"], full_name="Lead X")
        sandbox.add_user("other", PASSWORDS["other"])
        sandbox.add_organisation("lab", "lead", name="Lab")
        loose = LOOSE | LOOSE_SECOND if "-by-" in recording else LOOSE
        replay = Replay(Http(sandbox.url), files, loose)
        for record in records_in(folder):
            replay.play(record)
    assert not replay.differences, "\n".join(replay.differences)
