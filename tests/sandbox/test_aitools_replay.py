"""What real CVAT servers answered, and what they sent to their Nuclio, call by call."""

from __future__ import annotations

import base64
import json
import threading
import time

import pytest
from contract_replay import PASSWORDS, Replay, records_in
from nuclio_stand_in import StandIn
from sandbox_helpers import Http, draw_images, wait_for
from test_sandbox_replay import contract

from lsl_core.sandbox import Sandbox
from lsl_core.sandbox.base.nuclio import Nuclio

#: Ids of the recorded task, its first job and its first label.
IDS = {"2.30.0": (41, 115, 43), "2.39.0": (17, 47, 43)}


class Recorded:
    """Answers what the recorded stand-in answered, and notes where it was asked another thing."""

    def __init__(self, folder):
        self.left = [json.loads(path.read_text()) for path in sorted(folder.glob("gw_*.json"))]
        self.direct_port = 0
        self.differences = []
        self.may_end = threading.Event()

    def __call__(self, asked):
        if asked.method == "POST" and self.left[0]["request"]["method"] == "GET":
            return self._unrecorded()
        exchange = self.left.pop(0)
        self._compare(exchange, asked)
        text = json.dumps(exchange["response"]["body"])
        body = json.loads(text.replace('"httpPort": 8071', f'"httpPort": {self.direct_port}'))
        return exchange["response"]["status"], body

    def _unrecorded(self):
        # two calls whose answers are no JSON, and come too late
        if len(self.left) == 2:
            return 200, b"<html>"
        self.may_end.wait(20)
        return 200, []

    def _compare(self, exchange, asked):
        wanted = exchange["request"]
        at = f"gw {exchange['n']}"
        found = (asked.method, asked.path, asked.is_direct)
        if found != (wanted["method"], wanted["path"], exchange["port"] == 8071):
            self.differences.append(f"{at}: {found}")
        own = ("user-agent", "accept")
        for name, value in wanted["headers"].items():
            if name not in own and asked.headers.get(name) != value:
                self.differences.append(f"{at}: {name} is {asked.headers.get(name)}")
        if exchange["port"] == 8071:
            extra = {name for name in asked.headers if name.startswith("x-nuclio")}
            self.differences += [f"{at}: {name} too much" for name in extra]
        body = dict(asked.body or {})
        if body:
            assert base64.b64decode(body["image"])[:4].hex() == "89504e47"
        if set(body) - {"image"} != set(wanted["body"] or {}) - {"image"} or any(
            body[key] != wanted["body"][key] for key in set(body) - {"image"}
        ):
            self.differences.append(f"{at}: body {sorted(body)}")


class LambdaReplay(Replay):
    """Waits for a run to end where the recording shows its end."""

    def _send(self, method, path, body, headers, wanted):
        final = (wanted.get("body") or {}).get("json")
        must_end = (
            method == "GET"
            and isinstance(final, dict)
            and final.get("status") in ("finished", "failed")
        )
        end = time.monotonic() + 20
        while True:
            answer = self.http.call(method, path, raw=body, headers=headers)
            if not must_end or answer[1]["status"] not in ("queued", "started"):
                return answer
            assert time.monotonic() < end, f"{path} does not end"
            time.sleep(0.01)

    def _compare_json(self, wanted, found, kind, at, out):
        if isinstance(wanted, dict) and "enqueued" in wanted and isinstance(found, dict):
            found = dict(found, enqueued=wanted["enqueued"])
            if wanted["status"] in ("queued", "started"):
                found |= {key: wanted[key] for key in ("status", "started", "ended", "progress")}
                found["exc_info"] = wanted["exc_info"]
            for key in ("started", "ended"):
                if wanted[key] and found[key]:
                    found[key] = wanted[key]
        super()._compare_json(wanted, found, kind, at, out)


def first_ids(sandbox, version):
    """Give the next task, job and label the ids that the recording names."""
    for table, first in zip(("tasks", "jobs", "labels"), IDS[version], strict=True):
        sandbox.context.db.run("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, first - 1))


def make_recorded_task(http, images):
    labels = [
        {"name": "box", "type": "rectangle"},
        {"name": "cell", "type": "mask"},
        {"name": "poly", "type": "polygon"},
    ]
    spec = {"name": "t", "labels": labels, "segment_size": 2}
    made = http.ok("POST", "/api/tasks", spec, status=201)
    rq = http.upload(f"/api/tasks/{made['id']}/data", images, {"image_quality": "70"})
    assert wait_for(http, rq["rq_id"])["status"] == "finished"


@pytest.mark.parametrize("version", ["2.30.0", "2.39.0"])
def test_ai_tools_answer_and_ask_as_a_real_server_did(version, tmp_path):
    folder = contract() / f"{version}-nuclio"
    if not folder.is_dir():
        pytest.skip(f"no recorded contract at {folder} (set LSL_SHARED)")
    gateway = Recorded(folder)
    with StandIn(gateway) as nuclio:
        gateway.direct_port = nuclio.direct_port
        with Sandbox(
            tmp_path,
            version=version,
            users={"lead": PASSWORDS["lead"]},
            nuclio=Nuclio("127.0.0.1", nuclio.port, is_direct=True),
        ) as sandbox:
            sandbox.add_organisation("lab", "lead", name="Lab")
            first_ids(sandbox, version)
            http = Http(sandbox.url, sandbox.make_token("lead", kind="login"))
            http.headers["X-Organization"] = "lab"
            make_recorded_task(http, draw_images(tmp_path / "images", 4))
            replay = LambdaReplay(http, {}, {})
            replay._auth = lambda record: {}
            for record in records_in(folder):
                if record["step"] == "batch detector status" and version == "2.30.0":
                    # the recording lacks the call that began this run
                    first = {"task": 41, "function": "det-mask", "threshold": 0.4, "cleanup": True}
                    http.ok("POST", "/api/lambda/requests", first)
                replay.play(ours(record, nuclio))
            gateway.may_end.set()
    assert not replay.differences, "\n".join(replay.differences)
    assert not gateway.differences, "\n".join(gateway.differences)
    assert not gateway.left


def ours(record, nuclio):
    """Put our addresses into a record."""
    text = json.dumps(record)
    text = text.replace("host.docker.internal:8071", f"127.0.0.1:{nuclio.direct_port}")
    return json.loads(text.replace("nuclio.example", f"127.0.0.1:{nuclio.port}"))
