from __future__ import annotations

import dataclasses

from app_world import words

from lsl_core import cvat
from lsl_core.services import sourcing
from lsl_core.ui import keys


def test_an_empty_workspace_says_where_labelled_images_come_from(open_page) -> None:
    assert "import a labelled CVAT task, or COCO files" in words(open_page("sources"))


def test_a_source_is_a_gallery_with_counts(open_page, world) -> None:
    info = world.add_source("belt", images=3)
    app = open_page("sources")
    assert f"{info.num_objects:,}, {info.num_masks:,} of them with a mask" in words(app)
    assert len(app.get("image")) + len(app.get("image_list")) == 3
    assert not app.error


def test_a_source_can_be_renamed_and_a_taken_name_is_refused(open_page, world) -> None:
    world.add_source("belt")
    world.add_source("cells")
    app = open_page("sources", source="belt")
    app.text_input(key=f"{keys.SOURCES_NAME}-belt").set_value("cells")
    app.button(key=keys.SOURCES_RENAME).click().run()
    assert 'There is a source "cells" already' in words(app)
    app.text_input(key=f"{keys.SOURCES_NAME}-belt").set_value("belt 2")
    app.button(key=keys.SOURCES_RENAME).click().run()
    names = {info.name for info in sourcing.list_sources(world.workspace)}
    assert names == {"belt 2", "cells"}


def test_removing_a_source_moves_it_to_the_trash(open_page, world) -> None:
    world.add_source("belt")
    app = open_page("sources", source="belt")
    app.button(key=keys.SOURCES_REMOVE).click().run()
    assert not sourcing.list_sources(world.workspace)
    assert list((world.workspace.trash / "sources").glob("* belt"))
    assert "There are none yet" in words(app)


def test_a_damaged_source_is_said_and_the_page_stays(open_page, world) -> None:
    world.add_source("belt")
    (world.workspace.sources / "belt" / "annotations.json").write_text("{")
    app = open_page("sources", source="belt")
    assert app.error
    assert "Something went wrong in our code" not in words(app)


def test_a_source_becomes_a_cvat_task_as_the_form_says(open_page, world, worker_here) -> None:
    info = world.add_source("belt", images=4)
    app = open_page("sources", source="belt")
    app.text_input(key=f"{keys.SOURCES_TASK}-name").set_value("belt, once more")
    app.number_input(key=f"{keys.SOURCES_TASK}-size").set_value(2)
    app.number_input(key=f"{keys.SOURCES_TASK}-overlap").set_value(1)
    app.button(key=keys.SOURCES_TASK_GO).click().run()
    (task,) = cvat.list_tasks(world.session, search="belt, once more")
    jobs = [(job.start_frame, job.stop_frame) for job in cvat.task_jobs(world.session, task.id)]
    assert jobs == [(0, 1), (1, 2), (2, 3)]
    assert len(cvat.task_annotations(world.session, task.id)["shapes"]) == info.num_objects


def test_warnings_name_labels_without_objects_and_copies(world) -> None:
    world.add_source("belt")
    source = sourcing.load_source(world.workspace, "belt")
    assert not [w for w in sourcing.warnings(source) if "there twice" in w]
    doubled = dataclasses.replace(source, images=(*source.images, source.images[0]))
    assert "1 image is there twice" in sourcing.warnings(doubled)[0]
    bare = dataclasses.replace(source, images=source.images[:1])
    ids = set(bare.images[0].instances.class_ids.tolist())
    missing = [n for i, n in enumerate(source.labels.names) if i not in ids]
    assert sum("the model cannot learn it" in w for w in sourcing.warnings(bare)) == len(missing)
