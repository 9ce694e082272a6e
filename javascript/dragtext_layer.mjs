// A painted layer: on or off for every pixel, in tiles that copies share until one of them is changed. No work at
// import.
//
// A layer is never changed; whatever paints gives back another one. Points are (x, y) pixels of the picture, whole
// numbers
// in the middle of a pixel, as drags are. Layers of large pictures are smaller than the picture.

export const TILE = 64;
export const MOST = 2048; // pixels of a layer's longer side
const ON = 255;

/** A layer without anything on it, for a picture {width, height}. */
export function emptyLayer({ width, height }) {
  const scale = Math.min(1, MOST / Math.max(width, height));
  const size = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const count = Math.ceil(size[0] / TILE) * Math.ceil(size[1] / TILE);
  return made(size[0], size[1], width, height, new Array(count).fill(null));
}

function made(width, height, pictureWidth, pictureHeight, tiles) {
  const columns = Math.ceil(width / TILE);
  return Object.freeze({ width, height, pictureWidth, pictureHeight, columns, tiles: Object.freeze(tiles) });
}

/** Pixels of the layer per pixel of the picture. */
export const scaleOf = (layer) => layer.width / layer.pictureWidth;

const inner = (layer, [x, y]) => [
  ((x + 0.5) * layer.width) / layer.pictureWidth - 0.5,
  ((y + 0.5) * layer.height) / layer.pictureHeight - 0.5,
];

/** Runs of one row are all that shapes write; the tiles they touch are copied once. */
function changing(layer) {
  const tiles = layer.tiles.slice();
  const own = new Set();
  const span = (row, from, to, value) => {
    if (row < 0 || row >= layer.height) return;
    const first = Math.max(0, from);
    const last = Math.min(layer.width - 1, to);
    const across = Math.floor(row / TILE) * layer.columns;
    for (let column = Math.floor(first / TILE); column * TILE <= last; column++) {
      const index = across + column;
      if (!own.has(index)) {
        if (!tiles[index] && !value) continue;
        tiles[index] = tiles[index] ? tiles[index].slice() : new Uint8Array(TILE * TILE);
        own.add(index);
      }
      const start = (row % TILE) * TILE - column * TILE;
      tiles[index].fill(
        value,
        start + Math.max(first, column * TILE),
        start + Math.min(last, column * TILE + TILE - 1) + 1,
      );
    }
  };
  const done = () => {
    for (const index of own) if (!tiles[index].includes(ON)) tiles[index] = null;
    return made(layer.width, layer.height, layer.pictureWidth, layer.pictureHeight, tiles);
  };
  return { span, done };
}

/** A round brush drawn along points. radius: pixels of the picture; add: paint, else erase. */
export function stroke(layer, points, radius, add = true) {
  const { span, done } = changing(layer);
  const wide = Math.max(0.5, radius * scaleOf(layer));
  const places = points.map((point) => inner(layer, point));
  for (let n = 0; n < places.length; n++) capsule(places[Math.max(0, n - 1)], places[n], wide, add ? ON : 0, span);
  return done();
}

function capsule([ax, ay], [bx, by], radius, value, span) {
  const length = Math.hypot(bx - ax, by - ay);
  const [nx, ny] = length ? [((by - ay) / length) * radius, ((ax - bx) / length) * radius] : [0, 0];
  const corners = [
    [ax + nx, ay + ny],
    [bx + nx, by + ny],
    [bx - nx, by - ny],
    [ax - nx, ay - ny],
  ];
  for (let row = Math.ceil(Math.min(ay, by) - radius); row <= Math.floor(Math.max(ay, by) + radius); row++) {
    let [low, high] = [Infinity, -Infinity];
    const meet = (x) => {
      low = Math.min(low, x);
      high = Math.max(high, x);
    };
    for (const [x, y] of [
      [ax, ay],
      [bx, by],
    ]) {
      const left = radius * radius - (row - y) ** 2;
      if (left >= 0) [-1, 1].forEach((side) => meet(x + side * Math.sqrt(left)));
    }
    if (length) crossings(corners, row).forEach(([x]) => meet(x));
    if (low > high) continue;
    const [from, to] = [Math.ceil(low), Math.floor(high)];
    if (from <= to) span(row, from, to, value);
    else span(row, Math.round((low + high) / 2), Math.round((low + high) / 2), value); // thinner than a pixel
  }
}

/** Where a closed line crosses a row: [x, 1 downwards or -1 upwards], from left to right. */
function crossings(points, row) {
  const found = [];
  for (let n = 0; n < points.length; n++) {
    const [ax, ay] = points[n];
    const [bx, by] = points[(n + 1) % points.length];
    if (ay <= row === by <= row) continue;
    found.push([ax + ((row - ay) / (by - ay)) * (bx - ax), by > ay ? 1 : -1]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}

/** All between two corners. box: [x0, y0, x1, y1] in any order. */
export function rectangle(layer, [x0, y0, x1, y1], add = true) {
  const { span, done } = changing(layer);
  const [ax, ay] = inner(layer, [Math.min(x0, x1), Math.min(y0, y1)]);
  const [bx, by] = inner(layer, [Math.max(x0, x1), Math.max(y0, y1)]);
  for (let row = Math.max(0, Math.ceil(ay)); row <= Math.min(layer.height - 1, Math.floor(by)); row++) {
    span(row, Math.ceil(ax), Math.floor(bx), add ? ON : 0);
  }
  return done();
}

/** All that a line drawn around it encloses, also where the line crosses itself. */
export function lasso(layer, points, add = true) {
  const { span, done } = changing(layer);
  const places = points.map((point) => inner(layer, point));
  const rows = places.map(([, y]) => y);
  const last = Math.min(layer.height - 1, Math.floor(Math.max(...rows)));
  for (let row = Math.max(0, Math.ceil(Math.min(...rows))); row <= last; row++) {
    let winding = 0;
    const found = crossings(places, row);
    for (let n = 0; n + 1 < found.length; n++) {
      winding += found[n][1];
      if (winding) span(row, Math.ceil(found[n][0]), Math.floor(found[n + 1][0]), add ? ON : 0);
    }
  }
  return done();
}

/** On becomes off and off on. */
export function invert(layer) {
  const bytes = toBytes(layer);
  return fromBytes(
    bytes.map((value) => ON - value),
    layer,
  );
}

/** What is on in either of two layers of one picture; either may be null. */
export function union(one, other) {
  return joined(one, other, (a, b) => a | b);
}

/** What is on in the first layer and not in the second. */
export function without(one, other) {
  return joined(one, other, (a, b) => a & ~b);
}

function joined(one, other, both) {
  if (!one || !other) return one ?? (both(0, ON) ? other : null);
  if (one.width !== other.width || one.height !== other.height) throw new RangeError("layers of different pictures");
  const tiles = one.tiles.map((tile, index) => {
    const second = other.tiles[index];
    if (!second) return tile;
    if (!tile && !both(0, ON)) return null;
    if (!tile) return second;
    const result = tile.map((value, place) => both(value, second[place]));
    return result.includes(ON) ? result : null;
  });
  return made(one.width, one.height, one.pictureWidth, one.pictureHeight, tiles);
}

/** Whether nothing is on; also for no layer. */
export const isEmpty = (layer) => !layer || layer.tiles.every((tile) => !tile);

/** Whether the pixel under a point is on. */
export function isOn(layer, point) {
  const [x, y] = inner(layer, point).map(Math.round);
  if (x < 0 || y < 0 || x >= layer.width || y >= layer.height) return false;
  const tile = layer.tiles[Math.floor(y / TILE) * layer.columns + Math.floor(x / TILE)];
  return Boolean(tile && tile[(y % TILE) * TILE + (x % TILE)]);
}

/** [x0, y0, x1, y1] of the picture's pixels around all that is on, edges included, or null. */
export function bounds(layer) {
  let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
  layer?.tiles.forEach((tile, index) => {
    if (!tile) return;
    const [x, y] = [(index % layer.columns) * TILE, Math.floor(index / layer.columns) * TILE];
    tile.forEach((value, place) => {
      if (!value) return;
      left = Math.min(left, x + (place % TILE));
      right = Math.max(right, x + (place % TILE));
      top = Math.min(top, y + (place >> 6));
      bottom = Math.max(bottom, y + (place >> 6));
    });
  });
  if (right < 0) return null;
  const scale = scaleOf(layer);
  return [
    Math.floor(left / scale),
    Math.floor(top / scale),
    Math.ceil((right + 1) / scale) - 1,
    Math.ceil((bottom + 1) / scale) - 1,
  ];
}

/** One byte per pixel, row by row: 0 or 255. */
export function toBytes(layer) {
  const bytes = new Uint8Array(layer.width * layer.height);
  layer.tiles.forEach((tile, index) => {
    if (!tile) return;
    const [x, y] = [(index % layer.columns) * TILE, Math.floor(index / layer.columns) * TILE];
    const wide = Math.min(TILE, layer.width - x);
    for (let row = 0; row < Math.min(TILE, layer.height - y); row++) {
      bytes.set(tile.subarray(row * TILE, row * TILE + wide), (y + row) * layer.width + x);
    }
  });
  return bytes;
}

/** The layer that such bytes describe, of the size of another layer; on is what is 128 or more. */
export function fromBytes(bytes, { width, height, pictureWidth, pictureHeight }) {
  if (bytes.length !== width * height) throw new RangeError("bytes of another size");
  const columns = Math.ceil(width / TILE);
  const tiles = new Array(columns * Math.ceil(height / TILE)).fill(null);
  for (let y = 0, place = 0; y < height; y++) {
    for (let x = 0; x < width; x++, place++) {
      if (bytes[place] < 128) continue;
      const index = Math.floor(y / TILE) * columns + Math.floor(x / TILE);
      tiles[index] ??= new Uint8Array(TILE * TILE);
      tiles[index][(y % TILE) * TILE + (x % TILE)] = ON;
    }
  }
  return made(width, height, pictureWidth, pictureHeight, tiles);
}

/** As a short text: the lengths of what is off, on, off, ..., row by row. */
export function toRuns(layer) {
  const bytes = toBytes(layer);
  const runs = [];
  let [value, length] = [0, 0];
  for (const byte of bytes) {
    if (byte !== value) {
      runs.push(length.toString(36));
      [value, length] = [byte, 0];
    }
    length++;
  }
  runs.push(length.toString(36));
  return [layer.width, layer.height, layer.pictureWidth, layer.pictureHeight, runs.join(" ")];
}

/** The layer of such a text. */
export function fromRuns([width, height, pictureWidth, pictureHeight, text]) {
  const bytes = new Uint8Array(width * height);
  let [place, value] = [0, 0];
  for (const run of text.split(" ")) {
    const length = parseInt(run, 36);
    if (value) bytes.fill(ON, place, place + length);
    [place, value] = [place + length, ON - value];
  }
  if (place !== bytes.length) throw new RangeError("a damaged layer");
  return fromBytes(bytes, { width, height, pictureWidth, pictureHeight });
}

/** Browser only: the layer of a black and white PNG of the picture's size (an address or data address). */
export async function layerFromPng(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  const layer = emptyLayer({ width: image.naturalWidth, height: image.naturalHeight });
  const canvas = Object.assign(document.createElement("canvas"), { width: layer.width, height: layer.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, layer.width, layer.height);
  const { data } = context.getImageData(0, 0, layer.width, layer.height);
  const bytes = new Uint8Array(layer.width * layer.height);
  for (let n = 0; n < bytes.length; n++) bytes[n] = data[4 * n];
  return fromBytes(bytes, layer);
}

/** Browser only: a black and white PNG of the picture's size. */
export function layerToPngBlob(layer) {
  const bytes = toBytes(layer);
  const small = Object.assign(document.createElement("canvas"), { width: layer.width, height: layer.height });
  const context = small.getContext("2d", { willReadFrequently: true });
  const image = context.createImageData(layer.width, layer.height);
  const words = new Uint32Array(image.data.buffer);
  for (let n = 0; n < bytes.length; n++) words[n] = bytes[n] ? 0xffffffff : 0xff000000;
  context.putImageData(image, 0, 0);
  let canvas = small;
  if (layer.width !== layer.pictureWidth || layer.height !== layer.pictureHeight) {
    const size = { width: layer.pictureWidth, height: layer.pictureHeight };
    canvas = Object.assign(document.createElement("canvas"), size);
    const large = canvas.getContext("2d");
    large.imageSmoothingEnabled = false;
    large.drawImage(small, 0, 0, size.width, size.height);
  }
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("The layer is too large for this browser."))),
      "image/png",
    );
  });
}
