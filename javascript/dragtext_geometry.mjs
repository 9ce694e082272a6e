// Where the picture lies on the screen, and what lies under the pointer. No work at import.
//
// A view is {scale, x, y}: a pixel of the picture has `scale` pixels of the page, its upper left corner is at (x, y) of
// the canvas. Points of the picture are whole in the middle of a pixel, so (0, 0) lies half a pixel inside.

export const LEAST = 0.02;
export const MOST = 64;
const MARGIN = 12; // pixels of the page around a picture that fits
const LARGEST_FIT = 24; // small pictures are not blown up without end

/** The view that shows the whole picture. size: {width, height} of the canvas in pixels of the page. */
export function fit(picture, size) {
  const room = (side, most) => Math.max(1, side - 2 * Math.min(MARGIN, side / 8)) / most;
  const scale = Math.min(room(size.width, picture.width), room(size.height, picture.height), LARGEST_FIT);
  return centred(picture, size, scale);
}

/** The view in which one pixel of the picture is one of the screen. ratio: devicePixelRatio. */
export const pixels = (picture, size, ratio = 1) => centred(picture, size, 1 / ratio);

function centred(picture, size, scale) {
  return { scale, x: (size.width - picture.width * scale) / 2, y: (size.height - picture.height * scale) / 2 };
}

/** A point of the picture on the canvas. */
export const toScreen = (view, [x, y]) => [view.x + (x + 0.5) * view.scale, view.y + (y + 0.5) * view.scale];

/** A point of the canvas in the picture. */
export const toPicture = (view, [x, y]) => [(x - view.x) / view.scale - 0.5, (y - view.y) / view.scale - 0.5];

/** The view, so many times larger, with what is at a point of the canvas staying there. */
export function zoom(view, factor, [x, y]) {
  const scale = Math.min(Math.max(view.scale * factor, LEAST), MOST);
  const grown = scale / view.scale;
  return { scale, x: x - (x - view.x) * grown, y: y - (y - view.y) * grown };
}

/** The view, moved; a corner of the picture stays in sight. */
export function pan(view, dx, dy, picture, size) {
  const kept = (at, length, side) =>
    Math.min(Math.max(at, Math.min(32, side / 4) - length), side - Math.min(32, side / 4));
  return {
    scale: view.scale,
    x: kept(view.x + dx, picture.width * view.scale, size.width),
    y: kept(view.y + dy, picture.height * view.scale, size.height),
  };
}

/** The view after the canvas has another size: what was in the middle is there still. */
export function resized(view, before, after) {
  return { ...view, x: view.x + (after.width - before.width) / 2, y: view.y + (after.height - before.height) / 2 };
}

/** Two fingers, before and after: what they touch stays under them. */
export function pinch(view, before, after) {
  const middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const apart = ([a, b]) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
  const [from, to] = [middle(before), middle(after)];
  const zoomed = zoom(view, apart(after) / apart(before), from);
  return { ...zoomed, x: zoomed.x + to[0] - from[0], y: zoomed.y + to[1] - from[1] };
}

/**
 * What of the drags lies at a point of the canvas: {index, part: "source" | "target" | "shaft"}, or null.
 * Ends come before shafts, the nearest first, and of equal ones the last, which is drawn on top. reach: pixels of the
 * page.
 */
export function hit(drags, view, at, reach = 12) {
  let best = null;
  const consider = (index, part, distance, handicap) => {
    if (distance > reach) return;
    const value = distance + handicap;
    if (!best || value <= best.value) best = { index, part, value };
  };
  drags.forEach(({ source, target }, index) => {
    const [from, to] = [toScreen(view, source), toScreen(view, target)];
    // of a pin, the target is asked first
    consider(index, "source", Math.hypot(at[0] - from[0], at[1] - from[1]), 0.01);
    consider(index, "target", Math.hypot(at[0] - to[0], at[1] - to[1]), 0);
    consider(index, "shaft", 2 * toSegment(at, from, to), 2 * reach);
  });
  return best && { index: best.index, part: best.part };
}

/** The distance of a point from a segment. */
function toSegment([x, y], [ax, ay], [bx, by]) {
  const square = (bx - ax) ** 2 + (by - ay) ** 2;
  const share = square ? Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / square)) : 0;
  return Math.hypot(x - ax - share * (bx - ax), y - ay - share * (by - ay));
}
