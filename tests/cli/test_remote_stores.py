"""Backups on real remote stores, over HTTP, as an operator types it.

WebDAV's server comes with the packages of the other tests. That of S3 brings forty, and an older
python-dateutil than ours, so it is for an environment of its own:

    pip install "moto[s3,server]" s3fs
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec.config
import pytest
from cheroot.wsgi import Server
from wsgidav.wsgidav_app import WsgiDAVApp

from lsl_core.cli.main import run
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER

sys.path.insert(0, str(Path(__file__).parents[1] / "cvat"))
from backup_world import BackupWorld, api, backup_world

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "who", "AWS_SECRET_ACCESS_KEY": "secret-of-s3"}
WEBDAV_PASSWORD = "secret-of-webdav"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackupWorld]:
    with backup_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket, reached by the environment, as AWS's own tools are."""
    server = pytest.importorskip("moto.server", reason='pip install "moto[s3,server]"')
    s3fs = pytest.importorskip("s3fs")
    running = server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    url = "http://{}:{}".format(*running.get_host_and_port())
    made = s3fs.S3FileSystem(key="who", secret="secret-of-s3", endpoint_url=url)
    made.mkdir("bucket")
    about = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": url, **CREDENTIALS}
    for name, value in about.items():
        monkeypatch.setenv(name, value)
    yield "s3://bucket/cvat"
    running.stop()


@pytest.fixture
def webdav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A WebDAV server with a password, and fsspec's own configuration for it."""
    folder = tmp_path / "webdav"
    folder.mkdir()
    people = {"*": {"ana": {"password": WEBDAV_PASSWORD}}}
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(folder)},
            "http_authenticator": {"domain_controller": None},
            "simple_dc": {"user_mapping": people},
            "verbose": 0,
            "logging": {"enable": False},
        }
    )
    server = Server(("127.0.0.1", 0), app)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    config = tmp_path / "fsspec"
    config.mkdir()
    url = f"http://127.0.0.1:{server.bind_addr[1]}"
    about = {"webdav": {"base_url": url, "auth": ["ana", WEBDAV_PASSWORD]}}
    (config / "webdav.json").write_text(json.dumps(about))
    monkeypatch.setattr(fsspec.config, "conf", conf := {})
    monkeypatch.setattr("lsl_core.backups.store.conf", conf)
    fsspec.config.set_conf_files(str(config), conf)
    yield "webdav://backups/cvat"
    server.stop()
    thread.join(timeout=10)


@pytest.fixture
def lsl(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run a command that has to end well and to tell no secret; return what it printed."""

    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as left:
            run(["--workspace", str(tmp_path / "w"), *map(str, arguments)])
        out, err = capsys.readouterr()
        assert not left.value.code, err
        assert "secret-of" not in out + err
        return out

    return call


def _day_of_an_operator(lsl, world: BackupWorld, home: Path, url: str) -> None:
    lsl("create", home / "w", "--task", "fsis")
    user = ("--cvat-username", DEMO_USER, "--cvat-password", DEMO_PASSWORD)
    lsl("cvat-setup", "--url", world.sandbox.url, *user)
    assert url in lsl("backup", "init", url, "--key-file", home / "key")
    for _ in range(2):
        lsl("backup", "now", "--project", world.project)
    new, old = _ids(lsl("backup", "list"))
    lsl("backup", "verify")
    lsl("backup", "drill", new)
    restored = lsl("backup", "restore", "--snapshot", new)
    again = int(re.findall(r"projects/(\d+)", restored)[-1])
    tasks = api(world.session, "GET", "/api/tasks", query={"project_id": again})
    assert [task["size"] for task in tasks["results"]] == [4]
    lsl("backup", "forget", old)
    lsl("backup", "prune", "--yes")
    lsl("backup", "check")
    lsl("backup", "verify")
    assert _ids(lsl("backup", "list")) == [new]


def _ids(listed: str) -> list[str]:
    return re.findall(r"^[0-9a-f]{10}", listed, re.MULTILINE)


@pytest.mark.timeout(600)
def test_backups_are_made_verified_restored_and_pruned_in_a_bucket(lsl, world, s3, tmp_path):
    _day_of_an_operator(lsl, world, tmp_path, s3)


@pytest.mark.timeout(600)
def test_backups_are_made_verified_restored_and_pruned_over_webdav(lsl, world, webdav, tmp_path):
    _day_of_an_operator(lsl, world, tmp_path, webdav)
