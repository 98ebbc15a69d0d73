/* The viewer: what was chosen, what is on the screen, and the messages to Python. */

/** Choices by key and scope, kept while the browser tab lives: Streamlit draws us anew at will. */
const sessions = new Map();
const viewers = new WeakMap();
const asText = (percent) => (percent / 100).toFixed(2);
const rights = ["look", "cut", "judge"]; // each holds those before it
const allows = (may, asked) => rights.indexOf(may) >= rights.indexOf(asked);
const grouped = (count) => count.toLocaleString("en"); // as the pages write numbers

class Viewer {
  constructor(root) {
    this.root = root;
    this.at = (id) => root.querySelector(`[data-id="${id}"]`);
    [this.base, this.canvas, this.bars] = [".base", ".lsl-viewer", ".bars"].map((s) => root.querySelector(s));
    this.stage = root.querySelector(".stage");
    this.range = this.at("range");
    this.dialog = root.querySelector("dialog");
    this.show = {hide: false, outline: false, labels: true, existing: false};
    this.life = new AbortController();
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.listen();
    this.resizing = new ResizeObserver(() => this.resize());
    this.resizing.observe(this.stage);
  }

  dispose() {
    clearTimeout(this.sending);
    clearTimeout(this.asking);
    this.dropRegion();
    this.scene?.levels.forEach((bitmap) => bitmap.close());
    this.life.abort();
    this.resizing.disconnect();
  }

  // ---- a new message, or the same one after a change of theme

  async load(data, setStateValue) {
    if (this.sending) this.send(); // the choices of the image before, if they still wait
    this.setStateValue = setStateValue;
    const {mount, head, objects, existing, jpeg} = unpack(data);
    this.stage.style.setProperty("--lsl-height", `${mount.height}px`);
    if (this.scene?.head.version === head.version && this.scene.mount.scope === mount.scope) {
      return this.refresh();
    }
    const began = performance.now(), mine = (this.loading = {});
    this.at("wait").hidden = false;
    const levels = await imageLevels(jpeg);
    if (mine !== this.loading || this.life.signal.aborted) return levels.forEach((b) => b.close());
    this.scene?.levels.forEach((bitmap) => bitmap.close());
    this.dropRegion();
    this.scene = {mount, head, objects, existing, levels, byId: new Map(objects.map((o) => [o.id, o]))};
    this.at("wait").hidden = true;
    this.remember(mount, head);
    this.build(head);
    this.resize();
    this.takeRegion(window.lslRegions?.get(mount.key));
    this.report("decoded", {ms: performance.now() - began});
    if (JSON.stringify(this.message()) !== JSON.stringify({...mount.start, scope: mount.scope})) this.send();
  }

  /** Take up the choices made here before, or those that Python starts with. */
  remember({key, scope, start}, head) {
    const name = JSON.stringify([key, scope]);
    if (!sessions.has(name)) {
      sessions.set(name, {threshold: start.threshold, own: {...start.thresholds}, images: new Map()});
    }
    this.kept = sessions.get(name);
    this.kept.threshold = clamp(this.kept.threshold, head.floor, 100);
    if (!this.kept.images.has(head.image)) {
      this.kept.images.set(head.image, {
        decisions: {...start.decisions}, selected: start.selected, view: null, past: [], future: [],
      });
    }
    this.here = this.kept.images.get(head.image);
    if (!this.scene.byId.has(this.here.selected)) this.here.selected = null;
  }

  message() {
    const sorted = (map) => Object.fromEntries(Object.entries(map).sort(([a], [b]) => a - b));
    return {threshold: this.kept.threshold, thresholds: sorted(this.kept.own),
      selected: this.here.selected, decisions: sorted(this.here.decisions),
      image: this.scene.head.image, scope: this.scene.mount.scope};
  }

  /** Tell Python, whole and at once; `later` joins quick repeats of a key. */
  send(later = false) {
    clearTimeout(this.sending);
    this.sending = later ? setTimeout(() => this.send(), 250) : null;
    if (!later) this.setStateValue("state", this.message());
  }

  report(name, detail) {
    this.canvas.dispatchEvent(new CustomEvent(`lsl-${name}`, {detail, bubbles: true, composed: true}));
  }

  // ---- what is shown

  limit(label) { return this.kept.own[label] ?? this.kept.threshold; }

  isShown(object) {
    const decision = this.here.decisions[object.id];
    return decision ? decision === "keep" : object.level >= this.limit(object.label);
  }

  refresh() {
    if (!this.scene) return;
    this.shown = this.scene.objects.filter((object) => this.isShown(object))
      .sort((a, b) => b.score - a.score || a.id - b.id);
    this.draw();
  }

  /** Redraw before the next frame; `moved` also redraws the image below. */
  draw(moved = false) {
    this.moved ||= moved;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.life.signal.aborted || !this.scene) return;
      const began = performance.now(), dpr = devicePixelRatio || 1;
      if (this.moved) this.paintBelow(dpr);
      this.moved = false;
      this.paint(dpr);
      this.writeTexts(dpr);
      this.report("painted", {ms: performance.now() - began, shown: this.shown.length, view: {...this.view}});
    });
  }

  paint(dpr) {
    const ctx = this.canvas.getContext("2d"), {view, show, here, scene: {head, objects, existing}} = this;
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const {clientWidth, clientHeight} = this.stage;
    const seen = {x1: -view.x / view.k, y1: -view.y / view.k,
      x2: (clientWidth - view.x) / view.k, y2: (clientHeight - view.y) / view.k};
    if (show.hide) return;
    const shown = this.shown.filter((o) => o.isIn(seen)), labels = head.labels;
    const rejected = objects.filter((o) => here.decisions[o.id] === "reject" && o.isIn(seen));
    paintShapes(ctx, shown, labels, view, dpr, show.outline);
    paintDashed(ctx, rejected, view, dpr, "#ffb3ab", 1.4);
    if (show.existing) paintDashed(ctx, existing.filter((o) => o.isIn(seen)), view, dpr, "#fff", 1.8);
    const selected = this.selected();
    if (selected) paintSelected(ctx, selected, labels[selected.label], view, dpr);
    if (!show.labels) return;
    const marks = {keep: "✓ ", reject: "× "}, first = selected ? [selected] : [];
    const named = [...first, ...rejected, ...shown].slice(0, MANY);
    const mark = (o) => marks[here.decisions[o.id]] ?? "";
    paintLabels(ctx, named, labels, view, dpr, mark, selected, getComputedStyle(this.stage).fontFamily);
  }

  // ---- words and figures beside the picture

  build({labels, floor, name, width, height, existing, may}) {
    for (const part of this.root.querySelectorAll("[data-may]")) part.hidden = !allows(may, part.dataset.may);
    this.canvas.setAttribute("aria-label", `Image ${name}, ${width} by ${height} pixels`);
    this.range.min = floor;
    this.at("floor").textContent = floor > 0 ? `Below ${asText(floor)}: not kept by this run` : "";
    const toggle = this.root.querySelector('[data-do="existing"]');
    if (existing === null || toggle.hidden) this.show.existing = existing !== null; // asked for: shown
    toggle.hidden = existing === null;
    this.at("existing").textContent = `In CVAT (${grouped(this.scene.existing.length)})`;
    this.totals = labels.map(() => 0);
    for (const object of this.scene.objects) this.totals[object.label]++;
    this.rows = labels.map((label, i) => this.countRow(label, i));
    this.at("counts").replaceChildren(...this.rows.map((row) => row.line));
    this.at("owns").replaceChildren(...this.rows.map((row) => row.own));
    this.refresh();
  }

  countRow(label, i) {
    const make = (tag, className, ...inside) => {
      const element = document.createElement(tag);
      element.className = className;
      element.append(...inside); // strings become text, never markup
      return element;
    };
    const sign = () => {
      const canvas = make("canvas", "swatch");
      canvas.setAttribute("aria-hidden", "true");
      paintSwatch(canvas, label, devicePixelRatio || 1);
      return [canvas, make("span", "number", String(label.number))];
    };
    const name = make("span", "name", label.name), shown = make("td", "shown");
    name.title = label.name;
    const first = make("th", "", make("span", "label", ...sign(), name));
    first.scope = "row";
    const total = make("td", "of", `of ${grouped(this.totals[i])}`);
    const range = Object.assign(make("input", ""), {type: "range", min: this.range.min, max: 100, step: 1});
    range.setAttribute("aria-label", `Score threshold of ${label.name}`);
    range.addEventListener("input", () => this.setOwn(i, +range.value));
    range.addEventListener("change", () => this.send());
    const value = make("output", "");
    return {line: make("tr", "", first, shown, total), shown, range, value,
      own: make("div", "own", make("span", "label", ...sign(), make("span", "name", label.name)), range, value)};
  }

  writeTexts(dpr) {
    const {kept, here, scene, range} = this, counts = this.totals.map(() => 0);
    const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
    for (const object of this.shown) counts[object.label]++;
    const total = `${grouped(this.shown.length)} of ${grouped(scene.objects.length)}`;
    range.value = kept.threshold;
    const own = Object.keys(kept.own).length;
    put(this.at("score"), asText(kept.threshold));
    put(this.at("total"), total);
    range.setAttribute("aria-valuetext", `${asText(kept.threshold)}, ${total} shown`);
    put(this.at("own"), own ? `${own} own` : "");
    this.rows.forEach(({line, shown, range: slider, value}, i) => {
      put(shown, grouped(counts[i]));
      line.classList.toggle("none", !counts[i] && this.totals[i] > 0);
      slider.value = this.limit(i);
      slider.classList.toggle("follows", !(i in kept.own));
      slider.setAttribute("aria-valuetext", `${asText(this.limit(i))}, ${counts[i]} of ${this.totals[i]} shown`);
      put(value, asText(this.limit(i)));
    });
    const said = Object.values(here.decisions), kinds = (kind) => said.filter((d) => d === kind).length;
    put(this.at("tally"), said.length ? `${kinds("keep")} kept · ${kinds("reject")} rejected`
      : "None yet. Select an object, then keep or reject it.");
    put(this.at("zoom"), `${Math.round(100 * this.view.k * dpr)} %`);
    this.writeSelected(put);
    this.paintBars(dpr);
  }

  writeSelected(put) {
    const object = this.selected(), {here, kept, scene} = this;
    const decision = object && here.decisions[object.id];
    const words = {keep: " · kept", reject: " · rejected"}[decision]
      ?? (object && !this.isShown(object) ? " · below the threshold" : "");
    put(this.at("chosen"), object ? `${scene.head.labels[object.label].name} · ${scoreText(object)} · `
      + `${Math.round(object.x2 - object.x1)}×${Math.round(object.y2 - object.y1)} px${words}`
      : "Nothing selected");
    const state = {
      keep: [!object, decision === "keep"], reject: [!object, decision === "reject"],
      undo: [!here.past.length], redo: [!here.future.length],
      next: [!this.shown.length], previous: [!this.shown.length],
      lower: [kept.threshold <= +this.range.min],
      raise: [kept.threshold >= 100],
      ...Object.fromEntries(Object.entries(this.show).map(([name, on]) => [name, [false, on]])),
    };
    for (const [name, [off, pressed]] of Object.entries(state)) {
      const button = this.root.querySelector(`[data-do="${name}"]`);
      button.setAttribute("aria-disabled", off); // stays focusable: focus is not lost on undo
      if (pressed !== undefined) button.setAttribute("aria-pressed", pressed);
    }
    this.root.querySelector('[data-do="restore"]').hidden = !this.stash;
    this.root.querySelector('[data-do="same"]').hidden = !Object.keys(kept.own).length;
  }

  paintBars(dpr) {
    const floor = +this.range.min, bars = Array.from({length: Math.ceil((100 - floor) / 2)}, () => [0, 0]);
    for (const object of this.scene.objects) {
      bars[clamp((object.level - floor) >> 1, 0, bars.length - 1)][this.isShown(object) ? 0 : 1]++;
    }
    const style = getComputedStyle(this.bars); // the theme's colours, resolved
    paintBars(this.bars, bars, floor, this.kept.threshold,
      {shown: style.color, hidden: style.borderTopColor, line: style.outlineColor}, dpr);
  }

  // ---- choices

  setThreshold(percent) {
    if (Object.keys(this.kept.own).length) {
      this.stash = this.kept.own; // one way back, in case the tuned values were not meant to go
      this.kept.own = {};
    }
    this.kept.threshold = clamp(Math.round(percent), +this.range.min, 100);
    this.refresh();
  }

  setOwn(label, percent) {
    this.kept.own[label] = percent;
    this.stash = null;
    this.refresh();
  }

  selected() { return this.scene?.byId.get(this.here.selected) ?? null; }

  select(object, reveal = false) {
    if ((object?.id ?? null) === this.here.selected) return;
    this.here.selected = object?.id ?? null;
    if (object && reveal) this.reveal(object);
    this.draw();
    this.send(true);
  }

  /** Select the next object by score; false at the end, so that Tab can leave. */
  walk(step) {
    const now = this.selected(), place = this.shown.indexOf(now);
    let next = place + step;
    if (place < 0) { // nothing, or what is not shown: go on from its score
      const rest = now ? this.shown.findIndex((o) => o.score < now.score) : step > 0 ? 0 : -1;
      next = rest < 0 ? (step > 0 ? this.shown.length : this.shown.length - 1) : step > 0 ? rest : rest - 1;
    }
    if (!this.shown[next]) return false;
    this.select(this.shown[next], true);
    return true;
  }

  decide(decision) {
    const object = this.selected();
    if (!object) return;
    const before = this.here.decisions[object.id];
    this.apply(object.id, before === decision ? undefined : decision);
    this.here.past.push([object.id, before]);
    this.here.future = [];
    this.refresh();
    this.send();
  }

  apply(id, decision) {
    if (decision) this.here.decisions[id] = decision;
    else delete this.here.decisions[id];
  }

  /** Undo (past to future) or redo (future to past). */
  turn(from, to) {
    const change = this.here[from].pop();
    if (!change) return;
    const [id, decision] = change;
    this.here[to].push([id, this.here.decisions[id]]);
    this.apply(id, decision);
    this.here.selected = id;
    this.reveal(this.scene.byId.get(id));
    this.refresh();
    this.send();
  }

  pick(px, py) {
    const x = (px - this.view.x) / this.view.k, y = (py - this.view.y) / this.view.k;
    const rejected = this.scene.objects.filter((o) => this.here.decisions[o.id] === "reject");
    const hits = [...this.shown, ...rejected].filter((o) => o.covers(x, y));
    return hits.sort((a, b) => a.size - b.size)[0] ?? null; // the smallest: it is hardest to reach
  }

  // ---- zoom and pan

  get view() { return this.here.view ??= this.fitted(); }

  fitted() {
    const {clientWidth: w, clientHeight: h} = this.stage, {width, height} = this.scene.head;
    const k = Math.min(w / width, h / height) * 0.985;
    return {k, x: (w - width * k) / 2, y: (h - height * k) / 2, fits: true};
  }

  resize() {
    const dpr = devicePixelRatio || 1, {clientWidth: w, clientHeight: h} = this.stage;
    for (const canvas of [this.base, this.canvas]) {
      canvas.width = Math.round(w * dpr);
      canvas.height = Math.round(h * dpr);
    }
    if (!this.scene || !w) return;
    const view = this.view;
    if (view.fits) this.here.view = null;
    else if (this.size) this.here.view = {...view, x: view.x + (w - this.size.w) / 2, y: view.y + (h - this.size.h) / 2};
    this.size = {w, h};
    this.draw(true);
  }

  zoomTo(k, px = this.stage.clientWidth / 2, py = this.stage.clientHeight / 2) {
    const fit = this.fitted().k, view = this.view, to = clamp(k, fit / 4, Math.max(40, 2 * fit));
    const f = to / view.k;
    return {k: to, x: px - (px - view.x) * f, y: py - (py - view.y) * f};
  }

  setView(view) {
    this.here.view = this.bounded(view, 80);
    this.draw(true);
  }

  /** Keep at least a strip of `rest` pixels of the image, or all of it, in sight on each side. */
  bounded(view, rest) {
    const {clientWidth: w, clientHeight: h} = this.stage, {width, height} = this.scene.head;
    const inside = (at, length, room) => {
      const strip = Math.min(rest, length, room);
      return clamp(at, strip - length, room - strip);
    };
    return {...view, x: inside(view.x, width * view.k, w), y: inside(view.y, height * view.k, h)};
  }

  /** Glide to a view, unless the reader prefers no motion. */
  glide(to) {
    const from = this.view, mine = (this.gliding = {}), began = performance.now();
    if (this.calm.matches) return this.setView(to);
    const step = (now) => {
      if (mine !== this.gliding) return;
      const t = clamp((now - began) / 140, 0, 1), s = t * (2 - t), k = from.k * (to.k / from.k) ** s;
      const way = Math.abs(to.k - from.k) < 1e-9 ? s : (k - from.k) / (to.k - from.k);
      this.setView(t === 1 ? to : {k, x: from.x + (to.x - from.x) * way, y: from.y + (to.y - from.y) * way});
      if (t < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** Move an object to the middle when it lies outside the view. */
  reveal(object) {
    const [x, y, w, h] = object.crop, {k} = this.view, {clientWidth, clientHeight} = this.stage;
    const left = x * k + this.view.x, top = y * k + this.view.y;
    if (left >= 0 && top >= 0 && left + w * k <= clientWidth && top + h * k <= clientHeight) return;
    const to = {k, x: clientWidth / 2 - (x + w / 2) * k, y: clientHeight / 2 - (y + h / 2) * k};
    this.glide(this.bounded(to, Math.min(clientWidth, clientHeight) * 0.9));
  }
}
