from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lsl_core.errors import FormatTooNew, UserInput, WorkspaceError
from lsl_core.types import Mode
from lsl_core.workspace import Database, Workspace
from lsl_core.workspace.secrets import Secret, SecretStore


def test_a_workspace_is_found_from_a_folder_inside_it(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path / "bolts", mode=Mode.FSOD)
    inner = made.root / "a" / "b"
    inner.mkdir(parents=True)
    assert Workspace.open(inner) == made
    assert made.settings().mode is Mode.FSOD


def test_a_folder_without_one_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="lsl create"):
        Workspace.open(tmp_path)


def test_a_workspace_is_never_made_over_another(tmp_path: Path) -> None:
    Workspace.create(tmp_path, mode=Mode.FSIS)
    with pytest.raises(UserInput, match="already is a workspace"):
        Workspace.create(tmp_path, mode=Mode.FSIS)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("format_version = 99", FormatTooNew, "newer version"),
        ("mode = 'paint'", WorkspaceError, "mode"),
        ("[inference]\nfloor_score = 3", WorkspaceError, "inference.floor_score"),
        ("= 3", WorkspaceError, "no valid TOML"),
    ],
)
def test_bad_settings_name_the_line(
    tmp_path: Path, text: str, error: type[Exception], says: str
) -> None:
    workspace = Workspace.create(tmp_path, mode=Mode.FSIS)
    (workspace.root / "lsl.toml").write_text(text)
    with pytest.raises(error, match=says):
        workspace.settings()


def test_saving_settings_keeps_a_persons_comments(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path, mode=Mode.FSIS)
    path = workspace.root / "lsl.toml"
    path.write_text("# our line 2\n" + path.read_text())
    settings = workspace.settings()
    settings.cvat.url = "http://cvat.example"
    settings.cvat.organisation = "acme"
    workspace.save(settings)
    assert path.read_text().startswith("# our line 2")
    assert workspace.settings().cvat.organisation == "acme"
    settings.cvat.organisation = None
    workspace.save(settings)
    assert workspace.settings().cvat.organisation is None


def test_two_rooms_keep_their_own_migrations_in_one_database(tmp_path: Path) -> None:
    path = tmp_path / "lsl.db"
    Database(path, room="a", migrations=["CREATE TABLE a (x INT)"])
    Database(path, room="b", migrations=["CREATE TABLE b (x INT)"])
    again = Database(
        path, room="a", migrations=["CREATE TABLE a (x INT)", "ALTER TABLE a ADD y INT"]
    )
    with again.write() as db:
        db.execute("INSERT INTO a (x, y) VALUES (1, 2)")
    with pytest.raises(FormatTooNew):
        Database(path, room="a", migrations=["CREATE TABLE a (x INT)"])


def test_a_transaction_is_whole_or_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "lsl.db", room="a", migrations=["CREATE TABLE a (x INT)"])

    def write_half() -> None:
        with database.write() as db:
            db.execute("INSERT INTO a VALUES (1)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    with database.read() as db:
        assert db.execute("SELECT count(*) FROM a").fetchone()[0] == 0


def test_many_threads_write_without_loss(tmp_path: Path) -> None:
    database = Database(tmp_path / "lsl.db", room="a", migrations=["CREATE TABLE a (x INT)"])

    def add() -> None:
        for _ in range(20):
            with database.write() as db:
                db.execute("INSERT INTO a VALUES (1)")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as db:
        assert db.execute("SELECT count(*) FROM a").fetchone()[0] == 80


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    store = SecretStore(tmp_path / "config" / "keys.json")
    store.put(Secret("key", "s3cret"), url="http://cvat", user="ana")
    assert (tmp_path / "config" / "keys.json").stat().st_mode & 0o777 == 0o600
    assert store.get(url="http://cvat", user="ana") == Secret("key", "s3cret")
    assert "s3cret" not in repr(store.get(url="http://cvat", user="ana"))
    store.remove(url="http://cvat", user="ana")
    assert store.get(url="http://cvat", user="ana") is None
