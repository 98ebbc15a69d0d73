from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import viewer_sample

from lsl_core.ui.viewer import Decision, ViewerState, shown

LISTEN = """
window.lsl = {painted: [], decoded: [], sharpened: []};
window.lslRoot = () => [...document.querySelectorAll("*")]
  .find((e) => e.shadowRoot?.querySelector(".lsl")).shadowRoot;
for (const kind of ["painted", "decoded", "sharpened"])
  window.addEventListener("lsl-" + kind, (event) => window.lsl[kind].push(event.detail));
"""
#: Milliseconds from a slider step to the end of the frame that shows it.
STEP = """
async (step) => {
  const range = lslRoot().querySelector("[data-id=range]");
  const painted = new Promise((done) => addEventListener("lsl-painted", done, {once: true}));
  const began = performance.now();
  range.value = +range.value + step;
  range.dispatchEvent(new Event("input", {bubbles: true}));
  await painted;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - began;
}
"""


@pytest.fixture(scope="module")
def address(serve) -> str:
    return serve(Path(__file__).with_name("viewer_app.py"))


@pytest.fixture
def open_viewer(new_page, address):
    def open_at(what: str = "masks", **options):
        page = new_page(**options)
        page.add_init_script(LISTEN)
        page.goto(f"{address}/?what={what}")
        page.wait_for_function("window.lsl.painted.length > 0", timeout=60_000)
        return page

    return open_at


def answer(page) -> dict:
    return json.loads(page.locator(".st-key-answer").inner_text())


def wait_for_answer(page, **wanted) -> dict:
    """Wait until Python says what is wanted; return all it says."""
    script = """(wanted) => {
      const text = document.querySelector(".st-key-answer")?.innerText;
      const said = text ? JSON.parse(text) : {};
      const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
      return Object.entries(wanted).every(([k, v]) => same(said[k], v));
    }"""
    page.wait_for_function(script, arg=wanted, timeout=20_000)
    return answer(page)


def count(page) -> int:
    return int(page.locator("[data-id=total]").inner_text().split()[0].replace(",", ""))


def wait_for_frame(page) -> None:
    page.evaluate("() => new Promise((d) => requestAnimationFrame(() => requestAnimationFrame(d)))")


def view(page) -> dict:
    wait_for_frame(page)
    return page.evaluate("window.lsl.painted.at(-1).view")


def test_the_count_is_that_of_python_at_every_threshold_the_keys_reach(open_viewer):
    page = open_viewer()
    _, instances, _ = viewer_sample.sample()
    on_boundary = 0
    slider = page.get_by_label("Score threshold", exact=True)
    slider.focus()
    slider.press("Home")
    for percent in range(5, 101):
        wait_for_frame(page)
        expected = len(shown(instances, ViewerState(threshold=percent / 100)))
        assert count(page) == expected, percent
        on_boundary += int((instances.scores == np.float32(percent / 100)).sum())
        spoken = slider.get_attribute("aria-valuetext")
        assert spoken == f"{percent / 100:.2f}, {expected} of {len(instances)} shown"
        slider.press("ArrowRight")
    assert on_boundary >= 90


def test_dragging_the_slider_tells_python_once_it_is_released(open_viewer):
    page = open_viewer()
    before = answer(page)
    box = page.get_by_label("Score threshold", exact=True).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2, steps=8)
    wait_for_frame(page)
    counted = count(page)
    assert counted != before["shown"]
    assert answer(page)["threshold"] == before["threshold"]
    page.mouse.up()
    said = wait_for_answer(page, shown=counted)
    assert said["threshold"] > 0.7


def test_brackets_move_the_threshold_by_one_and_by_ten_percent(open_viewer):
    page = open_viewer()
    page.keyboard.press("]")
    page.keyboard.press("Shift+]")
    page.keyboard.press("[")
    said = wait_for_answer(page, threshold=0.6)
    assert said["shown"] == count(page)


def test_where_objects_are_only_cut_at_a_score_none_is_kept_or_rejected(open_viewer):
    page = open_viewer("cut")
    assert page.get_by_label("Score threshold", exact=True).is_visible()
    for words in ("Reject", "Keep", "Undo"):
        assert not page.get_by_role("button", name=words).is_visible()
    before = count(page)
    page.locator("canvas.lsl-viewer").focus()
    for key in ("Tab", "x", "Shift+]"):
        page.keyboard.press(key)
    said = wait_for_answer(page, threshold=0.6)
    assert said["decisions"] == {}
    assert 0 < said["shown"] == count(page) < before


def test_a_label_can_have_a_threshold_of_its_own(open_viewer):
    page = open_viewer()
    _, instances, labels = viewer_sample.sample()
    page.get_by_text("Per label").click()
    slider = page.get_by_label(f"Score threshold of {labels.names[1]}")
    slider.focus()
    for _ in range(20):
        slider.press("ArrowRight")
    said = wait_for_answer(page, thresholds={"1": 0.7})
    state = ViewerState(threshold=0.5, thresholds={1: 0.7})
    assert said["shown"] == count(page) == len(shown(instances, state))
    page.get_by_role("button", name="Same for all labels").click()
    assert wait_for_answer(page, thresholds={})["shown"] == count(page)


def test_the_wheel_zooms_at_the_pointer_and_a_drag_moves(open_viewer):
    page = open_viewer()
    start = view(page)
    box = page.locator("canvas.lsl-viewer").bounding_box()
    px, py = 420, 260
    page.mouse.move(box["x"] + px, box["y"] + py)
    page.mouse.wheel(0, -200)
    wait_for_frame(page)
    closer = view(page)
    assert closer["k"] > start["k"] * 1.2
    under = [((px - v["x"]) / v["k"], (py - v["y"]) / v["k"]) for v in (start, closer)]
    assert under[0] == pytest.approx(under[1], abs=1.5)
    page.mouse.down()
    page.mouse.move(box["x"] + px + 50, box["y"] + py + 30, steps=3)
    page.mouse.up()
    moved = view(page)
    assert (moved["x"] - closer["x"], moved["y"] - closer["y"]) == pytest.approx((50, 30))
    page.mouse.dblclick(box["x"] + 5, box["y"] + 5)
    page.wait_for_function(f"Math.abs(window.lsl.painted.at(-1).view.k - {start['k']}) < 1e-6")


def test_a_click_selects_the_object_below_and_keys_decide_about_it(open_viewer):
    page = open_viewer()
    _, instances, _ = viewer_sample.sample()
    box = page.locator("canvas.lsl-viewer").bounding_box()
    page.locator("canvas.lsl-viewer").focus()
    page.keyboard.press("Tab")
    wait_for_answer(page, selected=0)
    page.keyboard.press("x")
    assert wait_for_answer(page, decisions={"0": "reject"})["shown"] == count(page)
    state = ViewerState(threshold=0.5, decisions={0: Decision.REJECT})
    assert count(page) == len(shown(instances, state))
    low = int(np.flatnonzero(instances.scores < 0.4)[0])  # not shown: a click must not find it
    row = int(np.flatnonzero(instances.scores > 0.9)[3])
    v = view(page)
    for target, found in ((low, None), (row, row)):
        y, x = np.argwhere(instances.masks.crop(target))[0] + 0.5
        left, top = instances.masks.crops[target, :2]
        page.mouse.click(
            box["x"] + (left + x) * v["k"] + v["x"], box["y"] + (top + y) * v["k"] + v["y"]
        )
        wait_for_answer(page, selected=found)
    page.keyboard.press("a")
    page.keyboard.press("Shift+]")
    page.get_by_label("Score threshold", exact=True).press("End")
    said = wait_for_answer(page, threshold=1.0, decisions={"0": "reject", str(row): "keep"})
    assert said["shown"] == count(page) >= 1


def test_decisions_are_undone_and_redone_in_order(open_viewer):
    page = open_viewer()
    page.locator("canvas.lsl-viewer").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("a")
    page.keyboard.press("Tab")
    page.keyboard.press("x")
    wait_for_answer(page, decisions={"0": "keep", "1": "reject"})
    page.keyboard.press("Control+z")
    wait_for_answer(page, decisions={"0": "keep"})
    page.get_by_role("button", name="Undo").click()
    wait_for_answer(page, decisions={})
    page.keyboard.press("Control+Shift+z")
    wait_for_answer(page, decisions={"0": "keep"})
    assert "1 kept · 0 rejected" in page.locator("[data-id=tally]").inner_text()


def test_tab_leaves_the_image_after_escape(open_viewer):
    page = open_viewer()
    canvas = page.locator("canvas.lsl-viewer")
    canvas.focus()
    page.keyboard.press("Tab")
    focused = "document.activeElement.shadowRoot?.activeElement?.className"
    assert page.evaluate(focused) == "lsl-viewer"
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) != "lsl-viewer"


def test_thresholds_stay_from_image_to_image_and_decisions_with_theirs(open_viewer):
    page = open_viewer()
    page.locator("canvas.lsl-viewer").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("x")
    page.keyboard.press("Shift+]")
    wait_for_answer(page, threshold=0.6, decisions={"0": "reject"})
    page.get_by_role("radio", name="two").or_(page.get_by_text("two", exact=True)).first.click()
    said = wait_for_answer(page, threshold=0.6, decisions={})
    page.wait_for_function("window.lsl.decoded.length === 2")
    wait_for_frame(page)
    assert count(page) == said["shown"]
    page.get_by_role("radio", name="one").or_(page.get_by_text("one", exact=True)).first.click()
    assert wait_for_answer(page, decisions={"0": "reject"})["threshold"] == 0.6


def test_holding_h_hides_the_masks_and_e_draws_what_cvat_has(open_viewer):
    page = open_viewer()
    covered = """() => {
      const canvas = lslRoot().querySelector("canvas.lsl-viewer");
      const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let n = 0;
      for (let i = 3; i < data.length; i += 4) n += data[i] > 0;
      return n;
    }"""
    with_dashes = page.evaluate(covered)  # what CVAT has was asked for, so it is drawn
    assert with_dashes > 10_000
    page.keyboard.down("h")
    wait_for_frame(page)
    assert page.evaluate(covered) == 0
    page.keyboard.up("h")
    page.keyboard.press("e")
    wait_for_frame(page)
    drawn = page.evaluate(covered)
    assert drawn < with_dashes
    page.keyboard.press("o")
    wait_for_frame(page)
    assert page.evaluate(covered) < drawn


def test_every_key_is_a_button_with_its_key_and_a_name(open_viewer):
    page = open_viewer()
    buttons = page.locator(".lsl button")
    for i in range(buttons.count()):
        button = buttons.nth(i)
        title = button.get_attribute("title")
        assert title, button.inner_html()
        assert button.get_attribute("aria-label") or button.inner_text() or not button.is_visible()
        if button.is_visible():
            box = button.bounding_box()
            assert min(box["width"], box["height"]) >= 24, title
    titles = " ".join(b.get_attribute("title") for b in buttons.all())
    for key in ("H", "O", "L", "E", "0", "1", "A", "X", "Tab", "Ctrl+Z", "Ctrl+Shift+Z", "?"):
        assert re.search(rf"(?<!\w){re.escape(key)}(?!\w)", titles), key


@pytest.mark.parametrize("what", ["boxes", "crowd"])
def test_boxes_and_crowds_are_drawn_and_counted(open_viewer, what):
    page = open_viewer(what)
    page.keyboard.press("]")
    said = wait_for_answer(page, threshold=0.51)
    assert count(page) == said["shown"] > 0


def test_a_narrow_window_puts_the_figures_below_the_image(open_viewer):
    page = open_viewer(device_scale_factor=2)
    page.set_viewport_size({"width": 720, "height": 450})
    wait_for_frame(page)
    main, side = (page.locator(s).bounding_box() for s in (".lsl .main", ".lsl .side"))
    assert side["y"] >= main["y"] + main["height"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_slider_steps_are_painted_by_the_browser_alone(open_viewer, record_property):
    page = open_viewer()
    before = answer(page)
    steps = sorted(page.evaluate(STEP, 1 if i % 2 else -1) for i in range(30))
    record_property("slider_step_ms", round(statistics.median(steps), 1))
    record_property("decode_ms", round(page.evaluate("window.lsl.decoded[0].ms"), 1))
    assert all(step > 0 for step in steps), "each step was painted"
    assert page.evaluate("window.lsl.decoded.length") == 1, "nothing came again"
    assert answer(page)["bytes"] == before["bytes"] < 2_000_000


#: Brightness of a row through the middle of the image, as it is painted.
ROW = """() => {
  const canvas = lslRoot().querySelector(".base");
  const row = canvas.getContext("2d").getImageData(0, canvas.height >> 1, canvas.width, 1).data;
  return Array.from({length: canvas.width}, (_, i) => row[4 * i]);
}"""


def test_a_very_large_image_gets_sharp_where_one_zooms_in(open_viewer):
    page = open_viewer("large")
    page.wait_for_timeout(800)
    assert page.evaluate("lsl.sharpened.length") == 0  # all of it is sent sharp enough
    page.locator("canvas.lsl-viewer").click(position={"x": 300, "y": 200})
    page.keyboard.press("1")
    page.wait_for_function("lsl.sharpened.length === 1", timeout=20_000)
    wait_for_frame(page)
    row = np.array(page.evaluate(ROW))
    assert row.max() > 200  # a line of one pixel is white again, and what is between is dark
    assert np.median(row) < 60
    assert set(np.diff(np.flatnonzero(row > 150)).tolist()) <= {viewer_sample.EVERY}
    sharp = page.evaluate("lsl.sharpened[0]")
    assert sharp["pixels"] >= 0.95 * sharp["width"]

    page.keyboard.press("0")  # the whole again: nothing is asked for
    page.wait_for_timeout(800)
    page.keyboard.press("1")  # and back: that part is here
    page.wait_for_timeout(800)
    assert page.evaluate("lsl.sharpened.length") == 1


def test_an_image_that_was_sent_whole_asks_for_no_part(open_viewer):
    page = open_viewer()
    page.locator("canvas.lsl-viewer").click(position={"x": 5, "y": 5})
    for _ in range(6):
        page.keyboard.press("+")
    page.wait_for_timeout(800)
    assert page.evaluate("lsl.sharpened.length") == 0
