"""A first pass before the first training, and what the gate makes of the two."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsl_core.cli.main import run
from lsl_core.progress import NULL
from lsl_core.services import workspaces
from lsl_core.services.models import training, versions
from lsl_core.services.workspaces import Workspace
from lsl_core.types import Mode
from tests.training.easy import save_easy


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = workspaces.create_workspace(tmp_path / "w", Mode.FSIS)
    save_easy(made, tmp_path, 3)
    return made


def ids(workspace: Workspace) -> set[str]:
    return {card.id for card in versions.list_models(workspace)}


def test_the_first_training_of_a_name_has_a_first_pass_to_look_at_meanwhile(workspace) -> None:
    order = {"source": "easy", "name": "easy", "mode": "fsis", "minutes": None, "iterations": 1}
    result = training.run_train(workspace, progress=NULL, **order)
    assert ids(workspace) == {"easy-first1", "easy-v1"}
    first, trained = (versions.get_model(workspace, n) for n in ("easy-first1", "easy-v1"))
    assert first.is_first_pass
    assert (first.parent, trained.parent, trained.is_first_pass) == (None, "easy-first1", False)
    assert (trained.comparison.parent, trained.comparison.num_images) == ("easy-first1", 3)
    assert trained.comparison.before == pytest.approx(first.metrics.ap, abs=0.05)
    assert result["model"] == "easy-v1"
    assert versions.get_model(workspace, "easy").id == "easy-first1", "one step learns nothing"


def test_a_command_makes_a_first_pass_alone_and_labels_with_it(
    workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workspace.root)
    with pytest.raises(SystemExit) as exit_:
        run(["auto-label", "--train", "easy", "--first-pass", "--test", "easy"])
    out, err = capsys.readouterr()
    assert not exit_.value.code, err
    assert 'Model "easy-first1": AP ' in out
    assert "3 images with" in out
    assert '"easy": 3 images' in out
    assert ids(workspace) == {"easy-first1"}
