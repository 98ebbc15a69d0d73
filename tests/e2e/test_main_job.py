"""The main job as a person does it, in a real browser against the sandbox."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lsl_core import cvat
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox
from lsl_core.services import connections, workspaces
from lsl_core.services.connections import PasswordLogin
from lsl_core.services.labelling import previewing, pushing

sys.path.insert(0, str(Path(__file__).parents[1] / "app"))  # its world of tasks and previews

from app_world import World

APP = Path(__file__).parents[2] / "app.py"


@pytest.fixture
def world(tmp_path: Path):
    """A preview of a task, in a workspace that nobody is signed in from yet."""
    with Sandbox(tmp_path / "sandbox") as sandbox:
        login = PasswordLogin(DEMO_USER, DEMO_PASSWORD)
        session = connections.sign_in(login, url=sandbox.url)
        yield World(workspaces.create_workspace(tmp_path / "belt"), session)
        session.close()


def until(is_so: Callable[[], bool], page, *, seconds: float = 20) -> None:
    """Wait for something outside the browser."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        page.wait_for_timeout(100)


def connect(page, url: str) -> None:
    page.get_by_label("Server", exact=True).fill(url)
    page.get_by_label("User", exact=True).fill(DEMO_USER)
    page.locator("input[type=password]").fill("wrong")
    page.get_by_role("button", name="Connect").click()
    page.get_by_text('does not accept the password of "demo"').wait_for()
    page.locator("input[type=password]").fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Connect").click()
    page.get_by_text("What comes next").wait_for()


def shown(page) -> int:
    """Return the viewer's own count of what it shows, -1 while it still decodes the image."""
    words = page.locator("[data-id=total]").inner_text().split()
    return int(words[0].replace(",", "")) if words else -1


def counted(world: World, preview_id: str, frame: int) -> int:
    """Return the same count by Python's rule, from what the workspace keeps."""
    info = previewing.get_preview(world.workspace, preview_id)
    found = previewing.frames(world.workspace, preview_id)[frame]
    everything = previewing.frame_instances(world.workspace, info, found)
    return len(previewing.view_of(info, found).of(everything))


def drag_threshold(page, to: float) -> None:
    slider = page.locator("[data-id=range]")
    box = slider.bounding_box()
    low, high, now = (float(slider.evaluate(f"e => e.{p}")) for p in ("min", "max", "value"))

    def x(value: float) -> float:
        return box["x"] + 10 + (box["width"] - 20) * (value - low) / (high - low)

    y = box["y"] + box["height"] / 2
    page.mouse.move(x(now), y)
    page.mouse.down()
    page.mouse.move((x(now) + x(to * 100)) / 2, y, steps=5)
    page.mouse.move(x(to * 100), y, steps=5)
    page.mouse.up()


def shapes(world: World, task_id: int) -> list[dict]:
    return cvat.task_annotations(world.session, task_id)["shapes"]


def test_connect_preview_drag_push_undo(world, serve, new_page) -> None:
    world.add_task("another one")
    task = world.add_task("belt, line 2", frames=2)
    info = task.predict(world.add_model())
    page = new_page()
    page.goto(serve(APP, LSL_WORKSPACE=str(world.workspace.root)))
    connect(page, world.session.url)

    page.get_by_role("link", name="Tasks", exact=True).click()
    page.get_by_role("textbox", name="Search").fill("line 2")
    page.get_by_text(f"{task.info.id} · belt, line 2").wait_for()
    page.get_by_text("1 of 2 tasks").wait_for()
    page.get_by_role("button", name="Preview", exact=True).click()
    page.locator("canvas.lsl-viewer").wait_for()
    page.wait_for_url(re.compile(r"frame=\d"))

    frame = int(re.search(r"frame=(\d+)", page.url).group(1))
    look_at_a_frame(page, world, info.id, frame)
    go_to_the_other_frame(page, world, info.id, 1 - frame)
    total = counted(world, info.id, 0) + counted(world, info.id, 1)
    page.get_by_text(f"Whole task: {total} objects shown").wait_for()
    push_and_undo(page, world, task.info.id, total)


def look_at_a_frame(page, world: World, preview_id: str, frame: int) -> None:
    """Drag the threshold, compare with CVAT, reject an object; the counts agree all the time."""
    until(lambda: shown(page) == counted(world, preview_id, frame), page)
    before = shown(page)
    drag_threshold(page, 0.8)

    def highest() -> float:
        return max(previewing.get_preview(world.workspace, preview_id).thresholds.values())

    until(lambda: highest() > 0.7, page)
    until(lambda: shown(page) == counted(world, preview_id, frame), page)
    assert 0 < shown(page) < before

    page.get_by_text("Show CVAT annotations").click()
    page.get_by_role("button", name="In CVAT (0)", pressed=True).wait_for()
    drag_threshold(page, 0.75)
    page.keyboard.press("Tab")
    page.keyboard.press("x")
    until(lambda: bool(previewing.frames(world.workspace, preview_id)[frame].decisions), page)
    assert shown(page) == counted(world, preview_id, frame)


def go_to_the_other_frame(page, world: World, preview_id: str, other: int) -> None:
    """Walk by keys, right after a drag, without a click elsewhere."""
    drag_threshold(page, 0.7)
    first = 1 - other
    walk = (
        ("f", "2 of 2", other),
        ("d", "1 of 2", first),
        ("ArrowRight", "2 of 2", other),
        ("ArrowLeft", "1 of 2", first),
    )
    for key, place, frame in walk:
        page.keyboard.press(key)
        page.get_by_text(place).wait_for()
        page.wait_for_url(re.compile(rf"frame={frame}"))
        until(lambda frame=frame: shown(page) == counted(world, preview_id, frame), page)


def push_and_undo(page, world: World, task_id: int, total: int) -> None:
    page.get_by_role("button", name="Go to Push").click()
    page.get_by_role("button", name=f"Push {total} masks to task {task_id}").click()
    page.get_by_text(f"Pushed {total} shapes, {total} read back").wait_for()
    stored = shapes(world, task_id)
    assert len(stored) == total
    assert {shape["source"] for shape in stored} == {"auto"}
    assert len(pushing.list_pushes(world.workspace)) == 1
    page.get_by_role("button", name="Undo push").click()
    page.get_by_text(f"{total} shapes taken back").first.wait_for()
    assert shapes(world, task_id) == []


def test_a_link_to_a_page_works_as_the_first_visit_of_a_fresh_server(
    world, serve, new_page
) -> None:
    task = world.add_task("belt")
    connections.sign_in(
        PasswordLogin(DEMO_USER, DEMO_PASSWORD),
        url=world.session.url,
        remember_in=world.workspace,
    )
    page = new_page()
    page.goto(f"{serve(APP, LSL_WORKSPACE=str(world.workspace.root))}/tasks?task={task.info.id}")
    page.get_by_text(f"{task.info.id} · belt").wait_for()
    page.get_by_text("practice server").wait_for()
    for name in ("Connect", "Train", "Preview", "Backups"):
        assert page.get_by_test_id("stSidebarNav").get_by_text(name, exact=True).is_visible()


def test_without_a_workspace_it_is_said_how_to_get_one_and_no_page_is_offered(
    serve, new_page, tmp_path
) -> None:
    page = new_page()
    page.goto(serve(APP, LSL_WORKSPACE=str(tmp_path)))
    page.get_by_text("lsl demo").wait_for()
    assert page.get_by_test_id("stSidebarNav").count() == 0


def test_two_browsers_do_not_share_a_sign_in(world, serve, new_page) -> None:
    url = serve(APP, LSL_WORKSPACE=str(world.workspace.root))
    one, other = new_page(), new_page()
    one.goto(url)
    one.get_by_text("Sign everybody who opens").click()
    connect(one, world.session.url)
    other.goto(url)
    other.get_by_label("Server", exact=True).wait_for()
    assert other.get_by_label("Server", exact=True).input_value() == ""
    assert other.get_by_text("Not connected").is_visible()
    assert one.get_by_text("What comes next").is_visible()
