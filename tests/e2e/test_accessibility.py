"""axe-core over every page: nothing serious or critical, in light and in dark."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lsl_core.sandbox import Sandbox
from lsl_core.services import workspaces
from lsl_core.services.backups import backing_up, repositories
from lsl_core.services.backups.repositories import Tier

sys.path.insert(0, str(Path(__file__).parents[1] / "app"))  # its world of tasks and previews

from app_world import World

APP = Path(__file__).parents[2] / "app.py"
PAGES = ("connect", "tasks", "sources", "train", "preview", "push", "review", "serve", "backups",
         "activity")  # fmt: skip
GROUND = "() => getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
#: Streamlit's own navigation puts headings between the items of one list; no setting mends that.
NOT_OURS = {rule: "[data-testid=stSidebarNav]" for rule in ("list", "listitem")}


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, serve):
    """A dashboard in which every page has something to show."""
    folder = tmp_path_factory.mktemp("world")
    with Sandbox(folder / "sandbox") as sandbox:
        world = World.signed_in(sandbox, workspaces.create_workspace(folder / "belt"))
        task = world.add_task("belt", labelled=True)
        world.add_source("parts")
        task.predict(world.add_model())
        repository = repositories.open_repository(world.workspace, make=True)
        backing_up.back_up_now(repository, world.session, Tier.FULL, reason="nightly")
        yield serve(APP, LSL_WORKSPACE=str(world.workspace.root))
        world.session.close()


@pytest.fixture(scope="module")
def axe():
    library = pytest.importorskip("axe_playwright_python.sync_playwright")
    return library.Axe()


def settled(page) -> None:
    """Wait until the page has drawn itself and nothing grows any more."""
    page.locator("[data-testid=stMain] h1").wait_for()
    page.wait_for_function(
        "() => !document.querySelector('[data-testid=stStatusWidget], [data-testid=stSkeleton]')"
    )
    page.wait_for_timeout(500)


def findings(axe, page) -> list[str]:
    """Return what is serious, one line for each element."""
    found = []
    for violation in axe.run(page).response["violations"]:
        if violation["impact"] not in ("serious", "critical"):
            continue
        for node in violation["nodes"]:
            where = str(node["target"][-1])
            if not is_streamlits(page, violation["id"], where):
                found.append(f"{violation['id']}: {where}: {node['html'][:200]}")
    return found


def is_streamlits(page, rule: str, where: str) -> bool:
    around = NOT_OURS.get(rule)
    if around is None:
        return False
    inside = "(element, around) => element.closest(around) !== null"
    return page.locator(where).first.evaluate(inside, around)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_serious_finding(dashboard, new_page, axe, name) -> None:
    page = new_page(color_scheme="light")
    page.goto(f"{dashboard}/{name}")
    settled(page)
    light = page.evaluate(GROUND)
    assert findings(axe, page) == []
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => ({GROUND})() !== light", arg=light)
    settled(page)
    assert findings(axe, page) == []
