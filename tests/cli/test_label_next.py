from __future__ import annotations

import json
from pathlib import Path

import pytest

from lsl_core.cli.main import run
from lsl_core.sandbox.scenes import SceneKind, draw_scene
from lsl_core.services import sourcing, workspaces
from lsl_core.services.workspaces import Workspace
from lsl_core.types import Mode
from lsl_core.workspace.images import encode_rgb


def lsl(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with three labelled images, and three that nobody has labelled."""
    annotations = []
    for seed in range(6):
        scene = draw_scene(SceneKind.CELLS, seed=seed, image_hw=(120, 160))
        folder = tmp_path / ("labelled" if seed < 3 else "raw")
        folder.mkdir(exist_ok=True)
        (folder / f"{seed}.png").write_bytes(encode_rgb(scene.pixels, suffix=".png"))
        annotations += [
            {"id": 100 * seed + i, "image_id": seed, "category_id": 1,
             "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for i, (x1, y1, x2, y2) in enumerate(scene.instances.boxes.tolist())
            if seed < 3
        ]  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.png", "width": 160, "height": 120} for i in range(3)]
    document = {
        "images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]
    }  # fmt: skip
    (tmp_path / "coco.json").write_text(json.dumps(document))
    workspace = workspaces.create_workspace(tmp_path / "w", Mode.FSOD)
    monkeypatch.chdir(workspace.root)
    sourcing.import_coco(
        workspace, name="cells", images=tmp_path / "labelled", annotation=tmp_path / "coco.json"
    )
    sourcing.import_unlabelled(workspace, name="raw", images=tmp_path / "raw")
    return workspace


def test_next_prints_a_table_and_the_same_as_json(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lsl(capsys, "auto-label", "--train", "cells", "--iter", 20)[0] == 0
    code, out, err = lsl(capsys, "next", "--train", "cells", "--test", "raw")
    assert code == 0, err
    head, *rows = out.splitlines()
    assert head.split() == ["rank", "image", "score", "why"]
    assert sorted(row.split()[1] for row in rows) == ["3.png", "4.png", "5.png"]
    code, out, _ = lsl(capsys, "next", "--train", "cells", "--test", "raw", "--num", 2, "--json")
    found = json.loads(out)
    assert [one["name"] for one in found] == [row.split()[1] for row in rows[:2]]
    assert [one["rank"] for one in found] == [1, 2]
    assert found[0]["why"] in rows[0]
    code, out, err = lsl(capsys, "next", "--train", "cells", "--test", "cells")
    assert (code, out) == (2, "")
    assert "labelled already" in err


@pytest.mark.parametrize("which", [[], ["--test", "raw", "--cvat-task-id", "1"]])
def test_next_wants_one_place_to_look_at(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], which: list[str]
) -> None:
    code, _, err = lsl(capsys, "next", "--train", "cells", *which)
    assert code == 2
    assert "one of --test and --cvat-task-id" in err
