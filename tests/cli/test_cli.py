from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lsl_core.cli.main import run
from lsl_core.cli.progress import TerminalProgress
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox
from lsl_core.sandbox.scenes import SceneKind, draw_scene
from lsl_core.workspace.images import encode_rgb


def lsl(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    entries, annotations = [], []
    for number in range(3):
        scene = draw_scene(SceneKind.CELLS, seed=number, image_hw=(160, 200))
        (folder / f"{number}.png").write_bytes(encode_rgb(scene.pixels, suffix=".png"))
        entries.append({"id": number, "file_name": f"{number}.png", "width": 200, "height": 160})
        for x1, y1, x2, y2 in scene.instances.boxes.tolist():
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": 1,
                 "bbox": [x1, y1, x2 - x1, y2 - y1]}
            )  # fmt: skip
    document = {
        "images": entries,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    folder = tmp_path / "w"
    assert lsl(capsys, "create", folder, "--task", "fsod")[0] == 0
    monkeypatch.chdir(folder)
    return folder


def test_the_whole_job_from_the_command_line(
    tmp_path: Path, workspace: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = lsl(
        capsys, "import", "--name", "cells", "--image", images,
        "--annotation", tmp_path / "coco.json",
    )  # fmt: skip
    assert (code, "3 images" in out) == (0, True)
    assert lsl(capsys, "import", "--name", "raw", "--image", images, "--unlabeled")[0] == 0
    code, out, err = lsl(
        capsys, "auto-label", "--train", "cells", "--test", "raw", "--iter", 30, "--conf", 0.1,
        "--slidewindow", "--slidewindow-size", 128, 128, "--overlap", 32,
    )  # fmt: skip
    assert code == 0, err
    assert 'Model "cells-v1"' in out
    _, out, _ = lsl(capsys, "ls")
    assert [line.split()[0] for line in out.splitlines()] == ["source", "source", "model"]
    assert lsl(capsys, "preview", "--train", "cells", "--name", "raw", "--num", 2)[0] == 0
    drawn = list((workspace / "preview" / "raw").iterdir())
    assert len(drawn) == 2
    target = tmp_path / "out"
    assert lsl(capsys, "export", "--train", "cells", "--name", "raw", "--output", target)[0] == 0
    document = json.loads((target / "annotations.json").read_text())
    assert len(document["images"]) == 3

    with Sandbox(tmp_path / "sandbox") as sandbox:
        code, out, _ = lsl(
            capsys, "cvat-setup", "--url", sandbox.url, "--cvat-username", DEMO_USER,
            "--cvat-password", DEMO_PASSWORD,
        )  # fmt: skip
        assert (code, "Signed in" in out) == (0, True)
        code, out, err = lsl(
            capsys, "cvat-export", "--train", "cells", "--name", "raw", "--cvat-name", "new"
        )
        assert code == 0, err
        # what people drew goes there and back; what a badly trained model finds may be nothing
        assert lsl(capsys, "cvat-export", "--name", "cells", "--cvat-name", "drawn")[0] == 0
        code, out, err = lsl(capsys, "import", "--name", "back", "--cvat-task-id", 2)
        drawn = len(json.loads((tmp_path / "coco.json").read_text())["annotations"])
        assert (code, f"3 images, {drawn} objects" in out) == (0, True), err
        code, out, err = lsl(
            capsys, "cvat-inference", "--train", "cells", "--cvat-task-id", 1, "--conf", 0.1,
            "--dry-run",
        )  # fmt: skip
        assert (code, "Nothing was written" in out) == (0, True), err
        assert lsl(capsys, "undo")[0] == 0
        code, out, _ = lsl(capsys, "doctor")
        assert "FAIL" not in out


def test_rename_and_rm_and_their_mistakes(
    workspace: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lsl(capsys, "import", "--name", "raw", "--image", images, "--unlabeled")
    assert lsl(capsys, "rename", "raw", "line 2")[0] == 0
    assert lsl(capsys, "rm", "line 2")[0] == 0
    code, out, err = lsl(capsys, "rm", "line 2")
    assert (code, out) == (2, "")
    assert err.startswith('lsl: There is no source "line 2".\n     ')


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["import", "--name", "x"], 2, "one of four ways"),
        (["import", "--name", "x", "--image", "nowhere", "--unlabeled"], 2, "is no folder"),
        (["import", "--name", "x", "--cvat-task-id", "1"], 2, "No CVAT server is set up"),
        (["cvat-setup", "--url", "http://127.0.0.1:9", "--cvat-username", "a",
          "--cvat-password", "b"], 10, "127.0.0.1:9"),
        (["cvat-setup", "--url", "http://127.0.0.1:9"], 2, "Who signs in?"),
        (["cvat-setup", "--url", "ftp://a", "--cvat-username", "a"], 2, "is no server address"),
        (["auto-label", "--train", "nothing"], 2, 'no source "nothing"'),
        (["auto-label", "--train", "x", "--conf", "7"], 2, "not between 0 and 1"),
        (["auto-label", "--nonsense"], 2, "No such option"),
        (["export", "--train", "x", "--name", "y", "--output", "z"], 2, 'no model "x"'),
        (["create", "."], 2, "already is a workspace"),
        (["runs", "--log", "nope"], 2, 'no run "nope"'),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line(
    workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    got, out, err = lsl(capsys, *arguments)
    assert got == code
    assert says in err
    assert "Traceback" not in err
    assert out == ""


def test_without_a_terminal_a_step_of_nothing_that_counts_is_told_by_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with TerminalProgress() as progress:
        progress.start("CVAT makes the project", total=0, unit="")
        progress.start("CVAT prepares the images", total=1, unit="task")
        progress.start("Predicting", total=12, unit="images")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["CVAT makes the project", "CVAT prepares the images", "Predicting: 12 images"]


def test_outside_a_workspace_the_way_in_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = lsl(capsys, "ls")
    assert (code, "lsl create" in err) == (12, True)


def test_an_import_with_bad_files_takes_the_rest_and_says_so(
    workspace: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "0.png").write_bytes((images / "0.png").read_bytes()[:100])
    code, out, err = lsl(capsys, "import", "--name", "raw", "--image", images, "--unlabeled")
    assert (code, "2 images" in out) == (3, True)
    assert "0.png: 0.png is cut off" in err


def test_the_workspace_can_be_named_from_outside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "noise"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)
    (folder / "n.png").write_bytes(encode_rgb(noise, suffix=".png"))
    lsl(capsys, "create", tmp_path / "w")
    code, out, _ = lsl(
        capsys, "--workspace", tmp_path / "w", "import", "--name", "n", "--image", folder,
        "--unlabeled",
    )  # fmt: skip
    assert (code, "1 image, " in out) == (0, True)
