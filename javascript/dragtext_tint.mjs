// A painted layer as a tinted picture that is kept, and painted again only where the layer has changed. No work at
// import.

import { TILE } from "./dragtext_layer.mjs";

const EDGE_PER = 700; // pixels of a layer's longer side for each pixel that its outline is thick

/** A layer as a tinted picture; only tiles that have changed are painted again. */
export class Tint {
  constructor(colour) {
    this.colour = colour;
    this.layer = null;
  }

  /** The canvas with the layer, at the layer's own size. */
  of(layer) {
    if (layer === this.layer) return this.canvas;
    const same = this.layer && this.layer.width === layer.width && this.layer.height === layer.height;
    if (!same) {
      this.canvas = Object.assign(document.createElement("canvas"), { width: layer.width, height: layer.height });
      this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    }
    const before = same ? this.layer.tiles : new Array(layer.tiles.length).fill(null);
    const rows = Math.ceil(layer.height / TILE);
    const stale = new Set();
    layer.tiles.forEach((tile, index) => {
      if (tile === before[index]) return;
      const [column, row] = [index % layer.columns, Math.floor(index / layer.columns)];
      for (let y = Math.max(0, row - 1); y <= Math.min(rows - 1, row + 1); y++) {
        for (let x = Math.max(0, column - 1); x <= Math.min(layer.columns - 1, column + 1); x++) {
          stale.add(y * layer.columns + x); // the outline of its neighbours may change, too
        }
      }
    });
    for (const index of stale) this.paint(layer, index);
    this.layer = layer;
    return this.canvas;
  }

  paint(layer, index) {
    const [left, top] = [(index % layer.columns) * TILE, Math.floor(index / layer.columns) * TILE];
    if (!layer.tiles[index]) {
      this.context.clearRect(left, top, TILE, TILE);
      return;
    }
    const image = this.context.createImageData(TILE, TILE);
    tintTile(layer, index, this.colour, new Uint32Array(image.data.buffer));
    this.context.putImageData(image, left, top);
  }
}

/** One tile of a layer in a colour: half through inside, solid along its edge. pixels: (TILE * TILE) RGBA words. */
function tintTile(layer, index, [red, green, blue], pixels) {
  const tile = layer.tiles[index];
  const [left, top] = [(index % layer.columns) * TILE, Math.floor(index / layer.columns) * TILE];
  const reach = Math.max(1, Math.round(Math.max(layer.width, layer.height) / EDGE_PER));
  const on = (x, y) => {
    if (x < 0 || y < 0 || x >= layer.width || y >= layer.height) return true; // the frame is no edge
    if (x >= left && y >= top && x < left + TILE && y < top + TILE) return tile[(y - top) * TILE + x - left] > 0;
    const other = layer.tiles[Math.floor(y / TILE) * layer.columns + Math.floor(x / TILE)];
    return Boolean(other && other[(y % TILE) * TILE + (x % TILE)]);
  };
  const colour = ((blue << 16) | (green << 8) | red) >>> 0;
  const [fill, edge] = [(colour | 0x96000000) >>> 0, (colour | 0xff000000) >>> 0];
  const inner = (place) =>
    tile[place - reach] && tile[place + reach] && tile[place - reach * TILE] && tile[place + reach * TILE];
  for (let y = 0, place = 0; y < TILE; y++) {
    for (let x = 0; x < TILE; x++, place++) {
      if (!tile[place]) continue;
      const far = x >= reach && y >= reach && x < TILE - reach && y < TILE - reach;
      const [px, py] = [left + x, top + y];
      const whole = far
        ? inner(place)
        : on(px - reach, py) && on(px + reach, py) && on(px, py - reach) && on(px, py + reach);
      pixels[place] = whole ? fill : edge;
    }
  }
}
