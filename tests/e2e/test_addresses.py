"""Every page opens at its own name."""

from pathlib import Path

import pytest

from lsl_core.services import workspaces

APP = Path(__file__).parents[2] / "app.py"


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory, serve):
    workspace = workspaces.create_workspace(tmp_path_factory.mktemp("addresses") / "belt")
    return serve(APP, LSL_WORKSPACE=str(workspace.root))


@pytest.mark.parametrize("name", ["connect", "tasks"])
def test_a_page_is_found_by_its_name(dashboard, new_page, name) -> None:
    page = new_page()
    for address, title in (("", "Connect"), (name, name.title())):
        page.goto(f"{dashboard}/{address}")  # the server knows its pages once one was shown
        page.get_by_role("heading", name=title, exact=True).wait_for()
    assert page.get_by_role("dialog").count() == 0  # Streamlit's "Page not found"
