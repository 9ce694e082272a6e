// The warped start as a picture, as sdk/drag/start.py makes it, quickly enough for every movement of the pointer: pieces of
// the picture drawn where they land, over a picture with what moves taken out. No work at import.
//
// Pictures are Uint32Array of RGBA words, row by row; points are [x, y] pixels of them.

import { bentMap, deform, distances, fetchMap, transformKind } from "./dragtext_warp.mjs";

export const CARRIED = 2; // what is carried reaches so many pixels beyond the region: outlines are half background
export const CLEARED = 5; // and so many of its body are put back that were taken out with it
const ROOM = 16; // pixels around where a region's outline goes
const OUTLINE = 300; // rows and columns whose ends are asked where they go

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
  const away = distances(part, wide, high);
  const share = Float32Array.from(away, (far) => (far <= CARRIED * scale + 0.01 ? 255 : 0));
  const outline = outlineOf(share, wide, high).map((value, n) => value + (n % 2 ? top : left));
  soften(share, wide, high);
  const pixels = new Uint32Array(wide * high);
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      const alpha = Math.round(share[y * wide + x]);
      pixels[y * wide + x] = ((picture[(top + y) * width + left + x] & 0xffffff) | (alpha << 24)) >>> 0;
    }
  }
  const bends = root && root.includes(255) ? distances(root, width, height) : null;
  return { pixels, left, top, wide, high, outline, away: bends };
}

/** Points (x, y, ...) of the outermost pixels that are on: in some rows the first and the last, in some columns, too. */
function outlineOf(on, width, height) {
  const points = [];
  const ends = (start, step, count, point) => {
    let [first, last] = [-1, -1];
    for (let n = 0; n < count; n++) {
      if (!on[start + n * step]) continue;
      if (first < 0) first = n;
      last = n;
    }
    if (first >= 0) points.push(...point(first), ...point(last));
  };
  const skip = Math.ceil((width + height) / OUTLINE);
  for (let y = 0; y < height; y += skip) ends(y * width, 1, width, (x) => [x, y]);
  for (let x = 0; x < width; x += skip) ends(x, width, height, (y) => [x, y]);
  return Float64Array.from(points);
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

/** Put back into a background (changed) what was taken out of the body that a region hangs on. */
export function putBack(background, picture, width, height, region, root, scale = 1) {
  const away = distances(root, width, height);
  const reach = Math.max(1, CLEARED * scale);
  for (let n = 0; n < away.length; n++) if (away[n] <= reach && !region[n]) background[n] = picture[n];
}

/** The box [top, left, bottom, right] where a piece lands, inside the picture, and its map; null where it lands nowhere. */
export function landing(piece, width, height, handles, targets, kind = transformKind(handles, targets)) {
  const gone = deform(piece.outline.slice(), handles, targets, kind);
  const all = piece.away ? [...gone, ...piece.outline] : gone;
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
  const map = piece.away
    ? bentMap(box, piece.away, width, handles, targets, kind)
    : fetchMap(box, handles, targets, kind);
  return { box, map };
}

/** Draw a piece into a picture (changed) where it lands. */
export function land(frame, width, piece, { box, map }) {
  const { pixels, wide, high, left: offX, top: offY } = piece;
  const { columns, rows, every, nodes } = map;
  const [top, left, bottom, right] = box;
  for (let row = 0; row + 1 < rows; row++) {
    const down = Math.min(every, bottom - top - row * every);
    for (let column = 0; column + 1 < columns; column++) {
      const a = 2 * (row * columns + column);
      const c = a + 2 * columns;
      const [ax, ay, bx, by] = [nodes[a] - offX, nodes[a + 1] - offY, nodes[a + 2] - offX, nodes[a + 3] - offY];
      const [cx, cy, dx, dy] = [nodes[c] - offX, nodes[c + 1] - offY, nodes[c + 2] - offX, nodes[c + 3] - offY];
      // All pixels of a cell come from between its corners.
      if (Math.max(ax, bx, cx, dx) < 0 || Math.min(ax, bx, cx, dx) > wide - 1) continue;
      if (Math.max(ay, by, cy, dy) < 0 || Math.min(ay, by, cy, dy) > high - 1) continue;
      if (Math.min(ax, bx, cx, dx) < -1e6) continue; // a corner where nothing lands
      const across = Math.min(every, right - left - column * every);
      for (let v = 0; v < down; v++) {
        const f = v / every;
        let x = ax + f * (cx - ax);
        let y = ay + f * (cy - ay);
        const stepX = (bx + f * (dx - bx) - x) / every;
        const stepY = (by + f * (dy - by) - y) / every;
        let at = (top + row * every + v) * width + left + column * every;
        for (let u = 0; u < across; u++, at++, x += stepX, y += stepY) {
          if (!(x >= 0 && y >= 0 && x < wide - 1 && y < high - 1)) continue; // the rim of a piece is clear
          const [ix, iy] = [x | 0, y | 0];
          const from = iy * wide + ix;
          const [p, q, r, s] = [pixels[from], pixels[from + 1], pixels[from + wide], pixels[from + wide + 1]];
          if (((p | q | r | s) & 0xff000000) === 0) continue;
          const [wx, wy] = [((x - ix) * 256) | 0, ((y - iy) * 256) | 0];
          // Two channels of eight bits at once, between four pixels.
          const rb = between(between(p & 0xff00ff, q & 0xff00ff, wx), between(r & 0xff00ff, s & 0xff00ff, wx), wy);
          const ga = between(
            between((p >>> 8) & 0xff00ff, (q >>> 8) & 0xff00ff, wx),
            between((r >>> 8) & 0xff00ff, (s >>> 8) & 0xff00ff, wx),
            wy,
          );
          let alpha = ga >>> 16;
          if (alpha === 0) continue;
          alpha += alpha >> 7; // 0..256
          const under = frame[at];
          const red = between(under & 0xff00ff, rb, alpha);
          const green = between((under >>> 8) & 0xff, ga & 0xff, alpha);
          frame[at] = (0xff000000 | red | (green << 8)) >>> 0;
        }
      }
    }
  }
}

/** Between two words with a byte in every other place: share of the second, 0..256. */
function between(one, other, share) {
  return ((Math.imul(one, 256 - share) + Math.imul(other, share)) >>> 8) & 0xff00ff;
}
