/* Mouse, keys and buttons, and the function that Streamlit calls. */

const actions = {
  hide: (v) => v.flip("hide"),
  outline: (v) => v.flip("outline"),
  labels: (v) => v.flip("labels"),
  existing: (v) => v.scene.head.existing && v.flip("existing"),
  "zoom-in": (v) => v.glide(v.zoomTo(v.view.k * 1.5)),
  "zoom-out": (v) => v.glide(v.zoomTo(v.view.k / 1.5)),
  fit: (v) => v.glide(v.fitted()),
  full: (v) => v.glide(v.zoomTo(1 / (devicePixelRatio || 1))),
  help: (v) => v.dialog.showModal(),
  close: (v) => v.dialog.close(),
  lower: (v, event) => v.nudge(event.shiftKey ? -10 : -1),
  raise: (v, event) => v.nudge(event.shiftKey ? 10 : 1),
  same: (v) => v.swapOwn(v.kept.own, {}),
  restore: (v) => v.swapOwn(null, v.stash),
  next: (v) => v.walk(1),
  previous: (v) => v.walk(-1),
  keep: (v) => v.decide("keep"),
  reject: (v) => v.decide("reject"),
  undo: (v) => v.turn("past", "future"),
  redo: (v) => v.turn("future", "past"),
};

/** Keys without a modifier, by `event.key` in lower case. */
const keys = {
  o: "outline", l: "labels", e: "existing", 0: "fit", 1: "full", "+": "zoom-in", "=": "zoom-in",
  "-": "zoom-out", _: "zoom-out", "[": "lower", "{": "lower", "]": "raise", "}": "raise",
  a: "keep", x: "reject", "?": "help",
};
/** What more than looking an action asks for; without it nothing happens. */
const asks = {lower: "cut", raise: "cut", keep: "judge", reject: "judge", undo: "judge", redo: "judge"};

Object.assign(Viewer.prototype, {
  flip(name) {
    this.show[name] = !this.show[name];
    this.draw();
  },

  nudge(step) {
    this.setThreshold(this.kept.threshold + step);
    this.send(true);
  },

  swapOwn(stash, own) {
    [this.stash, this.kept.own] = [stash, own ?? {}];
    this.refresh();
    this.send();
  },

  listen() {
    const options = {signal: this.life.signal};
    const on = (target, type, handle, more) =>
      target.addEventListener(type, (event) => this.scene && handle(event), {...options, ...more});
    on(this.root, "click", (event) => {
      const button = event.target.closest("[data-do]");
      if (button && button.getAttribute("aria-disabled") !== "true") actions[button.dataset.do](this, event);
    });
    on(this.range, "input", () => this.setThreshold(+this.range.value));
    on(this.range, "change", () => this.send());
    // a page ignores its keys, F and D, while a field has the focus: give it back after a drag
    on(this.range, "pointerup", () => this.canvas.focus({preventScroll: true}));
    on(this.dialog, "click", (event) => event.target === this.dialog && this.dialog.close());
    on(window, "keydown", (event) => this.onKey(event));
    on(this.root, "keydown", (event) => {
      // arrows move the slider that has the focus; the page would take them for "next image"
      if (event.target.type === "range" && event.key.startsWith("Arrow")) event.stopPropagation();
    });
    on(window, "keyup", (event) => event.key.toLowerCase() === "h" && this.hold(false));
    on(window, "lsl-region", (event) => this.takeRegion(event.detail));
    on(window, "blur", () => this.hold(false));
    this.listenToMouse(on);
  },

  listenToMouse(on) {
    let drag = null;
    on(this.canvas, "wheel", (event) => {
      event.preventDefault();
      this.gliding = null;
      const lines = event.deltaMode === 1 ? 16 : 1, pinch = event.ctrlKey ? 5 : 1;
      const f = Math.exp(-clamp(event.deltaY * lines * pinch, -240, 240) * 0.0016);
      this.setView(this.zoomTo(this.view.k * f, event.offsetX, event.offsetY));
    }, {passive: false});
    on(this.canvas, "pointerdown", (event) => {
      if (event.button > 1) return;
      this.released = false;
      this.gliding = null;
      this.canvas.setPointerCapture(event.pointerId);
      drag = {x: event.clientX, y: event.clientY, from: this.view, far: false};
    });
    on(this.canvas, "pointermove", (event) => {
      if (!drag) return;
      const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
      drag.far ||= Math.hypot(dx, dy) > 3; // less is a click with a shaking hand
      if (drag.far) this.setView({k: drag.from.k, x: drag.from.x + dx, y: drag.from.y + dy});
      this.stage.classList.toggle("dragged", drag.far);
    });
    on(this.canvas, "pointerup", (event) => {
      if (drag && !drag.far && event.button === 0) this.select(this.pick(event.offsetX, event.offsetY));
      drag = null;
      this.stage.classList.remove("dragged");
    });
    on(this.canvas, "pointercancel", () => { drag = null; });
    on(this.canvas, "dblclick", () => actions.fit(this));
    on(this.canvas, "focus", () => { this.released = false; });
  },

  hold(hidden) {
    if (!hidden && !this.holding) return;
    this.holding = hidden;
    this.show.hide = hidden;
    this.draw();
  },

  onKey(event) {
    const target = event.composedPath()[0], inside = event.composedPath().includes(this.root);
    if (event.defaultPrevented || this.dialog.open || !this.stage.offsetParent) return;
    const types = target.matches?.("input:not([type=range], [type=checkbox], [type=radio]), textarea, select, [contenteditable='true']");
    if (types || document.querySelector("[role=dialog][aria-modal=true]")) return;
    if (this.answer(event, event.key.toLowerCase(), target === this.canvas, inside)) event.preventDefault();
  },

  /** Do what a key asks for; true when it was ours. */
  answer(event, key, onCanvas) {
    if (event.ctrlKey || event.metaKey) {
      if (key !== "z" || event.altKey || !allows(this.scene.head.may, "judge")) return false;
      actions[event.shiftKey ? "redo" : "undo"](this);
      return true;
    }
    if (event.altKey) return false;
    if (key === "tab") return onCanvas && !this.released && this.walk(event.shiftKey ? -1 : 1);
    if (key === "escape") {
      this.released = onCanvas;
      this.select(null);
      return onCanvas;
    }
    if (key === "h") {
      if (!event.repeat) this.hold(true);
      return true;
    }
    const name = keys[key];
    if (!name || (asks[name] && !allows(this.scene.head.may, asks[name]))) return false;
    if (!event.repeat || !["keep", "reject", "outline", "labels", "existing"].includes(name)) actions[name](this, event);
    return true;
  },
});

/** Streamlit calls this at mount, for new data and for a new theme, with the same parent. */
export default function ({data, parentElement, setStateValue}) {
  if (!viewers.has(parentElement)) viewers.set(parentElement, new Viewer(parentElement));
  const viewer = viewers.get(parentElement);
  viewer.load(data, setStateValue);
  return () => {
    viewer.dispose();
    if (viewers.get(parentElement) === viewer) viewers.delete(parentElement);
  };
}
