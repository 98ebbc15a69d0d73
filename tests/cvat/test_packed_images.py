"""Pulling a large task by a backup of it: the images that chunks bring, whatever goes wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cvat_helpers import FaultProxy, make_task, write_images, write_kinds
from push_helpers import draw_by_hand, rectangle

from lsl_core.cvat import (
    PasswordLogin,
    connect,
    create_task,
    get_task,
    pull_frames,
    pull_task,
    read_task,
    task_frames,
)
from lsl_core.cvat.backup import archives
from lsl_core.cvat.backup.inventory import UnitKind
from lsl_core.cvat.connection.background import begin_backup, wait_for_request
from lsl_core.cvat.images import frames, packed
from lsl_core.cvat.images.packed import is_worth_packing
from lsl_core.cvat.tasks.reading import data_meta
from lsl_core.errors import CvatRequestFailed, RunCancelled
from lsl_core.progress import NullProgress

FRAMES = 12


@pytest.fixture
def pack_all(monkeypatch):
    """Let every task be worth a backup."""
    monkeypatch.setattr(packed, "_MIN_CHUNKS", 0)


@pytest.fixture
def task(session, tmp_path):
    return make_task(session, tmp_path, frames=FRAMES)


class _Watched:
    """A proxy that notes what is asked of images and for backups; `fault` may change answers."""

    def __init__(self, url):
        self._proxy, self.asked = FaultProxy(url), []
        self.fault = lambda method, path, forward: forward()

        def watch(method, path, forward):
            if "/data" in path or "/backup" in path or path.startswith("/api/requests"):
                self.asked.append((method, path))
            return self.fault(method, path, forward)

        self._proxy.fault = watch

    def __enter__(self):
        self._proxy.__enter__()
        login = PasswordLogin("demo", "demo-password")
        self.session = connect(self._proxy.url, login, organisation="")
        return self

    def __exit__(self, *error):
        self.session.close()
        self._proxy.__exit__(*error)

    def count(self, sign):
        return sum(sign in path for _, path in self.asked)


@pytest.fixture
def watched(sandbox):
    with _Watched(sandbox.url) as found:
        yield found


def _bytes_of(pulled):
    return {
        ref.frame: path.read_bytes() for ref, path in zip(pulled.refs, pulled.paths, strict=True)
    }


def _sent(folder, pulled):
    return {ref.frame: (folder / ref.name).read_bytes() for ref in pulled.refs}


def test_a_whole_task_comes_by_one_backup_and_once(watched, pack_all, task, tmp_path):
    pulled = pull_frames(watched.session, task.id, tmp_path / "store")
    assert _bytes_of(pulled) == _sent(tmp_path / "images", pulled)
    assert (len(pulled.refs), pulled.fetched, pulled.failed) == (FRAMES, FRAMES, ())
    assert (watched.count("/backup/download"), watched.count("/data?")) == (1, 0)
    assert watched.count("location=local") == 1, "not where exports of the task go by default"
    again = pull_frames(watched.session, task.id, tmp_path / "store")
    assert (again.fetched, again.refs) == (0, pulled.refs)
    assert watched.count("/backup/download") == 1


def test_what_cvat_would_change_in_a_chunk_comes_by_chunk(watched, pack_all, tmp_path):
    files = [*write_kinds(tmp_path / "kinds"), *write_images(tmp_path / "plain", FRAMES)]
    names = [path.relative_to(tmp_path).as_posix() for path in files]
    task = create_task(watched.session, "kinds", [("cell", "mask")], files, names=names)
    by_backup = pull_frames(watched.session, task.id, tmp_path / "packed")
    assert watched.count("/backup/download") == 1
    assert watched.count("/data?") > 0
    packed._MIN_CHUNKS = 1000
    assert by_backup.refs == pull_frames(watched.session, task.id, tmp_path / "chunks").refs
    assert by_backup.failed == ()


def _refused(method, path, forward):
    answer = forward()
    if "/backup/export" in path:
        answer.status, answer.body = 403, b'{"detail":"not allowed"}'
    return answer


def _broken(method, path, forward):
    answer = forward()
    if "/backup/export" in path:
        answer.status, answer.body = 500, b"<h1>Server Error (500)</h1>"
    return answer


def _cut(method, path, forward):
    return forward().cut() if "/backup/download" in path else forward()


def _damaged(method, path, forward):
    answer = forward()
    if "/backup/download" in path:
        middle = len(answer.body) // 2
        answer.body = answer.body[:middle] + bytes(64) + answer.body[middle + 64 :]
    return answer


def _gone(method, path, forward):
    return None if "/backup/download" in path else forward()


@pytest.mark.parametrize("fault", [_refused, _broken, _cut, _damaged, _gone])
def test_without_a_backup_the_chunks_bring_what_is_missing(
    fault, watched, pack_all, task, tmp_path
):
    watched.fault = fault
    pulled = pull_frames(watched.session, task.id, tmp_path / "store")
    assert _bytes_of(pulled) == _sent(tmp_path / "images", pulled)
    assert (len(pulled.refs), pulled.failed) == (FRAMES, ())
    assert watched.count("/data?") > 0


def test_a_busy_cvat_is_asked_for_chunks_and_the_backup_left_to_others(
    watched, pack_all, task, tmp_path, monkeypatch
):
    monkeypatch.setattr(packed, "_QUEUED_S", 0.1)

    def busy(method, path, forward):
        answer = forward()
        if method == "GET" and path.startswith("/api/requests/"):
            answer.body = answer.body.replace(b'"finished"', b'"queued"')
            answer.body = answer.body.replace(b'"started"', b'"queued"')
        return answer

    watched.fault = busy
    assert len(pull_frames(watched.session, task.id, tmp_path / "store").refs) == FRAMES
    assert watched.count("/cancel") == 0, "a backup of the same task may be waiting for it"
    assert watched.count("/backup/download") == 0
    assert watched.count("/data?") > 0


def test_work_that_has_begun_is_waited_for(watched, task):
    def begun(method, path, forward):
        answer = forward()
        if path.startswith("/api/requests/"):
            answer.body = answer.body.replace(b'"queued"', b'"started"')
        return answer

    watched.fault = begun
    request = begin_backup(watched.session, "task", task.id, doing="the test")
    state = wait_for_request(watched.session, request, doing="the test", queued_s=-1.0)
    assert state["status"] == "finished"


def test_a_backup_that_is_under_way_is_waited_for(watched, pack_all, task, tmp_path):
    def under_way(method, path, forward):
        answer = forward()
        if "/backup/export" in path:
            answer.status = 409  # as CVAT says it, with the id of the request
        return answer

    watched.fault = under_way
    assert len(pull_frames(watched.session, task.id, tmp_path / "store").refs) == FRAMES
    assert (watched.count("/backup/download"), watched.count("/data?")) == (1, 0)


def test_a_backup_run_asks_anew_once_an_earlier_one_is_ready(watched, task, tmp_path):
    begun = []

    def under_way_once(method, path, forward):
        answer = forward()
        if "/backup/export" in path:
            begun.append(path)
            answer.status = 409 if len(begun) == 1 else answer.status
        return answer

    watched.fault = under_way_once
    archives.export_archive(watched.session, UnitKind.TASK, task.id, tmp_path / "task.zip")
    first, second = (place for place, (_, path) in enumerate(watched.asked) if path in begun)
    between = [path for _, path in watched.asked[first:second]]
    assert any(path.startswith("/api/requests/") for path in between), "the earlier was waited for"


def test_work_that_failed_says_why(watched, task):
    def fail(method, path, forward):
        answer = forward()
        if path.startswith("/api/requests/"):
            answer.body = b'{"status": "failed", "message": "no room\\nOSError: disk"}'
        return answer

    watched.fault = fail
    request = begin_backup(watched.session, "task", task.id, doing="the test")
    with pytest.raises(CvatRequestFailed, match="while packing: OSError: disk"):
        wait_for_request(watched.session, request, doing="packing")


def test_a_pull_that_is_cancelled_in_a_backup_keeps_what_came(
    watched, pack_all, task, tmp_path, monkeypatch
):
    monkeypatch.setattr(frames, "_TOGETHER", 1)

    class Stop(NullProgress):
        def __init__(self):
            self.came = 0

        def advance(self, count=1):
            self.came += count

        def check(self):
            if self.came:
                raise RunCancelled("stopped")

    with pytest.raises(RunCancelled):
        pull_frames(watched.session, task.id, tmp_path / "store", progress=Stop())
    assert pull_frames(watched.session, task.id, tmp_path / "store").fetched < FRAMES


def test_a_task_and_its_images_come_side_by_side(watched, pack_all, task, tmp_path):
    label = read_task(watched.session, task.id).labels[1]
    draw_by_hand(watched.session, task, rectangle(watched.session, task, [1, 1, 9, 9]))
    watched.asked.clear()
    state, pulled = pull_task(watched.session, task.id, tmp_path / "store")
    assert watched.count("/data/meta") == 1, "both know it from the same answer"
    (found,) = state.objects().frames[0].instances.class_ids.tolist()
    assert state.labels[found] == label
    assert [ref.frame for ref in pulled.refs] == list(range(FRAMES))


def test_a_backup_is_asked_for_where_it_pays(session, task):
    found = get_task(session, task.id)
    meta = data_meta(session, found)
    missing = task_frames(session, task.id)
    many = replace(found, chunk_size=2)
    assert is_worth_packing(many, meta, missing)
    assert not is_worth_packing(found, meta, missing), "one chunk holds all of it"
    assert not is_worth_packing(many, meta, missing[: FRAMES // 2 - 1]), "most of it is here"
    assert not is_worth_packing(replace(many, has_image_chunks=False), meta, missing)
    assert not is_worth_packing(replace(many, validation="gt_pool"), meta, missing)
    assert not is_worth_packing(many, {**meta, "cloud_storage_id": 3}, missing)
    assert not is_worth_packing(many, {**meta, "frame_filter": "step=10"}, missing)
    assert not is_worth_packing(many, {**meta, "start_frame": 5}, missing)
    tiffs = [replace(f, name="a.tiff") for f in missing]
    assert not is_worth_packing(many, meta, tiffs)
