from __future__ import annotations

from pathlib import Path

import pytest

from lsl_core.cli.main import run
from lsl_core.models import write_card
from lsl_core.services import workspaces
from lsl_core.types import Mode, ModelCard


def lsl(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        run(list(arguments))
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def test_a_removed_version_is_listed_and_brought_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = workspaces.create_workspace(tmp_path / "w", Mode.FSIS)
    monkeypatch.chdir(workspace.root)
    card = ModelCard(
        id="bolt-v1", name="bolt", family="compact", mode=Mode.FSIS, labels=("bolt",), parent=None,
        support="line", support_images=9, metrics=None, thresholds={"bolt": 0.4}, window=1024,
        scale=1.0, settings={}, weights_sha256="1" * 64, licence="yours",
        created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    (workspace.models / card.id).mkdir(parents=True)
    write_card(workspace.models / card.id, card)
    assert lsl(capsys, "models", "restore") == (0, "", "")
    assert lsl(capsys, "rm", "bolt-v1", "--model")[0] == 0
    assert lsl(capsys, "models", "list")[1] == ""
    assert lsl(capsys, "models", "restore")[1].startswith("bolt-v1 ")
    assert lsl(capsys, "models", "restore", "bolt-v1")[1] == "bolt-v1 is back.\n"
    assert lsl(capsys, "models", "list")[1].startswith("* bolt-v1")
    code, _, err = lsl(capsys, "models", "restore", "bolt-v1")
    assert code == 2
    assert 'no discarded version "bolt-v1"' in err
