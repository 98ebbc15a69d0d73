"""Which images two versions are compared on, without training either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lsl_core.models import save_model
from lsl_core.progress import NULL
from lsl_core.services import workspaces
from lsl_core.services.models import gating, training_pictures
from lsl_core.services.models.learning_sets import LearningSet
from lsl_core.services.workspaces import Workspace
from lsl_core.training import Fitted, Sample, Seen
from lsl_core.types import Comparison, Mode, ModelCard, Verdict
from tests.training.test_gate import CARD, HW, squares

BLACK = np.zeros((*HW, 3), np.uint8)
IMAGES = [Sample(name, lambda: BLACK, squares(8)) for name in ("a", "b", "c")]
HASHES = {"a": "aa", "b": "bb", "c": "cc"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspaces.create_workspace(tmp_path / "w", Mode.FSIS)


def learnt(*names: str) -> LearningSet:
    return LearningSet(("a", "b"), [s for s in IMAGES if s.name in names], [], HASHES)


def fitted(names: str, *, found: int, folds: bool = True) -> Fitted:
    """A training whose folds found that many of eight objects on each image."""
    seen = [
        Seen(name, (squares(8),), (squares(found),), fold=number if folds else 0)
        for number, name in enumerate(names, 1)
    ]
    card = replace(CARD, window=HW[1], settings={"overlap": 0})
    return Fitted({}, card, lambda card: None, tuple(seen))


def keep(workspace: Workspace, names: str, *, found: int, folds: bool = True) -> ModelCard:
    card = replace(CARD, id="old", learnt=tuple(HASHES[name] for name in names))
    if folds:
        gating.keep_found(workspace, "old", fitted(names, found=found), learnt(*names))
    return save_model(workspace.models / "old", card, {})


def beside(workspace: Workspace, parent: ModelCard, child: Fitted) -> Comparison:
    names = [one.name for one in child.seen]
    return gating.compared(workspace, child.card, parent, child, learnt(*names), NULL)


def test_versions_are_compared_on_images_that_the_folds_of_both_left_out(workspace) -> None:
    parent = keep(workspace, "ab", found=8)
    worse = beside(workspace, parent, fitted("abc", found=4))
    assert (worse.verdict, worse.num_images) == (Verdict.WORSE, 2)
    assert worse.num_seen == 0
    changes = training_pictures.changes_of(workspace, "new")
    assert [(one.name, one.right_before, one.right_after) for one in changes] == [
        ("a", 8, 4), ("b", 8, 4),
    ]  # fmt: skip
    assert beside(workspace, parent, fitted("abc", found=8)).verdict is Verdict.ALIKE
    parent = keep(workspace, "ab", found=4)
    assert beside(workspace, parent, fitted("abc", found=8)).verdict is Verdict.BETTER


def test_a_parent_without_folds_is_asked_on_images_that_it_never_learnt(
    workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(model, samples, slide, progress) -> list[Seen]:
        asked.extend(sample.name for sample in samples)
        return [Seen(s.name, (squares(8),), (squares(8),)) for s in samples]

    monkeypatch.setattr(gating, "load_model", lambda folder, device: None)
    monkeypatch.setattr("lsl_core.training.measure", answer)
    parent = keep(workspace, "ab", found=8, folds=False)
    result = beside(workspace, parent, fitted("abc", found=4))
    assert asked == ["c"]
    assert (result.verdict, result.num_images) == (Verdict.WORSE, 1)


def test_a_parent_that_learnt_every_image_is_not_compared(workspace) -> None:
    parent = keep(workspace, "abc", found=8, folds=False)
    assert beside(workspace, parent, fitted("abc", found=4)).verdict is Verdict.UNKNOWN


def test_a_broken_file_of_folds_counts_as_none(workspace) -> None:
    parent = keep(workspace, "abc", found=8)
    path = workspace.models / "old" / "folds.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    assert beside(workspace, parent, fitted("abc", found=4)).verdict is Verdict.UNKNOWN
