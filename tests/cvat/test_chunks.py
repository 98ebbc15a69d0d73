from __future__ import annotations

import io
import zipfile

import pytest
from cvat_helpers import FaultProxy, make_task

from lsl_core.cvat import PasswordLogin, connect, pull_frames
from lsl_core.cvat.images.chunks import members_of

FILES = [("000000.png", b"first" * 100), ("000001.jpeg", b""), ("sub/é.tif", b"third" * 3)]


def archive(method=zipfile.ZIP_STORED, *, into=None):
    body = into or io.BytesIO()
    with zipfile.ZipFile(body, "w", method) as packed:
        for name, data in FILES:
            packed.writestr(name, data)
    return body.getvalue()


class OneWay(io.BytesIO):
    """A file that cannot be moved in: sizes follow the data then."""

    def seekable(self):
        return False

    def tell(self):
        raise OSError


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_in_their_order(method):
    assert list(members_of(io.BytesIO(archive(method)))) == FILES


def test_an_archive_is_read_to_its_end():
    body = io.BytesIO(archive())
    list(members_of(body))
    assert body.read() == b""


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_a_cut_archive_is_told(share):
    data = archive()
    with pytest.raises(zipfile.BadZipFile):
        list(members_of(io.BytesIO(data[: int(len(data) * share)])))


def test_a_damaged_member_is_named_and_those_before_it_are_whole():
    data = archive().replace(b"thirdthird", b"thirdthirD")
    found = members_of(io.BytesIO(data))
    assert [next(found), next(found)] == FILES[:2]
    with pytest.raises(zipfile.BadZipFile, match=r"é\.tif is damaged"):
        next(found)


@pytest.mark.parametrize("data", [b"", b"<html>no zip</html>", archive(into=OneWay())])
def test_what_cannot_be_read_from_the_front_is_told(data):
    with pytest.raises(zipfile.BadZipFile):
        list(members_of(io.BytesIO(data)))


def test_images_of_a_chunk_without_sizes_are_asked_for_one_by_one(sandbox, session, tmp_path):
    task = make_task(session, tmp_path, frames=4)
    asked = []

    def no_sizes(method, path, forward):
        answer = forward()
        asked.append(path)
        if "type=chunk" in path:
            answer.body = archive(into=OneWay())
        return answer

    with FaultProxy(sandbox.url) as proxy:
        proxy.fault = no_sizes
        with connect(proxy.url, PasswordLogin("demo", "demo-password"), organisation="") as through:
            pulled = pull_frames(through, task.id, tmp_path / "store")
    assert (len(pulled.paths), pulled.failed) == (4, ())
    assert sum("type=frame" in path for path in asked) == 4
