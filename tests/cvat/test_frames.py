from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest
from cvat_helpers import FaultProxy, make_task, write_images

from lsl_core.cvat import PasswordLogin, connect, create_task, frame_bytes, pull_frames
from lsl_core.errors import CvatUnreachable, RunCancelled, UserInput
from lsl_core.progress import NullProgress
from lsl_core.workspace.images import decode_rgb, read_rgb


@pytest.fixture
def task(session, tmp_path):
    return make_task(session, tmp_path, frames=6)


def _counted(url):
    """Return a proxy that counts the requests for images."""
    proxy, asked = FaultProxy(url), []

    def count(method, path, forward):
        if "/data?" in path:
            asked.append(path)
        return forward()

    proxy.fault = count
    return proxy, asked


def _login(url):
    return connect(url, PasswordLogin("demo", "demo-password"), organisation="")


def test_images_arrive_as_they_were_uploaded_in_the_order_of_the_frames(session, task, tmp_path):
    pulled = pull_frames(session, task.id, tmp_path / "store")
    sent = [tmp_path / "images" / ref.name for ref in pulled.refs]
    assert [path.read_bytes() for path in pulled.paths] == [path.read_bytes() for path in sent]
    assert [ref.frame for ref in pulled.refs] == list(range(6))
    assert all(ref.image_hw == (60, 80) and ref.task_id == task.id for ref in pulled.refs)
    assert (pulled.fetched, pulled.failed) == (6, ())


def test_nothing_is_fetched_twice(session, task, tmp_path):
    first = pull_frames(session, task.id, tmp_path / "store")
    again = pull_frames(session, task.id, tmp_path / "store")
    assert (again.fetched, again.refs, again.paths) == (0, first.refs, first.paths)


def test_a_whole_task_comes_by_chunks_and_a_few_frames_one_by_one(sandbox, session, task, tmp_path):
    proxy, asked = _counted(sandbox.url)
    with proxy, _login(proxy.url) as through:
        pull_frames(through, task.id, tmp_path / "all")
        assert len(asked) == 1
        assert "type=chunk" in asked[0]
        asked.clear()
        few = pull_frames(through, task.id, tmp_path / "few", frames=[4])
        assert [ref.frame for ref in few.refs] == [4]
        assert len(asked) == 1
        assert "type=frame" in asked[0]


def test_a_pull_that_was_killed_goes_on_where_it_was(session, task, tmp_path):
    store = tmp_path / "store"
    pull_frames(session, task.id, store, frames=[0, 3])
    (list_file,) = (store / "tasks").iterdir()
    list_file.write_bytes(list_file.read_bytes() + b'{"frame": 5, "sha')  # cut by the kill
    pulled = pull_frames(session, task.id, store)
    assert pulled.fetched == 4
    assert len(pulled.refs) == 6
    assert pull_frames(session, task.id, store).fetched == 0


#: Pulls a task and is killed by the kernel when some images are there.
_KILLED = """
import os, signal, sys
from pathlib import Path
from lsl_core.cvat import PasswordLogin, connect, pull_frames
from lsl_core.progress import NullProgress

class Killing(NullProgress):
    seen = 0
    def advance(self, count=1):
        self.seen += count
        if self.seen >= int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)

login = PasswordLogin("demo", "demo-password")
with connect(sys.argv[1], login, organisation="") as session:
    pull_frames(session, int(sys.argv[2]), Path(sys.argv[3]), progress=Killing())
"""


@pytest.mark.parametrize("images", [1, 3, 6])
def test_a_process_that_is_killed_leaves_only_whole_images(session, task, tmp_path, images):
    store = tmp_path / "store"
    words = [session.url, str(task.id), str(store), str(images)]
    done = subprocess.run([sys.executable, "-c", _KILLED, *words], check=False)
    assert done.returncode == -signal.SIGKILL
    kept = {path.name for path in store.rglob("*") if path.suffix == ".png"}
    pulled = pull_frames(session, task.id, store)
    assert kept <= {path.name for path in pulled.paths}
    assert pulled.fetched < 6
    assert [path.read_bytes() for path in pulled.paths] == [
        (tmp_path / "images" / ref.name).read_bytes() for ref in pulled.refs
    ]
    assert len(pulled.refs) == 6
    assert pull_frames(session, task.id, store).fetched == 0


def test_a_lost_file_is_fetched_again(session, task, tmp_path):
    pulled = pull_frames(session, task.id, tmp_path / "store")
    pulled.paths[2].unlink()
    assert pull_frames(session, task.id, tmp_path / "store").fetched == 1
    assert pulled.paths[2].is_file()


def test_the_same_image_in_two_tasks_is_one_file(session, task, tmp_path):
    other = make_task(session, tmp_path, frames=6)
    one = pull_frames(session, task.id, tmp_path / "store")
    two = pull_frames(session, other.id, tmp_path / "store")
    assert one.paths == two.paths


def test_a_truncated_image_is_one_failed_frame_and_the_rest_goes_on(sandbox, session, tmp_path):
    paths = write_images(tmp_path / "images", 3, suffix=".jpg")
    task = create_task(session, "cut", [("cell", "mask")], paths)
    proxy, _ = _counted(sandbox.url)
    broken = paths[1].read_bytes()

    def cut(method, path, forward):
        answer = forward()
        if "/data?" in path:
            # the image lies in the chunk as it is: its tail becomes zeros, its CRC does not fit
            answer.body = answer.body.replace(broken[-200:], bytes(200))
        return answer

    proxy.fault = cut
    with proxy, _login(proxy.url) as through:
        pulled = pull_frames(through, task.id, tmp_path / "store")
    assert [ref.frame for ref in pulled.refs] == [0, 2]
    (failed,) = pulled.failed
    assert (failed.frame, failed.name) == (1, paths[1].name)
    assert "cut off" in failed.reason


def test_a_chunk_that_cvat_cannot_make_is_asked_for_by_frame(sandbox, session, task, tmp_path):
    proxy = FaultProxy(sandbox.url)

    def no_chunks(method, path, forward):
        answer = forward()
        if "type=chunk" in path or "number=2" in path:
            answer.status, answer.body = 500, b"<h1>Server Error (500)</h1>"
        return answer

    proxy.fault = no_chunks
    with proxy, _login(proxy.url) as through:
        pulled = pull_frames(through, task.id, tmp_path / "store")
    assert len(pulled.refs) == 5
    assert [f.frame for f in pulled.failed] == [2]
    assert "500" in pulled.failed[0].reason


def test_a_download_that_breaks_off_is_begun_again(sandbox, session, task, tmp_path):
    proxy, broken = FaultProxy(sandbox.url), []

    def cut_once(method, path, forward):
        answer = forward()
        if "/data?" in path and not broken:
            broken.append(path)
            return None
        return answer

    proxy.fault = cut_once
    with proxy, _login(proxy.url) as through:
        assert len(pull_frames(through, task.id, tmp_path / "store").refs) == 6
    assert broken


def test_a_server_that_goes_away_keeps_what_is_here(sandbox, session, task, tmp_path):
    proxy = FaultProxy(sandbox.url)
    with proxy, _login(proxy.url) as through:
        pull_frames(through, task.id, tmp_path / "store", frames=[0])
        proxy.fault = lambda method, path, forward: None if "/data?" in path else forward()
        with pytest.raises(CvatUnreachable):
            pull_frames(through, task.id, tmp_path / "store")
        proxy.fault = lambda method, path, forward: forward()
        assert pull_frames(through, task.id, tmp_path / "store").fetched == 5


def test_a_cancelled_pull_stops_between_chunks(session, task, tmp_path):
    class Stop(NullProgress):
        def check(self) -> None:
            raise RunCancelled("stopped")

    with pytest.raises(RunCancelled):
        pull_frames(session, task.id, tmp_path / "store", progress=Stop())


def test_deleted_frames_stay_away_unless_asked_for(session, task, tmp_path):
    path = f"/api/tasks/{task.id}/data/meta"
    session.transport.json("PATCH", path, doing="deleting", body={"deleted_frames": [1]})
    assert [r.frame for r in pull_frames(session, task.id, tmp_path / "s").refs] == [0, 2, 3, 4, 5]
    asked = pull_frames(session, task.id, tmp_path / "s", frames=[1])
    assert [r.frame for r in asked.refs] == [1]


def test_a_frame_number_that_is_not_there_is_refused(session, task, tmp_path):
    with pytest.raises(UserInput, match="no frame 6"):
        pull_frames(session, task.id, tmp_path, frames=[0, 6])


def test_single_frames_come_in_both_qualities(session, task, tmp_path):
    pulled = pull_frames(session, task.id, tmp_path / "store")
    original = frame_bytes(session, task.id, 2, quality="original")
    assert np.array_equal(decode_rgb(original, name="2"), read_rgb(pulled.paths[2]))
    assert frame_bytes(session, task.id, 2)[:2] == b"\xff\xd8"
