"""Pretrained weights from the command line: list, pull, check, tune, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsl_core.cli.main import run
from tests.cli.test_cli import images, workspace  # noqa: F401 - fixtures

IMPORT = ("import", "--name", "cells", "--image")


def lsl(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def test_weights_of_a_folder_are_pulled_listed_and_checked_until_they_change(
    workspace: Path,  # noqa: F811
    tiny: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = lsl(capsys, "models", "list", "--pretrained")
    assert code == 0
    assert "rf-detr-medium" in out
    assert "Apache-2.0" in out
    assert "Commit de431c4043854a71d8101e17995dfe596bf101a5" in out
    source = tiny["detector"]
    code, out, _ = lsl(capsys, "models", "pull", "mine", "--from", source, "--licence", "CC0")
    assert code == 0
    assert "--base mine" in out
    assert "here, from the folder" in lsl(capsys, "models", "list", "--pretrained")[1]
    assert lsl(capsys, "models", "check")[:2] == (0, "mine: as it was pulled\n")
    weights = workspace / ".lsl" / "pretrained" / "mine" / "model.safetensors"
    *kept, last = weights.read_bytes()
    weights.unlink()  # it may be the very file of the folder
    weights.write_bytes(bytes([*kept, last ^ 1]))
    code, out, err = lsl(capsys, "models", "check", "mine")
    assert code == 3
    assert "Pull them again" in err


def test_a_detector_is_tuned_and_the_model_says_what_it_stands_on(
    workspace: Path,  # noqa: F811
    images: Path,  # noqa: F811
    tiny: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert lsl(capsys, *IMPORT, images, "--annotation", images.parent / "coco.json")[0] == 0
    train = ("auto-label", "--train", "cells", "--family", "foundation", "--iter", 2)
    code, _, err = lsl(capsys, *train)
    assert code == 13
    assert "lsl models pull rf-detr-medium" in err
    lsl(capsys, "models", "pull", "mine", "--from", tiny["detector"], "--licence", "CC0")
    code, out, err = lsl(capsys, *train, "--base", "mine")
    assert code == 0, err
    out = lsl(capsys, "models", "show", "cells")[1]
    assert "Tuned from    mine" in out
    assert "CC0" in out


def test_a_base_is_for_foundation_models_only(
    workspace: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, err = lsl(capsys, "auto-label", "--train", "cells", "--base", "sam-base")
    assert code == 2
    assert "--family foundation" in err
