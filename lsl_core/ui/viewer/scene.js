/* The message, unpacked once: image levels, and objects whose outlines are traced when needed. */

const EXACT_FROM = 1.5; // screen pixels per mask pixel from which the true pixel edges are drawn
const MAX_LEVEL = 6;
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Read a length-prefixed JSON part; return [value, offset behind it]. */
function readPart(bytes, at) {
  const length = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0, true);
  const text = new TextDecoder().decode(bytes.subarray(at + 4, at + 4 + length));
  return [JSON.parse(text), at + 4 + length];
}

/** Split a message into how it is mounted, its head, its objects and its JPEG. */
function unpack(data) {
  const bytes = data.byteOffset % 4 ? data.slice() : data; // typed columns need alignment
  let [mount, at] = readPart(bytes, 0), head;
  [head, at] = readPart(bytes, at);
  const column = (Type, length) => {
    const values = new Type(bytes.buffer, bytes.byteOffset + at, length);
    at += 4 * length;
    return values;
  };
  const columns = (n) => ({
    n, ids: column(Int32Array, n), classes: column(Int32Array, n), levels: column(Int32Array, n),
    numRuns: column(Int32Array, n), crops: column(Int32Array, 4 * n),
    grids: column(Int32Array, 2 * n), boxes: column(Float32Array, 4 * n),
    scores: column(Float32Array, n),
  });
  const [existing, existingRuns] = head.existing ?? [0, 0];
  const found = columns(head.objects[0]), old = columns(existing);
  const foundRuns = column(Uint32Array, head.objects[1]);
  const oldRuns = column(Uint32Array, existingRuns);
  return {mount, head, objects: toShapes(found, foundRuns), existing: toShapes(old, oldRuns),
    jpeg: bytes.subarray(at)};
}

function toShapes(c, runs) {
  const shapes = [];
  let at = 0;
  for (let i = 0; i < c.n; i++) {
    shapes.push(new Shape(c, i, runs.subarray(at, at + c.numRuns[i])));
    at += c.numRuns[i];
  }
  return shapes;
}

/** Decode the JPEG, with halved copies so that a small view does not resample the large image. */
async function imageLevels(jpeg) {
  const levels = [await createImageBitmap(new Blob([jpeg], {type: "image/jpeg"}))];
  while (Math.max(levels.at(-1).width, levels.at(-1).height) > 700) {
    const {width, height} = levels.at(-1);
    levels.push(await createImageBitmap(levels.at(-1), {
      resizeWidth: Math.ceil(width / 2), resizeHeight: Math.ceil(height / 2),
      resizeQuality: "medium",
    }));
  }
  return levels;
}

/** One object: a mask traced from its runs, or a box. Coordinates are image pixels. */
class Shape {
  constructor(c, i, runs) {
    this.id = c.ids[i];
    this.label = c.classes[i];
    this.level = c.levels[i];
    this.score = c.scores[i];
    [this.x1, this.y1, this.x2, this.y2] = c.boxes.subarray(4 * i, 4 * i + 4);
    this.runs = runs;
    this.hasMask = runs.length > 0;
    this.crop = this.hasMask ? c.crops.subarray(4 * i, 4 * i + 4)
      : [this.x1, this.y1, this.x2 - this.x1, this.y2 - this.y1];
    this.grid = c.grids.subarray(2 * i, 2 * i + 2);
    this.paths = [];
    this.rings = null;
    this.bits = null;
  }

  get size() { return Math.sqrt(this.crop[2] * this.crop[3]); }

  isIn(view) {
    const [x, y, w, h] = this.crop;
    return x < view.x2 && x + w > view.x1 && y < view.y2 && y + h > view.y1;
  }

  /** Level of detail at `zoom` screen pixels per image pixel: 0 is exact. */
  detail(zoom) {
    if (!this.hasMask) return 0;
    const step = zoom * this.crop[2] / this.grid[0];
    return step >= EXACT_FROM ? 0 : 1 + clamp(Math.floor(-Math.log2(step)), 0, MAX_LEVEL);
  }

  /** The outline, holes included; even-odd and nonzero filling give the same. */
  path(detail) {
    return this.paths[detail] ??= this.hasMask ? this.traced(detail) : this.boxed();
  }

  boxed() {
    const path = new Path2D();
    path.rect(...this.crop);
    return path;
  }

  traced(detail) {
    this.rings ??= trace(this.pixels(), this.grid[0], this.grid[1]);
    const [x, y, w, h] = this.crop, sx = w / this.grid[0], sy = h / this.grid[1];
    const tolerance = detail ? 0.5 * 2 ** (detail - 1) : 0;
    const path = new Path2D();
    for (const ring of this.rings) {
      const kept = tolerance ? simplify(ring, tolerance) : ring;
      path.moveTo(x + kept[0] * sx, y + kept[1] * sy);
      for (let i = 2; i < kept.length; i += 2) path.lineTo(x + kept[i] * sx, y + kept[i + 1] * sy);
      path.closePath();
    }
    return path;
  }

  /** The mask as bytes, row-major over the grid. */
  pixels() {
    if (this.bits) return this.bits;
    this.bits = new Uint8Array(this.grid[0] * this.grid[1]);
    for (let i = 0, at = 0; i < this.runs.length; at += this.runs[i++]) {
      if (i & 1) this.bits.fill(1, at, at + this.runs[i]);
    }
    return this.bits;
  }

  /** Whether the object covers an image point; a box is hit anywhere inside. */
  covers(px, py) {
    const [x, y, w, h] = this.crop;
    if (px < x || py < y || px >= x + w || py >= y + h) return false;
    if (!this.hasMask) return true;
    const [gw, gh] = this.grid;
    const u = Math.floor((px - x) * gw / w), v = Math.floor((py - y) * gh / h);
    return this.pixels()[v * gw + u] === 1;
  }
}

/** Follow the pixel edges of a mask with the mask on the right; return rings of corner points.
 *
 * Outer rings run clockwise, holes the other way. Pixels that touch by a corner are joined.
 */
function trace(bits, width, height) {
  const stride = width + 2; // a border of background saves all range checks
  const map = new Uint8Array(stride * (height + 2));
  for (let y = 0; y < height; y++) {
    map.set(bits.subarray(y * width, (y + 1) * width), (y + 1) * stride + 1);
  }
  const step = [1, stride, -1, -stride]; // east, south, west, north
  const right = [0, -1, -1 - stride, -stride]; // pixel ahead on the right of a corner
  const left = [-stride, 0, -1, -1 - stride];
  const rings = [];
  for (let start = stride + 1; start < map.length - stride; start++) {
    if (map[start] !== 1 || map[start - stride]) continue; // 2: its upper edge was walked
    const ring = [];
    let corner = start, heading = 0;
    do {
      ring.push(corner % stride - 1, Math.floor(corner / stride) - 1);
      for (;;) {
        if (heading === 0) map[corner] = 2;
        corner += step[heading];
        if (map[corner + left[heading]]) { heading = (heading + 3) & 3; break; }
        if (!map[corner + right[heading]]) { heading = (heading + 1) & 3; break; }
      }
    } while (corner !== start || heading !== 0);
    rings.push(ring);
  }
  return rings;
}

/** Drop the points of a closed ring that lie within `tolerance` of the line that replaces them. */
function simplify(ring, tolerance) {
  const n = ring.length / 2;
  if (n < 5) return ring;
  let far = 0, most = -1;
  for (let i = 1; i < n; i++) {
    const d = (ring[2 * i] - ring[0]) ** 2 + (ring[2 * i + 1] - ring[1]) ** 2;
    if (d > most) { most = d; far = i; }
  }
  const keep = new Uint8Array(n + 1);
  keep[0] = keep[far] = 1;
  const stack = [0, far, far, n];
  while (stack.length) {
    const to = stack.pop(), from = stack.pop(), end = to % n;
    const ax = ring[2 * from], ay = ring[2 * from + 1];
    const dx = ring[2 * end] - ax, dy = ring[2 * end + 1] - ay, length = Math.hypot(dx, dy) || 1;
    let worst = tolerance, at = -1;
    for (let i = from + 1; i < to; i++) {
      const d = Math.abs((ring[2 * i] - ax) * dy - (ring[2 * i + 1] - ay) * dx) / length;
      if (d > worst) { worst = d; at = i; }
    }
    if (at > 0) { keep[at] = 1; stack.push(from, at, at, to); }
  }
  const kept = [];
  for (let i = 0; i < n; i++) if (keep[i]) kept.push(ring[2 * i], ring[2 * i + 1]);
  return kept.length > 4 ? kept : ring;
}
