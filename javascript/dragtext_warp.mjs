// The warped start's map, as sdk/drag/deform.py and bend.py compute it: where the pixels of what moves come from.
//
// Moving least squares (Schaefer, McPhail and Warren, SIGGRAPH 2006): every point follows the drags, the nearest of them
// most. Points are [x, y] pixels. tests/warp_cases.json holds what the Python gives. No work at import.

const FREE = { rigid: 1, similarity: 2, affine: 3 }; // handles whose targets a transform of the kind always meets
const TOLERANCE = 0.04; // what a transform may miss the targets by: share of their spread,
const LEAST_TOLERANCE = 1.5; // and pixels
const ROUNDS = 30;
const STILL = 0.02; // pixels that the search for where a pixel comes from ends at
export const GRID = 8; // the map is computed on every eighth pixel and interpolated between them
export const NOWHERE = -1e7; // where nothing lands, in a bent map

/** What the drags ask for: "rigid", or a "similarity" or "affine" transform where all of them agree on one. */
export function transformKind(handles, targets) {
  return possible(handles).find((kind) => misses(handles, targets, kind) <= 1) ?? "rigid";
}

function possible(handles) {
  if (handles.length < 2) return ["rigid"];
  const all = Object.keys(FREE);
  return handles.length > 2 && spansPlane(handles) ? all : all.slice(0, 2);
}

function misses(handles, targets, kind) {
  const points = Float64Array.from(handles.flat());
  deform(points, handles, targets, kind, true);
  const missed = targets.map(([x, y], n) => Math.hypot(points[2 * n] - x, points[2 * n + 1] - y));
  return Math.max(...missed) / same(targets);
}

/** Pixels that make no difference between points so far apart. */
function same(targets) {
  const [x, y] = mean(targets);
  return Math.max(LEAST_TOLERANCE, TOLERANCE * Math.max(...targets.map((at) => Math.hypot(at[0] - x, at[1] - y))));
}

const mean = (points) => [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);

/** Whether points do not lie, roughly, on a line, along which alone a stretch could be told. */
function spansPlane(points) {
  const [mx, my] = mean(points);
  let [xx, xy, yy] = [0, 0, 0];
  for (const [x, y] of points) {
    xx += (x - mx) ** 2;
    xy += (x - mx) * (y - my);
    yy += (y - my) ** 2;
  }
  const [half, root] = [(xx + yy) / 2, Math.hypot((xx - yy) / 2, xy)];
  return half - root > 0.01 * (half + root);
}

/**
 * Move points (x, y, x, y, ...) to where moving least squares takes them, given that sources go to goals.
 * equal: all sources weigh alike, as seen from far away, which makes it a plain fit.
 */
export function deform(points, sources, goals, kind, equal = false) {
  const count = sources.length;
  const weights = new Float64Array(count);
  const [p, q] = [Float64Array.from(sources.flat()), Float64Array.from(goals.flat())];
  for (let at = 0; at < points.length; at += 2) {
    const [x, y] = [points[at], points[at + 1]];
    let [total, px, py, qx, qy] = [0, 0, 0, 0, 0];
    for (let n = 0; n < count; n++) {
      const square = (x - p[2 * n]) ** 2 + (y - p[2 * n + 1]) ** 2;
      const weight = equal ? 1 : 1 / Math.max(square, 1e-8);
      weights[n] = weight;
      total += weight;
      px += weight * p[2 * n];
      py += weight * p[2 * n + 1];
      qx += weight * q[2 * n];
      qy += weight * q[2 * n + 1];
    }
    px /= total;
    py /= total;
    qx /= total;
    qy /= total;
    if (count === 1) {
      points[at] = x + qx - px;
      points[at + 1] = y + qy - py;
      continue;
    }
    // Sums over the sources, seen from their weighted middle: of squares, of what turns, of what is crossed.
    let [xx, xy, yy, xu, xv, yu, yv] = [0, 0, 0, 0, 0, 0, 0];
    for (let n = 0; n < count; n++) {
      const share = weights[n] / total;
      const [ax, ay, bx, by] = [p[2 * n] - px, p[2 * n + 1] - py, q[2 * n] - qx, q[2 * n + 1] - qy];
      xx += share * ax * ax;
      xy += share * ax * ay;
      yy += share * ay * ay;
      xu += share * ax * bx;
      xv += share * ax * by;
      yu += share * ay * bx;
      yv += share * ay * by;
    }
    const [dx, dy] = [x - px, y - py];
    if (kind === "affine") {
      const more = 1e-9 * (xx + yy + 1e-9);
      const [a, d] = [xx + more, yy + more];
      const by = a * d - xy * xy;
      points[at] = qx + (dx * (d * xu - xy * yu) + dy * (a * yu - xy * xu)) / by;
      points[at + 1] = qy + (dx * (d * xv - xy * yv) + dy * (a * yv - xy * xv)) / by;
      continue;
    }
    const [cos, sin] = [xu + yv, xv - yu];
    const size = kind === "rigid" ? Math.hypot(cos, sin) : xx + yy;
    // At a source all weight is its own: nothing is left to turn by, and nothing to be turned.
    const [c, s] = size > 1e-12 ? [cos / size, sin / size] : [1, 0];
    points[at] = qx + c * dx - s * dy;
    points[at + 1] = qy + s * dx + c * dy;
  }
  return points;
}

/**
 * A map given on every `every`-th pixel of a box, with one node more than it needs on either side.
 * box: [top, left, bottom, right]; nodes: (x, y, ...) of rows of `columns` nodes.
 */
function nodesOf([top, left, bottom, right], every) {
  const [rows, columns] = [Math.ceil((bottom - top) / every) + 1, Math.ceil((right - left) / every) + 1];
  const nodes = new Float64Array(2 * rows * columns);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      nodes[at++] = left + column * every;
      nodes[at++] = top + row * every;
    }
  }
  return { rows, columns, every, nodes };
}

/** For the nodes of a box of the warped picture, where what lands there comes from. */
export function fetchMap(box, handles, targets, kind, every = GRID) {
  const map = nodesOf(box, every);
  deform(map.nodes, targets, handles, kind);
  return map;
}

/**
 * The same where the root of what moves stays: between it and the nearest handle the displacement grows from nothing to
 * all of it. away: Float32Array, every pixel's distance from the root, of a picture `width` pixels wide. Where nothing
 * lands the map is NOWHERE.
 */
export function bentMap(box, away, width, handles, targets, kind, every = 4) {
  const height = away.length / width;
  const kept = (value, side) => Math.min(Math.max(Math.round(value), 0), side - 1);
  const near = handles.map(([x, y]) => away[kept(y, height) * width + kept(x, width)]);
  const reach = Math.max(2, Math.min(...near));
  const here = nodesOf(box, every);
  const ways = fetchMap(box, targets, handles, kind, every).nodes; // changed over: where every pixel goes
  let most = 0;
  for (let at = 0; at < ways.length; at += 2) {
    const [x, y] = [here.nodes[at], here.nodes[at + 1]];
    const far = away[kept(y, height) * width + kept(x, width)];
    const share = Math.min(1, far / reach);
    ways[at] = (ways[at] - x) * share;
    ways[at + 1] = (ways[at + 1] - y) * share;
    most = Math.max(most, Math.abs(ways[at]), Math.abs(ways[at + 1]));
  }
  // Which pixel lands where is the inverse, found step by step: each as long as the map may at most stretch.
  const step = 1 / (1 + most / reach);
  const { rows, columns, nodes } = here;
  const found = nodes.slice();
  const [top, left, bottom, right] = box;
  for (let at = 0; at < nodes.length; at += 2) {
    const [tx, ty] = [nodes[at], nodes[at + 1]];
    let [x, y, mx, my] = [tx, ty, 0, 0];
    for (let round = 0; ; round++) {
      const across = Math.min(Math.max(x - left, 0), right - left - 1) / every;
      const down = Math.min(Math.max(y - top, 0), bottom - top - 1) / every;
      const [column, row] = [Math.min(Math.floor(across), columns - 2), Math.min(Math.floor(down), rows - 2)];
      const [fx, fy] = [across - column, down - row];
      const one = 2 * (row * columns + column);
      const two = one + 2 * columns;
      const wide = (axis) =>
        (1 - fy) * ((1 - fx) * ways[one + axis] + fx * ways[one + 2 + axis]) +
        fy * ((1 - fx) * ways[two + axis] + fx * ways[two + 2 + axis]);
      mx = x + wide(0) - tx;
      my = y + wide(1) - ty;
      if (round === ROUNDS || (Math.abs(mx) < STILL && Math.abs(my) < STILL)) break;
      x -= step * mx;
      y -= step * my;
    }
    const lands = Math.abs(mx) < 1 && Math.abs(my) < 1;
    found[at] = lands ? x : NOWHERE;
    found[at + 1] = lands ? y : NOWHERE;
  }
  return { ...here, nodes: found };
}

/** Where a map says that a pixel (from the box's corner) comes from: [x, y]. Slow; for single pixels. */
export function placeOf({ columns, every, nodes }, across, down) {
  const [column, row] = [Math.floor(across / every), Math.floor(down / every)];
  const [fx, fy] = [across / every - column, down / every - row];
  return [0, 1].map((axis) => {
    const value = (r, c) => nodes[2 * (r * columns + c) + axis];
    const above = (1 - fx) * value(row, column) + (fx ? fx * value(row, column + 1) : 0);
    const below = fy ? (1 - fx) * value(row + 1, column) + (fx ? fx * value(row + 1, column + 1) : 0) : 0;
    return (1 - fy) * above + fy * below;
  });
}

/** Every pixel's distance from the nearest that is on: exactly (Felzenszwalb and Huttenlocher, 2012). on: bytes. */
export function distances(on, width, height) {
  const far = 1e12;
  const squares = new Float64Array(width * height);
  for (let n = 0; n < squares.length; n++) squares[n] = on[n] ? 0 : far;
  const most = Math.max(width, height);
  const [line, below, from] = [new Float64Array(most), new Int32Array(most), new Float64Array(most + 1)];
  const pass = (start, step, count) => {
    for (let n = 0; n < count; n++) line[n] = squares[start + n * step];
    let last = 0;
    below[0] = 0;
    from[0] = -Infinity;
    from[1] = Infinity;
    for (let n = 1; n < count; n++) {
      let meet;
      do {
        const other = below[last];
        meet = (line[n] + n * n - line[other] - other * other) / (2 * (n - other));
      } while (meet <= from[last] && --last >= 0);
      below[++last] = n;
      from[last] = meet;
      from[last + 1] = Infinity;
    }
    for (let n = 0, k = 0; n < count; n++) {
      while (from[k + 1] < n) k++;
      squares[start + n * step] = (n - below[k]) ** 2 + line[below[k]];
    }
  };
  for (let x = 0; x < width; x++) pass(x, width, height);
  for (let y = 0; y < height; y++) pass(y * width, 1, width);
  return Float32Array.from(squares, Math.sqrt);
}
