from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lsl_core.errors import UserInput
from lsl_core.models import write_card
from lsl_core.services import workspaces
from lsl_core.services.models import versions
from lsl_core.services.workspaces import Workspace
from lsl_core.types import Comparison, Metrics, Mode, ModelCard, Verdict


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspaces.create_workspace(tmp_path / "w", Mode.FSIS)


def keep(
    workspace: Workspace, number: int, *, ap: float, verdict: Verdict | None = None
) -> ModelCard:
    parent = f"bolt-v{number - 1}" if number > 1 else None
    card = ModelCard(
        id=f"bolt-v{number}", name="bolt", family="compact", mode=Mode.FSIS, labels=("bolt",),
        parent=parent, support="line", support_images=9,
        metrics=Metrics(ap, ap, ap, {"bolt": ap}, 3, 40, "masks"), thresholds={"bolt": 0.4},
        window=1024, scale=1.0, settings={}, weights_sha256=f"{number:064d}", licence="yours",
        created=f"2025-01-0{number}T00:00:00+00:00",
        comparison=Comparison(verdict, str(parent), "AP", 0.8, ap, 3) if verdict else None,
    )  # fmt: skip
    (workspace.models / card.id).mkdir(parents=True)
    write_card(workspace.models / card.id, card)
    return card


def gate(workspace: Workspace, card: ModelCard, *, keep_anyway: bool = False) -> str:
    versions.admit(workspace, card, keep_anyway=keep_anyway)
    return versions.get_model(workspace, "bolt").id


def test_a_worse_version_is_kept_but_its_parent_stays_in_use(workspace) -> None:
    assert gate(workspace, keep(workspace, 1, ap=0.8)) == "bolt-v1"
    assert gate(workspace, keep(workspace, 2, ap=0.3, verdict=Verdict.WORSE)) == "bolt-v1"
    assert gate(workspace, keep(workspace, 3, ap=0.79, verdict=Verdict.ALIKE)) == "bolt-v3"
    assert versions.current_ids(workspace) == {"bolt-v3"}
    assert len(versions.list_models(workspace)) == 3


def test_a_worse_version_is_used_when_it_is_wanted_all_the_same(workspace) -> None:
    gate(workspace, keep(workspace, 1, ap=0.8))
    worse = keep(workspace, 2, ap=0.3, verdict=Verdict.WORSE)
    assert gate(workspace, worse, keep_anyway=True) == "bolt-v2"


@pytest.mark.parametrize(
    ("verdict", "used"),
    [
        (Verdict.BETTER, "bolt-v2"),
        (Verdict.ALIKE, "bolt-v1"),
        (Verdict.WORSE, "bolt-v1"),
        (Verdict.UNKNOWN, "bolt-v1"),
        (None, "bolt-v1"),
    ],
)
def test_a_first_pass_takes_the_place_of_a_trained_version_only_where_it_is_better(
    workspace, verdict: Verdict | None, used: str
) -> None:
    gate(workspace, keep(workspace, 1, ap=0.8))
    first_pass = replace(keep(workspace, 2, ap=0.8, verdict=verdict), settings={"first_pass": True})
    assert gate(workspace, first_pass) == used


def test_a_first_pass_takes_the_place_of_another_unless_it_is_worse(workspace) -> None:
    first = replace(keep(workspace, 1, ap=0.8), settings={"first_pass": True})
    write_card(workspace.models / first.id, first)
    gate(workspace, first)
    again = replace(
        keep(workspace, 2, ap=0.8, verdict=Verdict.ALIKE), settings={"first_pass": True}
    )
    assert gate(workspace, again) == "bolt-v2"


def test_first_passes_are_numbered_apart(workspace) -> None:
    keep(workspace, 1, ap=0.8)
    assert versions.claim(workspace, "bolt", first_pass=True) == "bolt-first1"
    assert versions.claim(workspace, "bolt") == "bolt-v2"


def test_a_worse_version_never_takes_over_where_no_choice_was_recorded_yet(workspace) -> None:
    keep(workspace, 1, ap=0.8)
    assert gate(workspace, keep(workspace, 2, ap=0.3, verdict=Verdict.WORSE)) == "bolt-v1"


def test_any_version_can_be_put_back_and_every_choice_is_remembered(workspace) -> None:
    gate(workspace, keep(workspace, 1, ap=0.8))
    gate(workspace, keep(workspace, 2, ap=0.9, verdict=Verdict.BETTER))
    versions.make_current(workspace, "bolt-v1")
    assert versions.get_model(workspace, "bolt").id == "bolt-v1"
    chosen = [choice.model for choice in versions.choices(workspace, "bolt")]
    assert chosen == ["bolt-v1", "bolt-v2", "bolt-v1"]


def test_removing_the_version_in_use_gives_the_one_before_it(workspace) -> None:
    gate(workspace, keep(workspace, 1, ap=0.8))
    gate(workspace, keep(workspace, 2, ap=0.9, verdict=Verdict.BETTER))
    versions.remove_model(workspace, "bolt-v2")
    assert versions.get_model(workspace, "bolt").id == "bolt-v1"


def test_a_named_version_is_in_use_under_its_new_name_and_the_others_under_the_old(
    workspace,
) -> None:
    gate(workspace, keep(workspace, 1, ap=0.8))
    gate(workspace, keep(workspace, 2, ap=0.9, verdict=Verdict.BETTER))
    versions.rename_model(workspace, "bolt-v2", "bolt good")
    assert versions.get_model(workspace, "bolt good").id == "bolt-v2"
    assert versions.get_model(workspace, "bolt").id == "bolt-v1"
    with pytest.raises(UserInput, match="no model"):
        versions.rename_model(workspace, "nut-v1", "x")


def test_the_lineage_ends_where_a_parent_is_gone(workspace) -> None:
    for number in (1, 2, 3):
        keep(workspace, number, ap=0.8)
    line = [card.id for card in versions.lineage(workspace, "bolt-v3")]
    assert line == ["bolt-v3", "bolt-v2", "bolt-v1"]
    versions.remove_model(workspace, "bolt-v2")
    assert [card.id for card in versions.lineage(workspace, "bolt-v3")] == ["bolt-v3"]


def test_before_any_choice_the_best_measured_version_answers(workspace) -> None:
    keep(workspace, 1, ap=0.8)
    second = keep(workspace, 2, ap=0.5)
    assert versions.get_model(workspace, "bolt").id == "bolt-v1"
    write_card(workspace.models / second.id, replace(second, metrics=None))
    assert versions.get_model(workspace, "bolt").id == "bolt-v1"


def test_a_discarded_version_comes_back_into_use_and_its_id_is_not_given_again(workspace) -> None:
    gate(workspace, keep(workspace, 1, ap=0.8))
    gate(workspace, keep(workspace, 2, ap=0.9, verdict=Verdict.BETTER))
    versions.remove_model(workspace, "bolt-v2")
    assert [one.card.id for one in versions.discarded(workspace)] == ["bolt-v2"]
    assert versions.claim(workspace, "bolt") == "bolt-v3"
    assert versions.bring_back(workspace, "bolt-v2").id == "bolt-v2"
    assert versions.discarded(workspace) == []
    assert versions.get_model(workspace, "bolt").id == "bolt-v2"
    with pytest.raises(UserInput, match="no discarded version"):
        versions.bring_back(workspace, "bolt-v2")


def test_what_lies_in_the_trash_and_is_no_version_is_left_alone(workspace) -> None:
    keep(workspace, 1, ap=0.8)
    folder = versions.remove_model(workspace, "bolt-v1")
    (folder / "card.json").write_text("{")
    (folder.parent / "notes of ana").mkdir()
    assert versions.discarded(workspace) == []
    assert versions.claim(workspace, "bolt") == "bolt-v2", "its previews still know bolt-v1"


def test_a_version_is_decided_once_somebody_kept_named_or_chose_it(workspace) -> None:
    first, second = keep(workspace, 1, ap=0.8), keep(workspace, 2, ap=0.3, verdict=Verdict.WORSE)
    gate(workspace, first)
    gate(workspace, second)
    assert not versions.is_decided(workspace, first)
    versions.keep(workspace, first.id, "bolt")
    assert versions.is_decided(workspace, first)
    named = versions.keep(workspace, second.id, "bolt dark")
    assert versions.is_decided(workspace, named)
    assert versions.get_model(workspace, "bolt dark").id == second.id
    assert versions.get_model(workspace, "bolt").id == first.id
