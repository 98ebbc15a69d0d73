from __future__ import annotations

import pytest
from app_world import World, words

from lsl_core.sandbox import Sandbox
from lsl_core.services import activity
from lsl_core.ui import keys


def test_without_a_sign_in_it_links_to_connect(open_page) -> None:
    assert "not signed in to CVAT" in words(open_page("tasks"))


def test_it_lists_tasks_with_labels_and_state(open_page, world) -> None:
    task = world.add_task("bolts, line 1", frames=3)
    app = open_page("tasks", task=task.info.id)
    rows = app.dataframe[0].value.set_index("Id")
    row = rows.loc[task.info.id]
    assert (row["Name"], row["Frames"], row["Here"]) == ("bolts, line 1", 3, "never run")
    assert f"{task.info.id} · bolts, line 1" in words(app)
    assert not app.error


def test_a_previewed_task_says_so(open_page, world) -> None:
    task = world.add_task("bolts, line 2")
    task.predict(world.add_model())
    rows = open_page("tasks").dataframe[0].value.set_index("Id")
    assert rows.loc[task.info.id, "Here"] == "previewed just now"


def test_the_search_finds_by_name_and_by_number(open_page, world) -> None:
    task = world.add_task("a name like no other")
    for word in ("no other", str(task.info.id)):
        app = open_page("tasks", q=word)
        assert task.info.id in app.dataframe[0].value["Id"].tolist()
    app = open_page("tasks", q="nothing is called like this")
    assert not app.dataframe


def test_importing_submits_a_run_under_the_given_name(open_page, world, monkeypatch) -> None:
    monkeypatch.setattr("lsl_core.runs.queue.Queue.ensure_worker", lambda self: None)
    task = world.add_task("to learn from", labelled=True)
    app = open_page("tasks", task=task.info.id)
    app.text_input(key=f"{keys.TASKS_IMPORT_NAME}-{task.info.id}").set_value("good ones")
    app.button(key=keys.TASKS_IMPORT).click().run()
    run = activity.list_runs(world.workspace)[0]
    assert (run.kind, run.subject) == ("import", f"task {task.info.id} as good ones")
    assert app.button(key=f"cancel-{run.id}")
    assert "Nothing is running" not in words(app), "the sidebar knows of it at once"


def test_a_backup_of_a_task_is_under_way_in_the_sidebar(open_page, world, monkeypatch) -> None:
    monkeypatch.setattr("lsl_core.runs.queue.Queue.ensure_worker", lambda self: None)
    task = world.add_task("to keep")
    app = open_page("tasks", task=task.info.id)
    assert "Nothing is running" in words(app)
    app.button(key=keys.TASKS_BACK_UP).click().run()
    assert activity.list_runs(world.workspace)[0].kind == "backup"
    assert "Nothing is running" not in words(app)


def test_a_server_that_went_away_is_said(open_page, tmp_path, workspace) -> None:
    with Sandbox(tmp_path / "gone") as gone:
        World.signed_in(gone, workspace)
        app = open_page("connect")
    app.switch_page("pages/tasks.py").run()
    assert "cannot be reached" in words(app) or "does not answer" in words(app)
    again = [button for button in app.button if button.label == "Try again"]
    assert len(again) == 1
    again[0].click().run()
    assert not app.exception


@pytest.mark.parametrize("name", ["*bold* <b>", "a|b `c`"])
def test_names_of_tasks_are_text_and_no_markup(open_page, world, name) -> None:
    task = world.add_task(name)
    app = open_page("tasks", task=task.info.id)
    assert not any("<b>" in str(element.value) for element in app.subheader)
    assert not app.error
