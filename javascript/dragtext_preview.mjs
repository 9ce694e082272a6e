// What an edit will move, shown while the pointer pulls: the server says once what moves and fills the hole, and every
// movement draws it anew. No work at import.

import { hasWay } from "./dragtext_document.mjs";
import { cutOut, joined, land, landing } from "./dragtext_landing.mjs";
import { fromBytes, union } from "./dragtext_layer.mjs";
import { transformKind } from "./dragtext_warp.mjs";

const MOST = 1024; // pixels of the preview's longer side
const PAUSE = 250; // milliseconds between two questions

/** host: {doc, redraw(), busy(change), failed(error)}; server: {start}. */
export class Preview {
  constructor(server, host) {
    this.server = server;
    this.host = host;
    this.wanted = true;
    this.linger = null; // where the pointer let go: the preview stays until it goes on
    this.reset(null);
  }

  /** Another picture. image: to draw pieces of, of any size. */
  reset(image) {
    this.image = image;
    this.original = null; // {width, height, words}: the picture at the preview's size
    this.start = null; // the newest answer, ready to draw
    this.asking = null; // the key that is on its way
    this.refused = null; // the key that could not be answered
    this.asked = -Infinity;
    this.drawn = null; // the drags that the canvas shows
    this.linger = null;
    clearTimeout(this.timer);
  }

  /** What the answer depends on. With a region given it is that alone; else it is found from the handles. */
  key(doc) {
    if (doc.region) return { region: doc.region, mask: null, handles: "" };
    const handles = JSON.stringify(doc.drags.map((drag) => drag.source));
    return { region: null, mask: doc.maskAuto ? null : doc.mask, handles };
  }

  fits(doc) {
    return Boolean(this.start && equal(this.start.key, this.key(doc)));
  }

  /** Ask the server, where its answer will be needed and is not there. dragging: whether drags are being changed. */
  prepare(doc, dragging) {
    const { picture } = this.host.doc;
    if (!this.wanted || !this.server.start || !(dragging || this.linger) || this.asking || this.fits(doc)) return;
    const key = this.key(doc);
    if (!doc.drags.length || equal(this.refused, key)) return;
    const wait = this.asked + PAUSE - performance.now();
    if (wait > 0) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.host.redraw(), wait);
      return;
    }
    this.asking = key;
    this.asked = performance.now();
    this.ask(doc, key, picture);
  }

  async ask(doc, key, picture) {
    const { image, host } = this;
    host.busy(1);
    try {
      const answer = await this.server.start({ drags: doc.drags, region: key.region, mask: key.mask });
      if (image !== this.image) return;
      const start = await this.made(answer, key, picture, doc.drags.length);
      if (image === this.image) {
        this.start = start;
        this.drawn = null;
      }
    } catch (error) {
      if (image === this.image) {
        this.refused = key;
        host.failed(error);
      }
    } finally {
      host.busy(-1);
      if (equal(this.asking, key)) this.asking = null;
      host.redraw();
    }
  }

  /** An answer, made ready: pieces that are cut out, and what is behind them. */
  async made({ moves, background }, key, picture, count) {
    this.original ??= readable(this.image, ...sizeOf(picture));
    const { width, height, words } = this.original;
    const scale = width / picture.width;
    const behind = readable(await loaded(background), width, height).words;
    const pieces = [];
    let found = null;
    for (const { region, drags, root } of moves) {
      const bytes = bright(readable(await loaded(region), width, height).words);
      const rooted = root ? bright(readable(await loaded(root), width, height).words) : null;
      const piece = cutOut(words, width, height, bytes, rooted, scale);
      if (!piece) continue;
      pieces.push({ piece, drags });
      found = union(
        found,
        fromBytes(bytes, { width, height, pictureWidth: picture.width, pictureHeight: picture.height }),
      );
    }
    return { key, pieces, behind, count, found };
  }

  /** What the server found to move, as a layer, or null. */
  found(doc) {
    return !doc.region && doc.drags.length && this.fits(doc) ? this.start.found : null;
  }

  /** The canvas with the picture as it would be, or null where that is not wanted or not known. */
  picture(doc, dragging) {
    if (!this.wanted || !this.start || !(dragging || this.linger) || !hasWay(doc)) return null;
    // While a handle is pulled its thing is found anew; until then the last one serves.
    if (!this.fits(doc) && (doc.region || this.start.key.region || this.start.count !== doc.drags.length)) return null;
    if (this.drawn !== doc.drags) this.render(doc.drags);
    return this.canvas;
  }

  render(drags) {
    const { width, height } = this.original;
    if (!this.canvas || this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas = Object.assign(document.createElement("canvas"), { width, height });
      this.context = this.canvas.getContext("2d", { willReadFrequently: true });
      this.frame = this.context.createImageData(width, height);
    }
    const words = new Int32Array(this.frame.data.buffer);
    if (!this.drawn) this.touched = [0, 0, height, width];
    const { pieces, behind } = this.start;
    const picture = this.host.doc.picture;
    const inner = ([x, y]) => [((x + 0.5) * width) / picture.width - 0.5, ((y + 0.5) * height) / picture.height - 0.5];
    const given = Boolean(this.start.key.region);
    const landings = [];
    for (const { piece, drags: indices } of pieces) {
      const own = given && pieces.length === 1 ? drags : indices.map((index) => drags[index]).filter(Boolean);
      if (!own.length) continue;
      const [handles, targets] = ["source", "target"].map((end) => own.map((drag) => drag[end]));
      // What the drags ask for is told in the picture's own pixels, as the edit does.
      const kind = transformKind(handles, targets);
      const place = landing(piece, width, height, handles.map(inner), targets.map(inner), kind);
      if (place) landings.push({ piece, place });
    }
    const now = landings.reduce((box, { place }) => joined(box, place.box), null);
    const stale = joined(this.touched, now);
    if (stale) {
      const [top, left, bottom, right] = stale;
      for (let y = top; y < bottom; y++)
        words.set(behind.subarray(y * width + left, y * width + right), y * width + left);
      for (const { piece, place } of landings) land(words, width, piece, place);
      this.context.putImageData(this.frame, 0, 0, left, top, right - left, bottom - top);
    }
    this.touched = now;
    this.drawn = drags;
  }
}

function equal(one, other) {
  return (
    Boolean(one && other) && one.region === other.region && one.mask === other.mask && one.handles === other.handles
  );
}

function sizeOf({ width, height }) {
  const scale = Math.min(1, MOST / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

async function loaded(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  return image;
}

/** An image's RGBA words at a size. */
function readable(image, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  return { width, height, words: new Int32Array(context.getImageData(0, 0, width, height).data.buffer) };
}

function bright(words) {
  const bytes = new Uint8Array(words.length);
  for (let n = 0; n < bytes.length; n++) bytes[n] = words[n] & 0x80 ? 255 : 0;
  return bytes;
}
