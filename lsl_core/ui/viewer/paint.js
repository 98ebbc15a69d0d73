/* Drawing: everything that turns shapes and a view into pixels; no state of its own. */

const MANY = 3000; // objects in view from which outlines come from a map of the screen
const TILE = 12;
const STROKES = {
  solid: "", rising: "M-3 3 3-3M-3 15 15-3M9 15 15 9", falling: "M-3 9 3 15M-3-3 15 15M9-3 15 3",
  grid: "M6 0V12M0 6H12", level: "M0 3H12M0 9H12", upright: "M3 0V12M9 0V12",
  dots: "M3 3h.01M9 9h.01",
};

/** A tile of a label's fill pattern, `pixels` device pixels wide. */
function patternTile(label, pixels = TILE) {
  const tile = new OffscreenCanvas(pixels, pixels), ctx = tile.getContext("2d");
  ctx.scale(pixels / TILE, pixels / TILE);
  ctx.strokeStyle = label.colour;
  ctx.lineCap = label.pattern === "dots" ? "round" : "butt";
  ctx.lineWidth = label.pattern === "dots" ? 3.2 : 1.6;
  ctx.stroke(new Path2D(STROKES[label.pattern]));
  return tile;
}

/** Draw a swatch as the legend shows it. */
function paintSwatch(canvas, label, dpr) {
  const side = 18 * dpr, ctx = canvas.getContext("2d");
  canvas.width = canvas.height = side;
  ctx.globalAlpha = label.pattern === "solid" ? 1 : 0.3;
  ctx.fillStyle = label.colour;
  ctx.fillRect(0, 0, side, side);
  ctx.globalAlpha = 1;
  ctx.fillStyle = ctx.createPattern(patternTile(label, Math.round(9 * dpr)), "repeat");
  ctx.fillRect(0, 0, side, side);
  ctx.strokeStyle = label.colour;
  ctx.lineWidth = 3 * dpr;
  ctx.strokeRect(0, 0, side, side);
}

/** Draw the image from the smallest copy that is large enough. */
function paintImage(ctx, levels, head, view, dpr) {
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.clearRect(0, 0, ctx.canvas.width, ctx.canvas.height);
  const zoom = view.k * dpr, needed = head.width * zoom;
  const bitmap = levels.findLast((b) => b.width >= needed) ?? levels[0];
  ctx.imageSmoothingEnabled = needed < 2 * bitmap.width;
  ctx.setTransform(zoom, 0, 0, zoom, view.x * dpr, view.y * dpr);
  ctx.drawImage(bitmap, 0, 0, head.width, head.height);
}

/** Draw tints, patterns and outlines of what is shown, label by label. */
function paintShapes(ctx, shown, labels, view, dpr, outlineOnly) {
  const zoom = view.k * dpr;
  if (shown.length > MANY) return paintMap(ctx, shown, labels, view, dpr, outlineOnly);
  const union = (of) => {
    const path = new Path2D();
    for (const shape of of) path.addPath(shape.path(shape.detail(zoom)));
    return path;
  };
  const sizes = shown.map((shape) => shape.size * view.k).sort((a, b) => a - b);
  const weight = clamp((sizes[sizes.length >> 1] ?? 99) / 26, 0.55, 1); // small objects: finer lines
  const groups = Object.entries(Object.groupBy(shown, (shape) => shape.label))
    .map(([label, of]) => ({label: labels[label], path: union(of), masks: of[0].hasMask}));
  ctx.setTransform(zoom, 0, 0, zoom, view.x * dpr, view.y * dpr);
  if (!outlineOnly) for (const group of groups) fill(ctx, group, zoom, dpr);
  ctx.lineJoin = "round";
  const pixel = weight / view.k;
  for (const [colour, width, alpha] of [["#fff", 4, 0.8 * weight], ["#000", 3, 0.85]]) {
    for (const group of groups) stroke(ctx, group.path, colour, width * pixel, alpha);
  }
  for (const group of groups) stroke(ctx, group.path, group.label.colour, 2 * pixel);
}

function fill(ctx, {label, path, masks}, zoom, dpr) {
  ctx.fillStyle = label.colour;
  ctx.globalAlpha = masks ? (label.pattern === "solid" ? 0.34 : 0.22) : 0.1;
  ctx.fill(path);
  if (masks && label.pattern !== "solid") {
    const pattern = ctx.createPattern(patternTile(label, Math.round(TILE * dpr)), "repeat");
    pattern.setTransform(new DOMMatrix().scale(1 / zoom)); // the pattern keeps its size on screen
    ctx.fillStyle = pattern;
    ctx.globalAlpha = 0.6;
    ctx.fill(path);
  }
  ctx.globalAlpha = 1;
}

function stroke(ctx, path, colour, width, alpha = 1) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.globalAlpha = alpha;
  ctx.stroke(path);
  ctx.globalAlpha = 1;
}

/** Draw very many objects: which object covers each screen pixel, edges where that changes.
 *
 * The cost is that of the screen, whatever the number of objects. Of overlapping objects the
 * better-scored is seen.
 */
function paintMap(ctx, shown, labels, view, dpr, outlineOnly) {
  const {width, height} = ctx.canvas, zoom = view.k * dpr;
  const map = new Uint32Array(width * height);
  for (let i = shown.length - 1; i >= 0; i--) stamp(map, width, height, shown[i], i + 1, zoom, view, dpr);
  const image = ctx.createImageData(width, height), out = new Uint32Array(image.data.buffer);
  const tints = labels.map(({colour}) => {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    return (b << 16) | (g << 8) | r;
  });
  for (let y = 1; y < height - 1; y++) {
    for (let p = y * width + 1, end = p + width - 2; p < end; p++) {
      const id = map[p];
      const edge = id !== map[p + 1] || id !== map[p + width] || id !== map[p - 1] || id !== map[p - width];
      if (id) {
        const tint = tints[shown[id - 1].label];
        if (edge) out[p] = tint | 0xff000000;
        else if (!outlineOnly) out[p] = tint | 0x60000000;
      } else if (edge) out[p] = 0x90000000;
    }
  }
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.putImageData(image, 0, 0);
}

/** Write an object's number into the screen pixels it covers. */
function stamp(map, width, height, shape, number, zoom, view, dpr) {
  const [x, y, w, h] = shape.crop, left = x * zoom + view.x * dpr, top = y * zoom + view.y * dpr;
  const bits = shape.hasMask ? shape.pixels() : null, [gw, gh] = shape.grid;
  const x1 = Math.max(0, Math.round(left)), x2 = Math.min(width, Math.round(left + w * zoom));
  const y1 = Math.max(0, Math.round(top)), y2 = Math.min(height, Math.round(top + h * zoom));
  for (let v = y1; v < y2; v++) {
    const row = Math.min(gh - 1, Math.max(0, Math.floor((v + 0.5 - top) / (h * zoom) * gh))) * gw;
    for (let u = x1; u < x2; u++) {
      const column = Math.min(gw - 1, Math.max(0, Math.floor((u + 0.5 - left) / (w * zoom) * gw)));
      if (!bits || bits[row + column]) map[v * width + u] = number;
    }
  }
}

/** Draw dashed outlines: what CVAT has, or what was rejected. */
function paintDashed(ctx, shapes, view, dpr, colour, width) {
  const zoom = view.k * dpr;
  ctx.setTransform(zoom, 0, 0, zoom, view.x * dpr, view.y * dpr);
  for (const shape of shapes) {
    const path = shape.path(shape.detail(zoom));
    stroke(ctx, path, "#000", (width + 1.4) / view.k, 0.75);
    ctx.setLineDash([5 / view.k, 4 / view.k]);
    stroke(ctx, path, colour, width / view.k);
    ctx.setLineDash([]);
  }
}

/** Draw the selected object above all others. */
function paintSelected(ctx, shape, label, view, dpr) {
  const zoom = view.k * dpr, path = shape.path(shape.detail(zoom));
  const pixel = clamp(shape.size * view.k / 70, 0.6, 1) / view.k;
  ctx.setTransform(zoom, 0, 0, zoom, view.x * dpr, view.y * dpr);
  ctx.lineJoin = "round";
  for (const [colour, width] of [["#000", 8], ["#fff", 6], [label.colour, 2]]) {
    stroke(ctx, path, colour, width * pixel);
  }
}

/** Draw number, name and score where there is room; the larger the object, the more words. */
function paintLabels(ctx, shapes, labels, view, dpr, mark, selected, font) {
  ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
  ctx.font = `600 11px ${font}`;
  ctx.textBaseline = "middle";
  const taken = new Set();
  for (const shape of shapes) {
    const [x, y, w, h] = shape.crop, side = shape.size * view.k, label = labels[shape.label];
    const sign = mark(shape);
    if (side < 30 && !sign && shape !== selected) continue;
    let text = `${sign}${label.number}`;
    if (w * view.k > 92 || shape === selected) text += ` ${label.name}`;
    if (w * view.k > 130 || shape === selected) text += ` ${scoreText(shape)}`;
    const width = ctx.measureText(text).width + 13;
    const left = (x + w / 2) * view.k + view.x - width / 2;
    const over = side < 48 ? 18 : 8; // beside what it would cover, on the edge of what is large
    const top = Math.max(y * view.k + view.y - over, Math.min(3, (y + h) * view.k + view.y - 18));
    const cells = [];
    for (let c = Math.floor(left / 8); c <= (left + width) / 8; c++) {
      for (let r = Math.floor(top / 8); r <= (top + 16) / 8; r++) cells.push(c * 10000 + r);
    }
    if (cells.some((cell) => taken.has(cell))) continue;
    cells.forEach((cell) => taken.add(cell));
    ctx.fillStyle = "#14171ce6";
    ctx.beginPath();
    ctx.roundRect(left, top, width, 16, 3);
    ctx.fill();
    ctx.fillStyle = label.colour;
    ctx.beginPath();
    ctx.roundRect(left, top, 4, 16, [3, 0, 0, 3]);
    ctx.fill();
    ctx.fillStyle = "#fff";
    ctx.fillText(text, left + 8, top + 8.5);
  }
}

/** Draw the histogram: what is shown in full colour, what is not pale, the threshold as a line. */
function paintBars(canvas, bars, floor, threshold, colours, dpr) {
  const {clientWidth: w, clientHeight: h} = canvas, ctx = canvas.getContext("2d");
  canvas.width = w * dpr;
  canvas.height = h * dpr;
  ctx.scale(dpr, dpr);
  const pad = 9, step = (w - 2 * pad) / (100 - floor); // the slider's thumb is 18 px wide
  const top = Math.max(1, ...bars.map(([shown, hidden]) => shown + hidden));
  const bar = (i, from, to, colour) => {
    ctx.fillStyle = colour;
    const y1 = (h - 1) * (1 - from / top), y2 = (h - 1) * (1 - to / top);
    const width = Math.min(2, 100 - floor - 2 * i) * step - 1; // the last may cover one percent
    ctx.fillRect(pad + 2 * i * step + 0.5, y2, Math.max(1, width), y1 - y2);
  };
  bars.forEach(([shown, hidden], i) => {
    if (shown) bar(i, 0, shown, colours.shown);
    if (hidden) bar(i, shown, shown + hidden, colours.hidden);
  });
  ctx.fillStyle = colours.line;
  ctx.fillRect(pad, h - 1, w - 2 * pad, 1);
  ctx.fillRect(pad + (threshold - floor) * step - 1, 0, 2, h);
}

/** Three decimals that never contradict the threshold they are compared with. */
function scoreText(shape) {
  const low = shape.level / 100, high = Math.min(1, low + 0.009);
  return Math.min(high, Math.max(low, Math.floor(shape.score * 1000) / 1000)).toFixed(3);
}
