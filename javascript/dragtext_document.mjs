// What an edit is made of: picture, drags, what moves, what may change. Snapshots, never changed. No work at import.

import { fromRuns, isEmpty, toRuns } from "./dragtext_layer.mjs";

export const MOST_DRAGS = 100;
const SAME = 1e-6; // pixels that are no way at all

/** The document of a picture {id, width, height, name}, or of none, with nothing done. */
export function newDocument(picture = null, more = {}) {
  return frozen({ picture, drags: [], region: null, mask: null, maskAuto: true, ...more });
}

function frozen(doc) {
  const drags = doc.drags.map(({ source, target }) =>
    Object.freeze({ source: Object.freeze([...source]), target: Object.freeze([...target]) }),
  );
  return Object.freeze({
    ...doc,
    picture: Object.isFrozen(doc.picture) ? doc.picture : Object.freeze({ ...doc.picture }),
    drags: Object.freeze(drags),
  });
}

/** A point inside the picture, to a hundredth of a pixel. */
export function inside(picture, [x, y]) {
  const kept = (value, side) => Math.round(Math.min(Math.max(value, 0), side - 1) * 100) / 100;
  return [kept(x, picture.width), kept(y, picture.height)];
}

/** Whether a drag holds its point instead of moving it. */
export const isPin = ({ source, target }) => Math.hypot(target[0] - source[0], target[1] - source[1]) < SAME;

/** Whether anything is to move. */
export const hasWay = (doc) => doc.drags.some((drag) => !isPin(drag));

/** With another drag at the end. */
export function withDrag(doc, source, target = source) {
  const drag = { source: inside(doc.picture, source), target: inside(doc.picture, target) };
  return frozen({ ...doc, drags: [...doc.drags, drag] });
}

/** With one end ("source" or "target") of a drag elsewhere; a pin stays one. */
export function withEnd(doc, index, end, point) {
  const place = inside(doc.picture, point);
  return changed(doc, index, (drag) => (isPin(drag) ? { source: place, target: place } : { ...drag, [end]: place }));
}

/** With a whole drag moved, as far as the picture goes. */
export function shifted(doc, index, dx, dy) {
  const { source, target } = doc.drags[index];
  const room = (by, values, side) => Math.max(-Math.min(...values), Math.min(by, side - 1 - Math.max(...values)));
  const x = room(dx, [source[0], target[0]], doc.picture.width);
  const y = room(dy, [source[1], target[1]], doc.picture.height);
  const moved = (point) => inside(doc.picture, [point[0] + x, point[1] + y]);
  return changed(doc, index, () => ({ source: moved(source), target: moved(target) }));
}

/** With a drag made a pin at its handle. */
export const pinned = (doc, index) => changed(doc, index, ({ source }) => ({ source, target: source }));

/** Without a drag. */
export const withoutDrag = (doc, index) => frozen({ ...doc, drags: doc.drags.filter((_, other) => other !== index) });

function changed(doc, index, change) {
  return frozen({ ...doc, drags: doc.drags.map((drag, other) => (other === index ? change(drag) : drag)) });
}

/** With another layer "region" or "mask"; an empty one is none. Whoever gives a mask takes it from what moves. */
export function withLayer(doc, name, layer) {
  const kept = isEmpty(layer) ? null : layer;
  if (name === "mask") return frozen({ ...doc, mask: kept, maskAuto: false });
  return frozen({ ...doc, region: kept, mask: doc.maskAuto && !kept ? null : doc.mask });
}

/** With a mask that follows from what moves; null where it is not known yet. */
export const withFollowingMask = (doc, mask) => frozen({ ...doc, mask: isEmpty(mask) ? null : mask, maskAuto: true });

/** As a text, for sessionStorage. */
export function serialise(doc) {
  const layer = (value) => value && toRuns(value);
  return JSON.stringify({ version: 1, ...doc, region: layer(doc.region), mask: layer(doc.mask) });
}

/** The document of such a text, or null where it is none, or a damaged one. */
export function deserialise(text) {
  try {
    const { version, picture, drags, region, mask, maskAuto } = JSON.parse(text);
    if (version !== 1 || !drags.every(({ source, target }) => [...source, ...target].every(Number.isFinite)))
      return null;
    const layer = (value) => value && fromRuns(value);
    return newDocument(picture, { drags, region: layer(region), mask: layer(mask), maskAuto: Boolean(maskAuto) });
  } catch {
    return null;
  }
}
