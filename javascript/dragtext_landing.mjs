// The warped start as a picture, as sdk/drag/start.py makes it, quickly enough for every movement of the pointer:
// pieces of the picture drawn where they land, over a picture with what moves taken out. No work at import.
//
// Pictures are Int32Array of RGBA words, row by row; points are [x, y] pixels of them.

import { bentMap, hanging } from "./dragtext_bend.mjs";
import { deform, distances, fetchMap, transformKind } from "./dragtext_warp.mjs";

const CARRIED = 2; // what is carried reaches so many pixels beyond the region: outlines are half background
const ROOM = 16; // pixels around where a region's outline goes
const FARTHEST = 2 ** 30; // of places in a piece, with 16 bits after the point
const OUTLINE = 6000; // points of an outline that are asked where they go

/**
 * What of a picture moves, cut out with a soft edge. region, root: bytes (root: or null) of the picture's size; scale:
 * its pixels per pixel of the true picture. Gives null for an empty region.
 */
export function cutOut(picture, width, height, region, root, scale = 1) {
  const box = around(region, width, height, Math.ceil(CARRIED * scale) + 4);
  if (!box) return null;
  const [top, left, bottom, right] = box;
  const [wide, high] = [right - left, bottom - top];
  const part = new Uint8Array(wide * high);
  for (let y = 0; y < high; y++)
    part.set(region.subarray((top + y) * width + left, (top + y) * width + right), y * wide);
  const share = grown(part, wide, high, CARRIED * scale);
  const outline = outlineOf(share, wide, high).map((value, n) => value + (n % 2 ? top : left));
  soften(share, wide, high);
  const pixels = new Int32Array(wide * high);
  for (let y = 0, at = 0; y < high; y++) {
    for (let x = 0; x < wide; x++, at++) {
      pixels[at] = (picture[(top + y) * width + left + x] & 0xffffff) | (Math.round(share[at]) << 24);
    }
  }
  const hangs = root?.includes(255) ? hanging(region, root, width, height, scale) : null;
  return { pixels, left, top, wide, high, outline, hangs };
}

/**
 * 255 where something is on within a radius, else 0, as Float32Array. By two pixels it is the form that OpenCV calls an
 * ellipse, as in the SDK: the map's grid begins at the edge of what lands.
 */
function grown(on, width, height, radius) {
  const result = distances(on, width, height);
  const whole = radius === 2;
  const at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && on[y * width + x] > 0;
  const within = (x, y) => {
    if (at(x, y - 2) || at(x, y + 2)) return true;
    for (let v = -1; v <= 1; v++) for (let u = -2; u <= 2; u++) if (at(x + u, y + v)) return true;
    return false;
  };
  for (let y = 0, n = 0; y < height; y++) {
    for (let x = 0; x < width; x++, n++) {
      const unsure = whole && result[n] > 0 && result[n] < 3;
      result[n] = (unsure ? within(x, y) : result[n] <= radius) ? 255 : 0;
    }
  }
  return result;
}

/** Points (x, y, ...) that are on, beside one that is not. */
function outlineOf(on, width, height) {
  const points = [];
  for (let y = 0, n = 0; y < height; y++) {
    for (let x = 0; x < width; x++, n++) {
      if (!on[n]) continue;
      const within = x > 0 && y > 0 && x < width - 1 && y < height - 1;
      if (!within || !(on[n - 1] && on[n + 1] && on[n - width] && on[n + width])) points.push(x, y);
    }
  }
  const skip = 2 * Math.ceil(points.length / 2 / OUTLINE);
  return Float64Array.from(skip > 2 ? points.filter((_, n) => n % skip < 2) : points);
}

/** [top, left, bottom, right] around what is on, with room, inside the picture; null where nothing is. */
function around(bytes, width, height, room) {
  let [top, left, bottom, right] = [height, width, -1, -1];
  for (let y = 0; y < height; y++) {
    const row = bytes.subarray(y * width, (y + 1) * width);
    const first = row.indexOf(255);
    if (first < 0) continue;
    top = Math.min(top, y);
    bottom = y;
    left = Math.min(left, first);
    right = Math.max(right, row.lastIndexOf(255));
  }
  if (bottom < 0) return null;
  const [x, y] = [Math.min(width, right + 1 + room), Math.min(height, bottom + 1 + room)];
  return [Math.max(0, top - room), Math.max(0, left - room), y, x];
}

/** A blur of one pixel's deviation: (1 2 1) / 4 twice in either direction. */
function soften(values, width, height) {
  const line = new Float32Array(Math.max(width, height));
  const pass = (start, step, count) => {
    for (let n = 0; n < count; n++) line[n] = values[start + n * step];
    for (let n = 0; n < count; n++) {
      const [before, after] = [line[Math.max(0, n - 1)], line[Math.min(count - 1, n + 1)]];
      values[start + n * step] = (before + 2 * line[n] + after) / 4;
    }
  };
  for (const _ of [0, 1]) {
    for (let x = 0; x < width; x++) pass(x, width, height);
    for (let y = 0; y < height; y++) pass(y * width, 1, width);
  }
}

/** The box around two boxes, either of which may be null. */
export function joined(one, other) {
  if (!one || !other) return one ?? other;
  return [0, 1, 2, 3].map((n) => (n < 2 ? Math.min(one[n], other[n]) : Math.max(one[n], other[n])));
}

/**
 * The box [top, left, bottom, right] where a piece lands, inside the picture, and its map; null where it lands
 * nowhere.
 */
export function landing(piece, width, height, handles, targets, kind = transformKind(handles, targets)) {
  const gone = deform(piece.outline.slice(), handles, targets, kind);
  const all = piece.hangs ? [...gone, ...piece.outline] : gone;
  let [top, left, bottom, right] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let n = 0; n < all.length; n += 2) {
    left = Math.min(left, all[n]);
    right = Math.max(right, all[n]);
    top = Math.min(top, all[n + 1]);
    bottom = Math.max(bottom, all[n + 1]);
  }
  const box = [
    Math.max(0, Math.floor(top - ROOM)),
    Math.max(0, Math.floor(left - ROOM)),
    Math.min(height, Math.ceil(bottom + ROOM) + 1),
    Math.min(width, Math.ceil(right + ROOM) + 1),
  ];
  if (!(box[2] > box[0] && box[3] > box[1])) return null;
  const map = piece.hangs ? bentMap(box, piece.hangs, handles, targets, kind) : fetchMap(box, handles, targets, kind);
  return { box, map };
}

/** Draw a piece into a picture (changed) where it lands. */
export function land(frame, width, piece, { box, map }) {
  const { pixels, wide, high } = piece;
  const hidden = piece.hangs?.behind;
  const { columns, rows, every, nodes } = map;
  const [top, left, bottom, right] = box;
  // Places in the piece have 16 bits after the point: up to a million pixels are drawn at every movement of the
  // pointer.
  const one = 1 << 16;
  const across = (node) => Math.round((nodes[node] - piece.left) * one);
  const down = (node) => Math.round((nodes[node + 1] - piece.top) * one);
  const lastX = (wide - 1) * one - 1;
  const lastY = (high - 1) * one - 1;
  for (let row = 0; row + 1 < rows; row++) {
    const deep = Math.min(every, bottom - top - row * every);
    for (let column = 0; column + 1 < columns; column++) {
      const node = 2 * (row * columns + column);
      const next = node + 2 * columns;
      const ax = across(node);
      const ay = down(node);
      const bx = across(node + 2);
      const by = down(node + 2);
      const cx = across(next);
      const cy = down(next);
      const dx = across(next + 2);
      const dy = down(next + 2);
      // All pixels of a cell come from between its corners.
      const [lowX, highX] = [Math.min(ax, bx, cx, dx), Math.max(ax, bx, cx, dx)];
      const [lowY, highY] = [Math.min(ay, by, cy, dy), Math.max(ay, by, cy, dy)];
      if (highX < 0 || highY < 0 || lowX > lastX || lowY > lastY) continue;
      if (lowX < -FARTHEST || lowY < -FARTHEST || highX > FARTHEST || highY > FARTHEST) continue;
      const wideNow = Math.min(every, right - left - column * every);
      for (let v = 0; v < deep; v++) {
        let x = (ax + ((cx - ax) * v) / every) | 0;
        let y = (ay + ((cy - ay) * v) / every) | 0;
        const stepX = ((bx + ((dx - bx) * v) / every - x) / every) | 0;
        const stepY = ((by + ((dy - by) * v) / every - y) / every) | 0;
        const from = (top + row * every + v) * width + left + column * every;
        for (let at = from; at < from + wideNow; at++, x += stepX, y += stepY) {
          if (x < 0 || y < 0 || x > lastX || y > lastY) continue; // the rim of a piece is clear
          if (hidden && hidden[at]) continue;
          const place = (y >> 16) * wide + (x >> 16);
          const p = pixels[place];
          const q = pixels[place + 1];
          const r = pixels[place + wide];
          const s = pixels[place + wide + 1];
          if (((p | q | r | s) & 0xff000000) === 0) continue;
          const fx = (x >> 8) & 0xff;
          const fy = (y >> 8) & 0xff;
          // Two channels of eight bits at once, between four pixels.
          const red = between(between(p, q, fx), between(r, s, fx), fy);
          const green = between(between(p >> 8, q >> 8, fx), between(r >> 8, s >> 8, fx), fy);
          const alpha = (green >> 16) + (green >> 23); // 0..256
          if (alpha === 256) frame[at] = -16777216 | red | ((green & 0xff) << 8);
          else {
            const under = frame[at];
            frame[at] = -16777216 | between(under, red, alpha) | ((between(under >> 8, green, alpha) & 0xff) << 8);
          }
        }
      }
    }
  }
}

/** Between two words, of which every other byte counts: share of the second, 0..256. */
function between(one, other, share) {
  return ((Math.imul(one & 0xff00ff, 256 - share) + Math.imul(other & 0xff00ff, share)) >>> 8) & 0xff00ff;
}
