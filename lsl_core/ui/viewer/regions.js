/* Sharp parts of images that were sent reduced: asked for when one zooms in, drawn over the rest. */

const ASK_AFTER = 250; // milliseconds without a movement
const AROUND = 0.15; // of the view, on each side, so that a small step needs no new part

Object.assign(Viewer.prototype, {
  /** Draw the image and what is sharp of it. */
  paintBelow(dpr) {
    const ctx = this.base.getContext("2d");
    paintImage(ctx, this.scene.levels, this.scene.head, this.view, dpr);
    paintRegion(ctx, this.region, this.view, dpr);
    this.askForRegion();
  },

  /** What is to be seen at more pixels than were sent; null when that is enough. */
  wantedRegion() {
    const {head, mount, levels} = this.scene, dpr = devicePixelRatio || 1, {view} = this;
    const needed = Math.min(1, view.k * dpr); // screen pixels per image pixel
    if (!mount.regions || head.width * needed < 1.05 * levels[0].width) return null;
    const {clientWidth: w, clientHeight: h} = this.stage;
    const span = (at, room, length) => {
      const around = AROUND * room / view.k;
      const seen = [-at / view.k, (room - at) / view.k].map((end) => clamp(end, 0, length));
      return [...seen, Math.floor(clamp(seen[0] - around, 0, length)), Math.ceil(clamp(seen[1] + around, 0, length))];
    };
    const [x1, x2, left, right] = span(view.x, w, head.width);
    const [y1, y2, top, bottom] = span(view.y, h, head.height);
    if (x2 - x1 < 1 || y2 - y1 < 1) return null;
    const r = this.region;
    const isThere = r && r.x <= x1 && r.y <= y1 && r.x + r.width >= x2 && r.y + r.height >= y2
      && r.bitmap.width / r.width >= 0.95 * needed;
    return isThere ? null : {image: head.image, x: left, y: top, width: right - left, height: bottom - top,
      pixels: Math.ceil((right - left) * needed)};
  },

  askForRegion() {
    clearTimeout(this.asking);
    this.asking = setTimeout(() => {
      if (!this.scene || this.life.signal.aborted) return;
      const wanted = this.wantedRegion(), words = JSON.stringify(wanted);
      if (!wanted || words === this.asked) return;
      this.asked = words;
      this.setStateValue("region", wanted);
    }, ASK_AFTER);
  },

  async takeRegion(region) {
    if (!region || region.key !== this.scene.mount.key || region.image !== this.scene.head.image) return;
    const bitmap = await createImageBitmap(new Blob([region.jpeg], {type: "image/jpeg"}));
    if (this.life.signal.aborted || region.image !== this.scene.head.image) return bitmap.close();
    this.dropRegion();
    this.region = {...region, bitmap};
    this.draw(true);
    this.report("sharpened", {x: region.x, y: region.y, width: region.width, pixels: bitmap.width});
  },

  dropRegion() {
    this.region?.bitmap.close();
    this.region = null;
  },
});

/** Draw a sharp part over the image. */
function paintRegion(ctx, region, view, dpr) {
  if (!region) return;
  const zoom = view.k * dpr;
  ctx.imageSmoothingEnabled = zoom * region.width < 2 * region.bitmap.width;
  ctx.setTransform(zoom, 0, 0, zoom, view.x * dpr, view.y * dpr);
  ctx.drawImage(region.bitmap, region.x, region.y, region.width, region.height);
}
