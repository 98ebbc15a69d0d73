"""cvat-sdk 2.80 against the sandbox: exports, imports, backups."""

from __future__ import annotations

import json
import zipfile

import pytest
from cvat_sdk.core.exceptions import BackgroundRequestException
from sandbox_helpers import signed_in
from sandbox_sdk import LABELS, a_task, bare, label_ids, put, shapes_of

from lsl_core.sandbox import Sandbox

# cvat-sdk leaves the temporary file of a downloaded frame to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("has_images", [False, True], ids=["annotations", "with images"])
def test_coco_export_and_import_keep_masks_to_the_bit(client, tmp_path, has_images):
    task = a_task(client, tmp_path, subset="Train")
    ids = label_ids(task)
    put(task, shapes_of(ids))
    path = task.export_dataset("COCO 1.0", tmp_path / "coco.zip", include_images=has_images)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        document = json.loads(archive.read("annotations/instances_Train.json"))
    assert ("images/Train/img_000.png" in names) is has_images
    counts = [item["iscrowd"] for item in document["annotations"]]
    assert sorted(counts) == [0, 0, 1, 1, 1], "box, joined polygons; two masks and the ellipse"
    joined = next(item for item in document["annotations"] if len(item["segmentation"]) == 2)
    assert len(joined["segmentation"]) == 2
    before = task.get_annotations().shapes
    task.remove_annotations()
    task.import_annotations("COCO 1.0", path)
    after = task.get_annotations().shapes
    for kind in ("mask", "polygon", "rectangle"):
        old = sorted(bare(shape) for shape in before if str(shape.type) == kind)
        new = sorted(bare(shape) for shape in after if str(shape.type) == kind)
        assert set(old) <= set(new), kind
    assert {shape.source for shape in after} == {"file"}
    assert len({shape.group for shape in after if str(shape.type) == "polygon"}) == 1


def test_a_bad_coco_file_changes_nothing(client, tmp_path):
    task = a_task(client, tmp_path)
    ids = label_ids(task)
    put(task, shapes_of(ids))
    before = task.get_annotations()
    document = {
        "images": [{"id": 1, "file_name": "img_000.png", "width": 96, "height": 72}],
        "categories": [{"id": 1, "name": "no_such_label"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    unknown_image = {**document, "images": [{"id": 1, "file_name": "zz.png"}]}
    path = tmp_path / "bad.json"
    for text, message in (
        (json.dumps(document), "Label 'no_such_label' is not registered"),
        (json.dumps(unknown_image), "Could not match item id: 'zz' with any task frame"),
        ('{"images": [', "JSONDecodeError"),
    ):
        path.write_text(text)
        with pytest.raises(BackgroundRequestException, match=message):
            task.import_annotations("COCO 1.0", path)
    assert task.get_annotations() == before


@pytest.mark.parametrize(("version", "is_kept"), [("2.80.0", True), ("2.39.0", False)])
def test_append_is_honoured_by_new_servers_only(tmp_path, version, is_kept):
    with Sandbox(tmp_path / "sandbox", version=version) as one, signed_in(one.url) as client:
        task = a_task(client, tmp_path)
        put(task, shapes_of(label_ids(task))[:1])
        path = task.export_dataset("COCO 1.0", tmp_path / "coco.zip", include_images=False)
        task.import_annotations("COCO 1.0", path, import_mode="append")
        assert len(task.get_annotations().shapes) == (2 if is_kept else 1)


def test_a_job_import_refuses_images_of_other_jobs(client, tmp_path):
    task = a_task(client, tmp_path)
    put(task, shapes_of(label_ids(task)))
    path = task.export_dataset("COCO 1.0", tmp_path / "coco.zip", include_images=False)
    job = task.get_jobs()[0]
    with pytest.raises(BackgroundRequestException, match="Could not match item id"):
        job.import_annotations("COCO 1.0", path)


def test_cvat_xml_keeps_groups_order_and_attributes(client, tmp_path):
    task = a_task(client, tmp_path)
    ids = label_ids(task)
    put(task, shapes_of(ids), tags=[{"label_id": ids["anyl"], "frame": 2}])
    before = task.get_annotations()
    path = task.export_dataset("CVAT for images 1.1", tmp_path / "cvat.zip", include_images=False)
    with zipfile.ZipFile(path) as archive:
        text = archive.read("annotations.xml").decode()
    assert '<image id="4" name="img_004.png"' in text
    task.remove_annotations()
    task.import_annotations("CVAT 1.1", path)
    after = task.get_annotations()

    def all_of(shape) -> tuple:
        attributes = tuple((item.spec_id, item.value) for item in shape.attributes)
        more = (shape.group or 0, shape.z_order, shape.occluded, shape.rotation, attributes)
        return (*bare(shape), *more)

    assert sorted(map(all_of, before.shapes)) == sorted(map(all_of, after.shapes))
    assert {shape.source for shape in after.shapes} == {"file"}
    assert len(after.tags) == 1


@pytest.mark.parametrize(
    ("version", "label", "bad"),
    [
        ("2.39.0", "poly", {"type": "polygon", "points": [1.0, 1.0, 2.0, 2.0]}),
        ("2.80.0", "cell", {"type": "mask", "points": [0.0, 4.0, 200.0, 200.0, 201.0, 201.0]}),
    ],
)
def test_a_shape_without_area_breaks_the_coco_export_of_its_task(tmp_path, version, label, bad):
    with Sandbox(tmp_path / "sandbox", version=version) as one, signed_in(one.url) as client:
        task = a_task(client, tmp_path)
        put(task, [{**bad, "label_id": label_ids(task)[label], "frame": 0}])
        with pytest.raises(BackgroundRequestException):
            task.export_dataset("COCO 1.0", tmp_path / "coco.zip", include_images=False)


def test_a_task_comes_back_from_its_backup(client, tmp_path):
    project = client.projects.create({"name": "p", "labels": LABELS})
    task = a_task(client, tmp_path, project_id=project.id, subset="Train")
    ids = label_ids(task)
    put(task, shapes_of(ids), tags=[{"label_id": ids["anyl"], "frame": 2}])
    task.remove_frames_by_ids([1])
    first = next(job for job in task.get_jobs() if job.start_frame == 0)
    first.update({"stage": "validation", "state": "completed"})
    path = task.download_backup(tmp_path / "task.zip")
    with zipfile.ZipFile(path) as archive:
        assert {"task.json", "annotations.json", "data/img_000.png"} <= set(archive.namelist())
    again = client.tasks.create_from_backup(path)
    assert again.id != task.id
    assert again.project_id is None, "a task leaves its project behind"
    assert (again.name, again.size, again.subset) == ("a task", 5, "Train")
    assert again.get_meta().deleted_frames == [1]
    assert (
        again.get_frame(2, quality="original").read()
        == task.get_frame(2, quality="original").read()
    )
    names = {label.id: label.name for label in again.get_labels()}
    old_names = {number: name for name, number in ids.items()}

    def named(shapes, by_id) -> list:
        return sorted(
            (s.frame, by_id[s.label_id], tuple(s.points), s.group or 0, s.source, s.score)
            for s in shapes
        )

    assert named(again.get_annotations().shapes, names) == named(
        task.get_annotations().shapes, old_names
    )
    assert sorted((job.start_frame, job.stage, job.state) for job in again.get_jobs()) == [
        (0, "validation", "completed"),
        (3, "annotation", "new"),
    ]


def test_a_project_comes_back_from_its_backup(client, tmp_path):
    project = client.projects.create({"name": "whole", "labels": LABELS})
    one = a_task(client, tmp_path, project_id=project.id)
    two = a_task(client, tmp_path / "more", count=2, project_id=project.id, name="second")
    put(one, shapes_of(label_ids(one)))
    path = project.download_backup(tmp_path / "project.zip")
    again = client.projects.create_from_backup(path)
    assert again.id != project.id
    assert [label.name for label in again.get_labels()] == [label["name"] for label in LABELS]
    tasks = {task.name: task for task in again.get_tasks()}
    assert {name: task.size for name, task in tasks.items()} == {"a task": 5, "second": two.size}
    assert len(tasks["a task"].get_annotations().shapes) == 6


def test_a_file_that_is_no_backup_fails_the_restore(client, tmp_path):
    path = tmp_path / "broken.zip"
    path.write_bytes(b"not a zip")
    with pytest.raises(BackgroundRequestException, match="File is not a zip file"):
        client.tasks.create_from_backup(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(BackgroundRequestException, match="not a backup"):
        client.tasks.create_from_backup(path)
    assert client.tasks.list() == []


def test_a_project_takes_a_coco_dataset_with_images(client, tmp_path):
    project = client.projects.create({"name": "source", "labels": LABELS})
    task = a_task(client, tmp_path, project_id=project.id, subset="Train")
    put(task, shapes_of(label_ids(task)))
    path = project.export_dataset("COCO 1.0", tmp_path / "set.zip", include_images=True)
    other = client.projects.create({"name": "target", "labels": LABELS})
    other.import_dataset("COCO 1.0", path)
    (made,) = other.get_tasks()
    assert (made.subset, made.size) == ("Train", 5)
    assert len(made.get_annotations().shapes) == 6
