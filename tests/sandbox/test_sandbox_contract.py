"""A small contract of our own: what the sandbox answers, call by call, without any recording."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sandbox_helpers import Http, box, draw_images, make_task, read, wait_for, write

from lsl_core.sandbox import Sandbox


@pytest.fixture(scope="module")
def steady(tmp_path_factory) -> Iterator[tuple[Http, dict]]:
    """One sandbox with one task, for the tables of cases below."""
    folder = tmp_path_factory.mktemp("steady")
    with Sandbox(folder / "sandbox") as running:
        http = Http(running.url, running.make_token("demo", kind="login"))
        yield http, make_task(http, draw_images(folder / "images", 6), segment_size=3)


# ---- lists


def test_lists_page_filter_search_and_sort(http):
    for name in ("one", "two", "three"):
        http.ok("POST", "/api/projects", {"name": name, "labels": []}, status=201)

    def names(query: str) -> list[str]:
        return [item["name"] for item in http.ok("GET", f"/api/projects?{query}")["results"]]

    assert names("") == ["three", "two", "one"], "newest first"
    assert names("sort=name") == ["one", "three", "two"]
    assert names("search=t") == ["three", "two"]
    assert names("name=two") == ["two"]
    assert names('filter={"%3D%3D":[{"var":"name"},"one"]}') == ["one"]
    assert names('filter={"and":[{"<":[{"var":"id"},3]},{"!":{"in":["on",{"var":"name"}]}}]}') == [
        "two"
    ]
    page = http.ok("GET", "/api/projects?page=2&page_size=2")
    assert (page["count"], page["next"], len(page["results"])) == (3, None, 1)
    assert page["previous"].endswith("/api/projects?page_size=2")
    assert http.call("GET", "/api/projects?page=3&page_size=2")[0] == 404
    assert http.call("GET", "/api/projects?filter={")[0] == 400


# ---- what is refused, and how


@pytest.mark.parametrize(
    ("change", "status", "body"),
    [
        ({"label_id": 999}, 400, ["label_id `999` is invalid"]),
        ({"type": "blob"}, 400, {"shapes": [{"type": ['"blob" is not a valid choice.']}]}),
        (
            {"frame": -1},
            400,
            {"shapes": [{"frame": ["Ensure this value is greater than or equal to 0."]}]},
        ),
        ({"frame": "x"}, 400, {"shapes": [{"frame": ["A valid integer is required."]}]}),
        ({"group": -1}, 400, None),
        ({"points": [1, 2, "a", 4]}, 400, None),
        ({"points": "1,2"}, 400, None),
        ({"points": [1, 2, float("nan"), 4]}, 400, None),
        ({"rotation": 361}, 400, None),
        ({"score": 1.5}, 400, None),
        ({"source": ""}, 400, None),
        ({"attributes": [{"spec_id": 999, "value": "1"}]}, 400, ["spec_id `999` is invalid"]),
        ({"points": [-50, 0, 5000, 1]}, 200, None),
        (
            {"points": []},
            400,
            {"shapes": [{"points": ["invalid length for shape type 'rectangle'"]}]},
        ),
        ({"type": "polygon", "points": [1, 2, 3, 4]}, 400, None),
        ({"type": "polygon", "points": [1, 2, 3, 4, 5, 6, 7]}, 400, None),
        ({"type": "mask", "points": [1, 0, 0, 0]}, 400, None),
        ({"type": "skeleton", "points": []}, 400, None),
        ({"elements": [{}]}, 400, None),
        ({"id": 7}, 400, {"shapes": [{"id": ["must be absent"]}]}),
        ({"id": None}, 200, None),
        ({"frame": 500}, 200, None),
        ({"source": "our-tool", "z_order": -3, "outside": True}, 200, None),
    ],
)
def test_a_shape_is_checked_as_cvat_checks_it(steady, change, status, body):
    http, task = steady
    http.ok("DELETE", f"/api/tasks/{task['id']}/annotations", status=204)
    found, answer, _ = write(http, task, [box(task), box(task, **change)])
    assert found == status, answer
    if body is not None:
        wanted = {"shapes": [{}, *body["shapes"]]} if isinstance(body, dict) else body
        assert answer == wanted
    if status == 400:
        assert read(http, task) == [], "all or nothing"


def test_bodies_that_are_no_annotations(steady):
    http, task = steady
    path = f"/api/jobs/{task['jobs_by_start'][0]}/annotations"
    assert http.call("PATCH", f"{path}?action=create", [1, 2])[0] == 500
    assert http.call("PATCH", f"{path}?action=create", raw=b"{")[0] == 400
    assert http.call("PATCH", f"{path}?action=merge", {})[0] == 400
    assert http.call("PATCH", path, {})[0] == 400
    assert http.call("PATCH", f"{path}?action=create", {"shapes": 3})[0] == 400


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("projects", {"name": "n" * 257}, "no more than 256"),
        ("projects", {"name": ""}, "may not be blank"),
        ("projects", {"labels": []}, "required"),
        ("projects", {"name": "x", "labels": [{"name": "l"}, {"name": "l"}]}, "must be unique"),
        ("projects", {"name": "x", "labels": [{"name": "l" * 65}]}, "no more than 64"),
        ("projects", {"name": "x", "labels": [{"name": "l", "type": "blob"}]}, "valid choice"),
        ("projects", {"name": "x", "labels": [{"name": "l", "type": "skeleton"}]}, "skeletons"),
        ("tasks", {"name": "x"}, "Label set or project_id"),
        ("tasks", {"name": "x", "project_id": 999}, "does not exist"),
        ("tasks", {"name": "x", "labels": [{"name": "l"}], "segment_size": -1}, "greater than"),
    ],
)
def test_new_projects_and_tasks_are_checked(steady, path, body, text):
    http, _ = steady
    status, answer, _ = http.call("POST", f"/api/{path}", body)
    assert status == 400
    assert text in json.dumps(answer)


def test_a_task_without_data_says_so(http):
    task = http.ok("POST", "/api/tasks", {"name": "t", "labels": [{"name": "x"}]}, status=201)
    at = f"/api/tasks/{task['id']}"
    assert http.call("GET", f"{at}/annotations")[0] == 400
    assert http.call("GET", f"{at}/data/meta")[0] == 500
    assert http.call("GET", f"{at}/data?type=frame&number=0")[0] == 500
    assert "size" not in task


# ---- annotations by id


@pytest.fixture
def older(tmp_path) -> Iterator[tuple[Http, dict]]:
    """A sandbox that poses as a CVAT of before 2.40, with one task."""
    with Sandbox(tmp_path / "older", version="2.39.0") as running:
        http = Http(running.url, running.make_token("demo", kind="login"))
        yield http, make_task(http, draw_images(tmp_path / "older images", 6), segment_size=3)


def test_an_older_cvat_counts_no_points(older):
    http, task = older
    shapes = [box(task, points=[]), box(task, type="polygon", points=[1, 2, 3])]
    assert write(http, task, shapes)[0] == 200
    assert len(read(http, task)) == 2


def test_an_older_cvat_takes_ids_that_are_brought(older):
    http, task = older
    first = write(http, task, [box(task), box(task, id=77)])[1]["shapes"]
    assert [shape["id"] for shape in first] == [1, 77]
    assert write(http, task, [box(task)])[1]["shapes"][0]["id"] == 2, "77 moved no counter"
    status, body, _ = write(http, task, [box(task), box(task, id=77)])
    assert (status, "duplicate key" in body[0]) == (400, True)
    assert len(read(http, task)) == 3, "all or nothing"
    write(http, task, [box(task, id=78, points=[9, 9, 9, 9])], "update")
    write(http, task, [box(task, id=1), box(task, id=4040)], "delete")
    assert {shape["id"] for shape in read(http, task)} == {2, 77, 78}
    assert write(http, task, [box(task)], "delete")[0] == 500, "it trips over a missing id"


def test_the_counter_steps_over_ids_that_are_taken(older):
    http, task = older
    write(http, task, [box(task, id=2)])
    made = write(http, task, [box(task), box(task)])[1]["shapes"]
    assert [shape["id"] for shape in made] == [3, 4]


def test_ids_are_the_servers(http, task):
    first = write(http, task, [box(task), box(task)])[1]["shapes"]
    assert [shape["id"] for shape in first] == [1, 2]
    at = f"/api/tasks/{task['id']}/annotations"
    tag = {"label_id": task["box"], "frame": 0}
    keyframe = {"type": "rectangle", "frame": 0, "points": [1, 2, 3, 4], "id": 5}
    track = {**tag, "shapes": [keyframe]}
    for method, path in (("PATCH", f"{at}?action=create"), ("PUT", at)):
        body = {"shapes": [box(task, id=1)], "tags": [{**tag, "id": 1}], "tracks": [track]}
        status, answer, _ = http.call(method, path, body)
        assert (status, set(answer)) == (400, {"shapes", "tags"}), "keyframes may bring theirs"
        body["tracks"] = [{**track, "id": 1}]
        assert "tracks" in http.call(method, path, body)[1]
    assert len(read(http, task)) == 2
    write(http, task, [box(task, id=2, points=[9, 9, 9, 9])], "update")
    write(http, task, [box(task, id=1), box(task, id=4040)], "delete")
    assert [(shape["id"], shape["points"][0]) for shape in read(http, task)] == [(2, 9.0)]
    status, answer, _ = write(http, task, [box(task)], "delete")
    assert (status, answer) == (400, {"shapes": [{"id": ["must be present and not null"]}]})


def test_another_jobs_shape_is_not_deleted(http, task):
    (made,) = write(http, task, [box(task, frame=4)], start=3)[1]["shapes"]
    assert write(http, task, [box(task, id=made["id"])], "delete", start=0)[0] == 200
    assert len(read(http, task)) == 1


def test_the_task_endpoint_spreads_over_jobs_and_drops_what_is_outside(http, task):
    shapes = [box(task, frame=frame) for frame in (0, 5, 6)]
    path = f"/api/tasks/{task['id']}/annotations"
    made = http.ok("PATCH", f"{path}?action=create", {"shapes": shapes})["shapes"]
    assert [shape["frame"] for shape in made] == [0, 5]
    second = http.ok("GET", f"/api/jobs/{task['jobs_by_start'][3]}/annotations")["shapes"]
    assert [shape["frame"] for shape in second] == [5]


def test_put_replaces_and_an_older_cvat_trips_over_ids_of_another_task(older, tmp_path):
    http, task = older
    other = make_task(http, draw_images(tmp_path / "other", 1))
    write(http, task, [box(task)])
    write(http, other, [box(other)])
    body = {"shapes": [box(other), box(other, id=1)]}
    assert http.call("PUT", f"/api/tasks/{other['id']}/annotations", body)[0] == 500
    assert [shape["id"] for shape in read(http, task)] == [1]
    assert [shape["id"] for shape in read(http, other)] == [2], "what was there stays"
    mine = {"shapes": [box(task, id=1, points=[5, 5, 6, 6])]}
    http.ok("PUT", f"/api/tasks/{task['id']}/annotations", mine)
    assert [shape["points"] for shape in read(http, task)] == [[5.0, 5.0, 6.0, 6.0]]


def test_frames_that_two_jobs_share_are_told_once(http, tmp_path):
    task = make_task(http, draw_images(tmp_path / "o", 6), segment_size=4, overlap=2)
    assert sorted(task["jobs_by_start"]) == [0, 2]
    path = f"/api/tasks/{task['id']}/annotations"
    http.ok("PUT", path, {"shapes": [box(task, frame=frame) for frame in range(6)]})
    assert sorted(shape["frame"] for shape in read(http, task)) == list(range(6))
    mask = {"label_id": task["cell"], "type": "mask", "points": [0, 1, 0, 0, 0, 0]}
    http.ok("PUT", path, {"shapes": [box(task, frame=frame, **mask) for frame in range(6)]})
    assert sorted(shape["frame"] for shape in read(http, task)) == [0, 1, 2, 2, 3, 3, 4, 5]


def test_an_attribute_has_its_default_unless_it_is_sent(http, task):
    cell = box(task, label_id=task["cell"], type="mask", points=[0, 1, 0, 0, 0, 0])
    given = [{"spec_id": task["spec"], "value": "0.75"}]
    sent = write(http, task, [cell, {**cell, "attributes": given}])[1]["shapes"]
    assert [shape["attributes"] for shape in sent] == [[], given]
    default = [{"spec_id": task["spec"], "value": "0"}]
    assert [shape["attributes"] for shape in read(http, task)] == [default, given]


def test_writes_move_the_dates_of_job_task_and_project(http, tmp_path):
    project = http.ok("POST", "/api/projects", {"name": "p", "labels": []}, status=201)
    http.ok("PATCH", f"/api/projects/{project['id']}", {"labels": [{"name": "box"}]})
    spec = {"name": "t", "project_id": project["id"]}
    made = http.ok("POST", "/api/tasks", spec, status=201)
    rq = http.upload(f"/api/tasks/{made['id']}/data", draw_images(tmp_path / "i", 1), {})
    wait_for(http, rq["rq_id"])
    job = http.ok("GET", f"/api/jobs?task_id={made['id']}")["results"][0]
    label = http.ok("GET", f"/api/labels?project_id={project['id']}")["results"][0]["id"]
    places = [
        f"/api/projects/{project['id']}",
        f"/api/tasks/{made['id']}",
        f"/api/jobs/{job['id']}",
    ]
    before = [http.ok("GET", place)["updated_date"] for place in places]
    shape = {"type": "rectangle", "frame": 0, "label_id": label, "points": [1, 2, 3, 4]}
    http.ok("PATCH", f"/api/jobs/{job['id']}/annotations?action=create", {"shapes": [shape]})
    after = [http.ok("GET", place)["updated_date"] for place in places]
    assert all(old < new for old, new in zip(before, after, strict=True))


# ---- labels


def test_labels_are_renamed_added_and_removed_with_their_shapes(http, task):
    write(http, task, [box(task)])
    at = f"/api/tasks/{task['id']}"
    http.ok("PATCH", at, {"labels": [{"id": task["box"], "name": "crate"}, {"name": "new"}]})
    labels = http.ok("GET", f"/api/labels?task_id={task['id']}")["results"]
    assert [label["name"] for label in labels] == ["crate", "cell", "new"]
    assert http.call("PATCH", at, {"labels": [{"name": "cell"}]})[0] == 400
    assert http.call("PATCH", at, {"labels": [{"id": 999, "name": "x"}]})[0] == 404
    assert http.call("DELETE", f"/api/labels/{task['box']}")[0] == 204
    assert read(http, task) == []


# ---- data


def test_tus_goes_on_where_it_stopped(http, tmp_path):
    (image,) = draw_images(tmp_path / "images", 1)
    data = image.read_bytes()
    task = http.ok("POST", "/api/tasks", {"name": "t", "labels": [{"name": "x"}]}, status=201)
    at = f"/api/tasks/{task['id']}/data/"
    assert http.call("POST", at, headers={"Upload-Start": ""})[0] == 202
    name = base64.b64encode(b"img.png").decode()
    made = {"Upload-Length": str(len(data)), "Upload-Metadata": f"filename {name}"}
    status, _, headers = http.call("POST", at, headers=made)
    assert (status, headers["upload-filename"]) == (201, "img.png")
    place = headers["location"].removeprefix(http.url)

    def send(offset: int, part: bytes):
        sent = {
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Tus-Resumable": "1.0.0",
        }
        return http.call("PATCH", place, raw=part, headers=sent)

    assert send(0, data[:100])[2]["upload-offset"] == "100"
    status, _, headers = send(50, data[50:])
    assert (status, headers["upload-offset"]) == (409, "100")
    status, _, headers = http.call("HEAD", place)
    assert (headers["upload-offset"], headers["upload-length"]) == ("100", str(len(data)))
    assert send(100, data[100:] + b"too much")[0] == 413
    assert send(100, data[100:])[0] == 204
    answer = http.ok("POST", at, {"image_quality": 70}, headers={"Upload-Finish": ""}, status=202)
    assert wait_for(http, answer["rq_id"])["status"] == "finished"
    frame = http.call("GET", f"{at}?type=frame&number=0&quality=original")[1]
    assert frame == data


def test_an_archive_of_images_is_opened(http, tmp_path):
    packed = tmp_path / "images.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in draw_images(tmp_path / "images", 2):
            archive.write(path, f"sub/{path.name}")
    task = make_task(http, [packed])
    meta = http.ok("GET", f"/api/tasks/{task['id']}/data/meta")
    assert [frame["name"] for frame in meta["frames"]] == ["sub/img_000.png", "sub/img_001.png"]


def test_a_file_name_cannot_leave_its_folder(sandbox, http):
    task = http.ok("POST", "/api/tasks", {"name": "t", "labels": [{"name": "x"}]}, status=201)
    name = base64.b64encode(b"../../../../outside.png").decode()
    made = {"Upload-Length": "3", "Upload-Metadata": f"filename {name}"}
    assert http.call("POST", f"/api/tasks/{task['id']}/data/", headers=made)[0] == 400
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../../outside.png", b"x")
    rq = http.upload(f"/api/tasks/{task['id']}/data", [("a.zip", packed.getvalue())], {})
    assert wait_for(http, rq["rq_id"])["status"] == "failed"
    root = sandbox.context.folder.parent
    assert not list(root.rglob("outside.png"))


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("type=frame&number=99", 400),
        ("type=chunk&number=99", 400),
        ("type=frame", 400),
        ("type=frame&number=x", 400),
        ("type=what&number=0", 400),
        ("type=frame&number=0&quality=best", 400),
        ("type=preview", 200),
        ("type=chunk&number=0&quality=compressed", 200),
    ],
)
def test_data_queries(steady, query, status):
    http, task = steady
    assert http.call("GET", f"/api/tasks/{task['id']}/data?{query}")[0] == status


def test_a_jobs_chunks_are_counted_by_index(http, task):
    at = f"/api/jobs/{task['jobs_by_start'][3]}/data?type=chunk&quality=original"
    status, body, headers = http.call("GET", f"{at}&index=0")
    assert (status, headers["content-type"]) == (200, "application/zip")
    assert len(zipfile.ZipFile(io.BytesIO(body)).namelist()) == 3
    assert http.call("GET", f"{at}&index=1")[0] == 400


# ---- requests


def test_a_request_is_its_owners(sandbox, http, task):
    path = f"/api/tasks/{task['id']}/dataset/export?format=COCO+1.0&save_images=False"
    rq_id = http.ok("POST", path, status=202)["rq_id"]
    done = wait_for(http, rq_id)
    assert done["operation"]["type"] == "export:annotations"
    download = done["result_url"].removeprefix(http.url)
    assert http.call("GET", download)[0] == 200
    sandbox.add_user("second", "pw")
    second = Http(sandbox.url, sandbox.make_token("second"), "Bearer")
    assert second.call("GET", download)[0] == 403
    assert second.ok("GET", "/api/requests")["count"] == 0
    assert http.ok("GET", "/api/requests")["results"][0]["id"] == rq_id
    assert http.call("GET", "/api/requests/nothing")[0] == 404


def test_ai_tools_have_no_gateway(http):
    assert http.call("GET", "/api/lambda/functions")[0] == 503
    assert http.ok("GET", "/api/lambda/requests") == []


def test_the_server_says_what_it_is(sandbox):
    about = Http(sandbox.url).ok("GET", "/api/server/about")
    assert about["name"] == "LSL sandbox – not a real CVAT"
    assert about["version"] == "2.80.0"


# ---- many at once


def test_parallel_creates_lose_nothing(http, task):
    def push(worker: int) -> list[int]:
        ids: list[int] = []
        for _ in range(5):
            shapes = [box(task, points=[worker, 0, 1, 1]) for _ in range(20)]
            status, body, _ = write(http, task, shapes)
            assert status == 200, body
            ids += [shape["id"] for shape in body["shapes"]]
        return ids

    with ThreadPoolExecutor(8) as pool:
        ids = [one for found in pool.map(push, range(8)) for one in found]
    assert len(set(ids)) == 800
    assert {shape["id"] for shape in read(http, task)} == set(ids)


def test_everything_is_there_after_a_restart(tmp_path):
    folder = tmp_path / "sandbox"
    with Sandbox(folder) as first:
        http = Http(first.url, first.make_token("demo", kind="login"))
        task = make_task(http, draw_images(tmp_path / "images", 2))
        write(http, task, [box(task)])
        frame = http.call("GET", f"/api/tasks/{task['id']}/data?type=frame&number=1")[1]
        first.context.db.run("UPDATE requests SET status = 'started'")
        token = http.headers
    with Sandbox(folder) as second:
        http = Http(second.url)
        http.headers = token
        assert len(read(http, task)) == 1
        assert http.call("GET", f"/api/tasks/{task['id']}/data?type=frame&number=1")[1] == frame
        (request,) = http.ok("GET", "/api/requests")["results"]
        assert (request["status"], request["message"]) == (
            "failed",
            "The sandbox was stopped while this ran.",
        )
