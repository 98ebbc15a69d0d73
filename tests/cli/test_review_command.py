from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from click.testing import CliRunner

from lsl_core import cvat
from lsl_core.cli.main import app
from lsl_core.cvat import Journal, PasswordLogin
from lsl_core.cvat.annotations.packing import unpacked
from lsl_core.sandbox import DEMO_PASSWORD, DEMO_USER, Sandbox
from lsl_core.services import connections, workspaces
from lsl_core.types import Instances, Mode


def test_review_lists_what_became_of_each_label(tmp_path: Path) -> None:
    workspace = workspaces.create_workspace(tmp_path / "w", Mode.FSOD)
    image = tmp_path / "a.png"
    assert cv2.imwrite(str(image), np.zeros((60, 80, 3), np.uint8))
    boxes = np.array([[1, 1, 20, 20], [30, 30, 50, 50]], np.float32)
    ones = np.ones(2, np.float32)
    found = Instances(boxes, ones, np.zeros(2, np.int32), None, (60, 80))
    login = PasswordLogin(DEMO_USER, DEMO_PASSWORD)
    with Sandbox(tmp_path / "sandbox") as sandbox:
        with connections.sign_in(login, url=sandbox.url, remember_in=workspace) as session:
            task = cvat.create_task(session, "t", [("bolt", "rectangle")], [image])
            plan = cvat.plan_push(session, task.id, {0: found}, ("bolt",))
            journal = Journal(workspace.journal)
            push = cvat.apply_push(session, plan, journal, snapshot=tmp_path / "s.gz")
            (job,) = cvat.task_jobs(session, task.id)
            shape = cvat.task_annotations(session, task.id)["shapes"][0]
            path = f"/api/jobs/{job.id}/annotations/"
            body = {"shapes": unpacked([shape]), "tags": [], "tracks": []}
            session.transport.json(
                "PATCH", path, doing="deleting", query={"action": "delete"}, body=body
            )
        args = ["--workspace", str(workspace.root), "review", push.push_id]
        result = CliRunner().invoke(app, args, catch_exceptions=False)
    assert result.exit_code == 0
    header, row = result.output.splitlines()[-2:]
    assert header.split()[1:6] == ["kept", "moved", "relabelled", "deleted", "added"]
    assert row.split() == ["bolt", "1", "0", "0", "1", "0", "-"]
