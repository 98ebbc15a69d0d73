"""A function folder: whole, self-contained, deployed by nuctl, and judged."""

from __future__ import annotations

import ast
import base64
import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from lsl_core.errors import BadThreshold, UserInput
from lsl_core.sandbox.scenes import SceneKind, draw_scene
from lsl_core.serve import Detector, DetectSettings, cvat_answer, drawing_of
from lsl_core.services import workspaces
from lsl_core.services.serving import nuctl, serverless
from lsl_core.services.serving.serverless import FunctionSettings, nuclio_name
from lsl_core.services.workspaces import Workspace
from lsl_core.types import Mode, SlideWindows
from lsl_core.workspace.images import encode_rgb
from tests.services import nuclio_config

IMAGE = encode_rgb(draw_scene(SceneKind.CELLS, seed=9, image_hw=(240, 320)).pixels, suffix=".png")


@pytest.fixture
def workspace(tmp_path: Path, trained: Path) -> Workspace:
    made = workspaces.create_workspace(tmp_path / "w", Mode.FSIS)
    shutil.copytree(trained, made.models / trained.name)
    return made


@pytest.mark.parametrize(
    "model", ["cells", "My Cells", "my_cells", "Zellen (größer)", "細胞", "a" * 90, "-", "v1.2"]
)
def test_a_name_is_a_dns_label_of_at_most_50_signs(model: str) -> None:
    name = nuclio_name(model)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 50
    assert name == nuclio_name(model)


def test_names_that_look_alike_as_labels_stay_different() -> None:
    names = {nuclio_name(model) for model in ("my cells", "my_cells", "My Cells", "my-cells")}
    assert len(names) == 4
    assert "lsl-my-cells" in names


#: Runs the function as Nuclio does, where only the named packages can be imported.
_ALONE = """
import importlib.metadata, json, logging, re, sys
folder, packages = sys.argv[1], set(sys.argv[2].split(","))
plain = lambda name: re.sub("[-_.]+", "-", name).lower()
allowed, waiting = set(), [*packages - {"opencv-python-headless"}, "opencv-python", "nuclio-sdk"]
while waiting:
    name = waiting.pop()
    allowed.add(plain(name))
    for line in importlib.metadata.requires(name) or []:
        needed = re.match(r"[\\w.\\-]+", line)[0]
        if "extra ==" not in line and ";" not in line and plain(needed) not in allowed:
            waiting.append(needed)
tops = importlib.metadata.packages_distributions()

class Fence:
    def find_spec(self, name, path=None, target=None):
        owners = {plain(owner) for owner in tops.get(name.partition(".")[0], [])}
        if owners and not owners & allowed and "lsl-studio" not in owners:
            raise ImportError(f"{name} is not among the requirements")

sys.meta_path.insert(0, Fence())
sys.path.insert(0, folder)
import lsl_core, main
assert lsl_core.__file__.startswith(folder), lsl_core.__file__
from nuclio_sdk import Context, Event
from nuclio_sdk.logger import Logger
context = Context(logger=Logger(logging.WARNING))
main.init_context(context)
answer = main.handler(context, Event(body=json.load(sys.stdin)))
print(answer.status_code, answer.body)
"""


def test_the_folder_answers_alone_with_its_requirements_as_the_service_does(
    workspace: Workspace, trained: Path
) -> None:
    slide = SlideWindows(160, 160, 40)
    function = serverless.write_function(
        workspace, trained.name, settings=FunctionSettings(0.2, slide=slide)
    )
    lines = (function.path / "requirements.txt").read_text().split()
    assert "torch>=2.13,<3" in {line.replace("<3,>=2.13", ">=2.13,<3") for line in lines}
    names = [re.match(r"[\w.\-]+", line)[0] for line in lines]
    assert not {"cvat-sdk", "streamlit", "opencv-python", "uvicorn"} & set(names)
    payload = json.dumps({"image": base64.b64encode(IMAGE).decode()})
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, str(function.path), ",".join(names)],
        input=payload, capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    status, _, text = done.stdout.partition(" ")
    assert status == "200"
    with Detector.open(trained) as detector:
        found = detector.detect(IMAGE, DetectSettings(0.2, slide=slide))
        expected = cvat_answer(found, detector.card.labels, drawing_of(detector.card))
    assert len(found)
    assert json.loads(text) == json.loads(expected)


def test_the_description_is_what_nuclio_and_cvat_read(workspace: Workspace, trained: Path) -> None:
    function = serverless.write_function(workspace, trained.name)
    cpu, gpu = ((function.path / f).read_text() for f in ("function.yaml", "function-gpu.yaml"))
    read = yaml.safe_load(cpu)
    assert read["metadata"]["name"] == function.name == "lsl-cells"
    assert read["metadata"]["annotations"]["type"] == "detector"
    labels = json.loads(read["metadata"]["annotations"]["spec"])
    assert [(row["name"], row["type"]) for row in labels] == [
        (label, "mask") for label in function.labels
    ]
    assert read["spec"]["build"]["baseImage"] == "python:3.11-slim"
    assert read["spec"]["handler"] == "main:handler"
    steps = [step["value"] for step in read["spec"]["build"]["directives"]["preCopy"]]
    assert "download.pytorch.org/whl/cpu" in steps[0]
    lines = (function.path / "requirements.txt").read_text().split()
    assert all(line in " ".join(steps).replace("'", "") for line in lines)
    assert yaml.safe_load(gpu)["spec"]["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert "whl/cpu" not in gpu
    assert "nvidia.com/gpu" not in cpu


@pytest.mark.parametrize("file", ["function.yaml", "function-gpu.yaml"])
def test_nuclio_knows_every_key_of_the_description(
    workspace: Workspace, trained: Path, file: str
) -> None:
    function = serverless.write_function(workspace, trained.name)
    config = nuclio_config.Config.model_validate(yaml.safe_load((function.path / file).read_text()))
    (trigger,) = config.spec.triggers.values()
    assert trigger.numWorkers == 2
    assert trigger.attributes.maxRequestBodySize >= 128 * 1024 * 1024
    module, _, name = config.spec.handler.partition(":")
    defined = ast.parse((function.path / f"{module}.py").read_text()).body
    assert {name, "init_context"} <= {f.name for f in defined if isinstance(f, ast.FunctionDef)}


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        (("spec",), "eventTimeout", "110"),
        (("spec",), "runtime", "python:3.14"),
        (("spec",), "timeout", "110s"),
        (("spec", "triggers", "http"), "workers", 2),
        (("spec", "triggers", "http", "attributes"), "maxBodySize", 1),
        (("spec", "build", "directives"), "afterCopy", []),
        (("metadata",), "name", "My_Cells"),
    ],
)
def test_a_key_that_nuclio_would_drop_is_noticed(
    workspace: Workspace, trained: Path, where: tuple[str, ...], key: str, value: object
) -> None:
    function = serverless.write_function(workspace, trained.name)
    config = yaml.safe_load((function.path / "function.yaml").read_text())
    place = config
    for step in where:
        place = place[step]
    place[key] = value
    with pytest.raises(ValidationError, match=key):
        nuclio_config.Config.model_validate(config)


def test_a_new_version_replaces_the_folder_and_nothing_else_is_touched(
    workspace: Workspace, trained: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(UserInput, match="something else"):
        serverless.write_function(workspace, trained.name, mine)
    assert [file.name for file in mine.iterdir()] == ["thesis.txt"]
    target = tmp_path / "function"
    serverless.write_function(workspace, trained.name, target)
    (target / "old.py").write_text("")
    again = serverless.write_function(
        workspace, trained.name, target, settings=FunctionSettings(fill_holes=True)
    )
    assert not (target / "old.py").exists()
    assert json.loads((again.path / "settings.json").read_text())["fill_holes"] is True
    assert not list(tmp_path.glob(".part-*"))


def test_settings_that_are_no_use_are_refused_before_anything_is_written(
    workspace: Workspace, trained: Path
) -> None:
    with pytest.raises(BadThreshold):
        serverless.write_function(
            workspace, trained.name, settings=FunctionSettings(mask_threshold=0.0)
        )
    with pytest.raises(UserInput, match="no model"):
        serverless.write_function(workspace, "nope")
    assert not (workspace.data / "serverless").exists()


#: Behaves like nuctl as `behaviour.json` beside it says, and writes down what it was asked.
_NUCTL = """#!{python}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "asked.txt").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
does = json.loads((here / "behaviour.json").read_text())
if sys.argv[1] == "deploy":
    print("Building the image")
    print(does.get("last", "Function deploy complete"))
    sys.exit(does.get("deploy", 0))
if sys.argv[1] == "get":
    if does.get("get") is None:
        sys.exit("No functions found")
    print(json.dumps(does["get"]))
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nuctl").write_text(_NUCTL.format(python=sys.executable))
    (folder / "nuctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))

    def behave(**how: object) -> Path:
        (folder / "behaviour.json").write_text(json.dumps(how))
        return folder / "asked.txt"

    return behave


@pytest.fixture
def port():
    """A function that answers what `.answer` says."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert base64.b64decode(body["image"]) == IMAGE
            status, text = self.server.answer
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.answer = (200, b"[]")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def described(port: HTTPServer, labels: tuple[str, ...] = ("cell",), state: str = "ready") -> dict:
    spec = json.dumps([{"id": i, "name": name} for i, name in enumerate(labels)])
    return {
        "metadata": {"annotations": {"spec": spec}},
        "status": {"state": state, "httpPort": port.server_port},
    }


FUNCTION = serverless.FunctionFolder(Path("/f"), "lsl-cells", ("cell",))


def test_deploying_asks_nuctl_and_says_that_all_is_well(tool, port) -> None:
    asked = tool(get=described(port))
    port.answer = (200, b'[{"label": "cell"}]')
    lines: list[str] = []
    health = nuctl.deploy(FUNCTION, image=IMAGE, say=lines.append)
    assert health.is_fine
    assert "1 object on" in health.text
    assert lines == ["Building the image", "Function deploy complete"]
    words = [json.loads(line) for line in asked.read_text().splitlines()]
    assert words[0][:3] == ["create", "project", "cvat"]
    assert words[1] == serverless.deploy_command(FUNCTION)[1:]


@pytest.mark.parametrize(
    ("how", "state", "answer", "step", "text"),
    [
        ({"deploy": 1, "last": "no space left"}, "ready", None, "image", "no space left"),
        ({"get": None}, "ready", None, "function", "does not know lsl-cells"),
        ({}, "error", None, "function", "its state is error"),
        ({"labels": ("cell", "ghost")}, "ready", None, "labels", "other labels"),
        ({}, "ready", (422, b'{"error": "no image"}'), "answer", "answers 422: no image"),
        ({}, "ready", (200, b"hello"), "answer", "answers 200: hello"),
        ({}, "ready", (200, b'[{"label": "ghost"}]'), "labels", "ghost"),
    ],
)
def test_the_first_broken_step_is_named_in_one_line(
    tool, port, how, state, answer, step, text
) -> None:
    labels = how.pop("labels", ("cell",))
    tool(**{"get": described(port, labels, state)} | how)
    port.answer = answer or port.answer
    health = nuctl.deploy(FUNCTION, image=IMAGE)
    assert not health.is_fine
    assert health.step == step
    assert text in health.text
    assert "\n" not in health.text


def test_a_function_that_is_gone_does_not_answer(tool, port) -> None:
    gone = described(port)
    gone["status"]["httpPort"] = 1
    tool(get=gone)
    health = nuctl.check_function(FUNCTION, image=IMAGE)
    assert (health.step, "does not answer" in health.text) == ("answer", True)


def test_without_nuctl_the_verdict_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nuctl.deploy(FUNCTION, image=IMAGE).step == "nuctl"
    assert nuctl.check_function(FUNCTION, image=IMAGE).step == "nuctl"


def test_the_bundle_holds_every_module_of_ours_that_it_names(
    workspace: Workspace, trained: Path
) -> None:
    function = serverless.write_function(workspace, trained.name)
    here = Path(serverless.__file__).parents[3]
    for file in function.path.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lsl_core"):
                if node.module == "lsl_core.models.foundation.model":
                    continue  # imported on use only, and a compact model never does
                place = Path(*node.module.split("."))
                is_there = [(root / place).with_suffix(".py").is_file() or (root / place).is_dir()
                            for root in (here, function.path)]  # fmt: skip
                assert is_there == [True, True], node.module
