"""A marker is planted as password, key and token; then everything that was written is searched."""

from __future__ import annotations

import logging
import traceback

import pytest
from cvat_helpers import Answer, FaultProxy, discs, make_task

from lsl_core.cvat import (
    Journal,
    PasswordLogin,
    SavedKey,
    TokenLogin,
    apply_push,
    connect,
    plan_push,
    pull_frames,
)
from lsl_core.errors import LslError

MARKER = "planted-Marker-4711"


def _told(error: BaseException) -> str:
    """Return everything that an error can show: its text, its detail, its whole chain."""
    words = "".join(traceback.format_exception(error)) + repr(error)
    return words + (error.detail if isinstance(error, LslError) else "")


@pytest.mark.parametrize(
    "login",
    [PasswordLogin("mia", "wrong" + MARKER), SavedKey("mia", MARKER), TokenLogin(MARKER)],
    ids=["password", "key", "token"],
)
@pytest.mark.parametrize("status", [0, 401, 429, 500])
def test_a_refused_secret_is_in_no_error_and_no_log(sandbox, caplog, login, status):
    caplog.set_level(logging.DEBUG)
    with FaultProxy(sandbox.url) as proxy:

        def fault(method, path, forward):
            if "/users/self" not in path and "/login" not in path:
                return forward()
            return None if status == 0 else Answer(status, [], b'{"detail": "no"}')

        proxy.fault = fault
        with pytest.raises(LslError) as caught:
            connect(proxy.url, login)
    assert MARKER not in _told(caught.value)
    assert MARKER not in caplog.text
    assert MARKER not in repr(login)


def test_a_password_and_its_key_are_in_nothing_that_a_push_writes(sandbox, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    sandbox.add_user("mia", MARKER)
    work = tmp_path / "work"
    work.mkdir()
    errors = []
    with FaultProxy(sandbox.url) as proxy:
        login = PasswordLogin("mia", MARKER)
        with connect(proxy.url, login, organisation="") as session:
            secrets = {MARKER, session.key}
            task = make_task(session, tmp_path)
            journal = Journal(work / "lsl.sqlite")
            plan = plan_push(session, task.id, {0: discs([(15, 15, 8)])}, ("cell",))
            apply_push(session, plan, journal, snapshot=work / "s.gz")
            pull_frames(session, task.id, work / "frames")
            for status in (400, 401, 403, 404, 500):
                answer = Answer(status, [], b'{"detail": "no"}')
                proxy.fault = lambda method, path, forward, answer=answer: answer
                with pytest.raises(LslError) as caught:
                    plan_push(session, task.id, {}, ("cell",))
                errors.append(_told(caught.value))
            shown = repr(session) + repr(plan) + repr(journal.pushes())
    files = [path.read_bytes() for path in work.rglob("*") if path.is_file()]
    assert len(files) > 3
    for secret in secrets:
        assert not any(secret.encode() in data for data in files)
        assert not any(secret in text for text in (*errors, shown, caplog.text))
