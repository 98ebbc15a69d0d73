"""The verbs that open doors to others: Nuclio and Label Studio."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

from lsl_core.cli.main import run
from lsl_core.labelstudio import config_for
from lsl_core.sandbox.scenes import SceneKind, draw_scene
from lsl_core.workspace.images import encode_rgb
from tests.labelstudio.fake import TOKEN, FakeLabelStudio

HW = (96, 128)


def lsl(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def boxed(fake: FakeLabelStudio) -> int:
    """Return a project of three images whose objects somebody drew boxes around."""
    rows = []
    for seed in range(3):
        scene = draw_scene(SceneKind.CELLS, seed=seed, image_hw=HW)
        results = [
            {
                "id": f"r{i}", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
                "original_width": HW[1], "original_height": HW[0], "image_rotation": 0,
                "value": {"x": x / HW[1] * 100, "y": y / HW[0] * 100, "rotation": 0,
                          "width": (x1 - x) / HW[1] * 100, "height": (y1 - y) / HW[0] * 100,
                          "rectanglelabels": ["cell"]},
            }
            for i, (x, y, x1, y1) in enumerate(scene.instances.boxes.tolist())
        ]  # fmt: skip
        data = encode_rgb(scene.pixels, suffix=".png")
        rows.append((f"{seed}.png", data, [{"id": 1, "result": results}]))
    return fake.add_project(config_for(["cell"], "rectanglelabels"), *rows)


def test_label_studio_and_nuclio_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lsl(capsys, "create", tmp_path / "w", "--task", "fsod")[0] == 0
    monkeypatch.chdir(tmp_path / "w")
    code, _, err = lsl(capsys, "import", "--labelstudio-project-id", 1, "--name", "a")
    assert (code, "labelstudio-setup" in err) == (2, True)
    with FakeLabelStudio() as fake:
        number = boxed(fake)
        code, _, err = lsl(capsys, "labelstudio-setup", "--url", fake.url, "--token", "wrong")
        assert (code, "refused the token" in err) == (15, True)
        code, out, _ = lsl(capsys, "labelstudio-setup", "--url", fake.url, "--token", TOKEN)
        assert (code, "ana@example.org" in out) == (0, True)
        assert TOKEN not in out
        code, out, _ = lsl(capsys, "import", "--labelstudio-project-id", number, "--name", "a")
        assert (code, "3 images" in out) == (0, True)
        assert lsl(capsys, "auto-label", "--train", "a", "--test", "a", "--iter", 2)[0] == 0
        code, out, _ = lsl(
            capsys, "labelstudio-export", "--train", "a", "--name", "a",
            "--labelstudio-name", "Back",
        )  # fmt: skip
        assert (code, "3 images" in out) == (0, True)
        assert [project["title"] for project in fake.projects.values()] == ["p1", "Back"]
        _backend_answers(fake, number)
    code, out, _ = lsl(capsys, "cvat-serverless", "--train", "a", "--no-deploy")
    assert (code, "nuctl deploy lsl-a" in out) == (0, True)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = lsl(capsys, "cvat-serverless", "--train", "a", "--check")
    assert (code, "nuctl: nuctl is not on this machine" in err) == (14, True)


def _backend_answers(fake: FakeLabelStudio, number: int) -> None:
    """Start the ML backend as a process, ask it, and stop it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-c", "from lsl_core.cli.main import run; run()"]
    process = subprocess.Popen(
        [sys.executable, *words, "labelstudio-ml-start", "--train", "a",
         "--labelstudio-ml-port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(os.environ),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert str(port) in process.stdout.readline().decode()
        url = f"http://127.0.0.1:{port}"
        patient = urllib3.Retry(total=20, connect=20, backoff_factor=0.05)
        with urllib3.PoolManager(retries=patient) as pool:
            assert pool.request("GET", f"{url}/health").json()["model_version"] == "a-v1"
            tasks = [{"id": t["id"], "data": t["data"]} for t in fake.tasks[number]]
            body = {"tasks": tasks, "label_config": fake.projects[number]["label_config"]}
            said = pool.request("POST", f"{url}/predict", json=body).json()
            assert [set(row) for row in said["results"]] == [
                {"result", "score", "model_version"}
            ] * 3
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        process.stdout.close()
