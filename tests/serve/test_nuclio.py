"""The handler as Nuclio calls it, with Nuclio's own types."""

import base64
import io
import json
import logging

import numpy as np
import pytest
from nuclio_sdk import Context, Event, Response
from nuclio_sdk.event import EventDeserializerKinds
from nuclio_sdk.logger import JSONFormatter, Logger

from lsl_core.geometry.drawable import Drawing
from lsl_core.serve import Detector, DetectSettings
from lsl_core.serve.nuclio import Function

from .fakes import BrightModel, image_with, looks, png, ring


@pytest.fixture
def context():
    return Context(logger=Logger(logging.WARNING))


@pytest.fixture
def function():
    with Detector(BrightModel()) as detector:
        yield Function(detector, DetectSettings(), Drawing.MASK)


def event_of(payload):
    """Return a request as the processor hands it to a worker."""
    words = {
        "body": base64.b64encode(b"").decode(), "content_type": "application/json",
        "trigger": {"kind": "http", "name": "http"}, "fields": {}, "headers": {}, "id": "1",
        "method": "POST", "path": "/", "size": 0, "timestamp": 0, "url": "", "shard_id": -1,
        "num_shards": 0, "type": "", "type_version": "", "version": "",
    }  # fmt: skip
    return Event.deserialize(
        json.dumps(words | {"body": payload}).encode(), kind=EventDeserializerKinds.json
    )


def said(answer):
    """Return status and JSON as they leave the worker."""
    sent = Response.from_entrypoint_output(json.dumps, answer)
    assert sent["content_type"] == "application/json"
    assert sent["body_encoding"] == "text"
    return sent["status_code"], json.loads(sent["body"])


def asking(data, **more):
    return event_of({"image": base64.b64encode(data).decode(), **more})


def test_a_mask_keeps_its_hole(function, context):
    status, shapes = said(function.answer(context, asking(png(ring()))))
    assert status == 200
    (shape,) = shapes
    assert (shape["label"], shape["type"]) == ("cell", "mask")
    left, top, right, bottom = shape["mask"][-4:]
    assert (left, top, right, bottom) == (20, 30, 59, 69)
    pixels = np.array(shape["mask"][:-4]).reshape(bottom - top + 1, right - left + 1)
    assert pixels.sum() == 40 * 40 - 10 * 10
    assert not pixels[15:25, 15:25].any()


def test_the_threshold_of_cvat_wins(function, context):
    both = image_with((5, 5, 10, 10), value=255) + image_with((40, 40, 10, 10), value=128)
    assert len(said(function.answer(context, asking(png(both))))[1]) == 1
    assert len(said(function.answer(context, asking(png(both), threshold=0.1)))[1]) == 2


def test_a_body_that_nuclio_did_not_read_is_read_here(function, context):
    body = json.dumps({"image": base64.b64encode(png(ring())).decode()}).encode()
    assert said(function.answer(context, Event(body=body)))[0] == 200
    assert said(function.answer(context, Event(body=body.decode())))[0] == 200


@pytest.mark.parametrize(
    ("event", "status", "reason"),
    [
        (Event(body=b"{"), 422, "no JSON"),
        (Event(body=b"[]"), 422, "no JSON object"),
        (Event(body={}), 422, "no image"),
        (Event(body={"image": "%%%"}), 422, "no base64"),
        (asking(b"GIF89a of course not"), 422, "no image that can be read"),
        (asking(png(ring())[:200]), 422, "cut off"),
        (asking(png(ring()), threshold="high"), 422, "no number"),
        (asking(png(ring()), threshold=7), 422, "not between 0 and 1"),
    ],
)
def test_what_cannot_be_answered_gets_a_status_and_a_reason(
    function, context, event, status, reason
):
    code, said_so = said(function.answer(context, event))
    assert code == status
    assert reason in said_so["error"]
    assert said(function.answer(context, asking(png(ring()))))[0] == 200


def test_an_image_beyond_the_limit_is_refused_undecoded(context):
    with Detector(BrightModel(), looks(BrightModel(), max_pixels=99)) as detector:
        small = Function(detector, DetectSettings(), Drawing.MASK)
        code, reason = said(small.answer(context, asking(png(ring()))))
    assert code == 413
    assert "120×100" in reason["error"]


def test_the_reason_goes_to_the_log_of_the_function(function):
    lines = io.StringIO()
    logger = Logger(logging.WARNING)
    logger.set_handler("test", lines, JSONFormatter())
    function.answer(Context(logger=logger), Event(body=b"{"))
    line = json.loads(lines.getvalue())
    assert line["level"] == "warning"
    assert line["with"]["status"] == 422
    assert "no JSON" in line["with"]["reason"]
