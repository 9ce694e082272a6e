// The warped start's map, as sdk/drag/deform.py computes it: where the pixels of what moves come from.
//
// Moving least squares (Schaefer, McPhail and Warren, SIGGRAPH 2006): every point follows the drags, the nearest of
// them most. Points are [x, y] pixels. tests/warp_cases.json holds what the Python gives. No work at import.

const FREE = { rigid: 1, similarity: 2, affine: 3 }; // handles whose targets a transform of the kind always meets
const TOLERANCE = 0.04; // what a transform may miss the targets by: share of their spread,
const LEAST_TOLERANCE = 1.5; // and pixels
const GRID = 8; // the map is computed on every eighth pixel and interpolated between them

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
  // Called for thousands of points at every movement of the pointer: plain numbers, no lists.
  for (let at = 0; at < points.length; at += 2) {
    const x = points[at];
    const y = points[at + 1];
    let total = 0;
    let px = 0;
    let py = 0;
    let qx = 0;
    let qy = 0;
    for (let n = 0; n < count; n++) {
      const left = x - p[2 * n];
      const up = y - p[2 * n + 1];
      const weight = equal ? 1 : 1 / Math.max(left * left + up * up, 1e-8);
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
    const dx = x - px;
    const dy = y - py;
    if (count === 1) {
      points[at] = dx + qx;
      points[at + 1] = dy + qy;
      continue;
    }
    // Sums over the sources, seen from their weighted middle: x and y of a source with x, y, and its goal's u and v.
    let xx = 0;
    let xy = 0;
    let yy = 0;
    let xu = 0;
    let xv = 0;
    let yu = 0;
    let yv = 0;
    for (let n = 0; n < count; n++) {
      const share = weights[n] / total;
      const ax = p[2 * n] - px;
      const ay = p[2 * n + 1] - py;
      const bu = q[2 * n] - qx;
      const bv = q[2 * n + 1] - qy;
      xx += share * ax * ax;
      xy += share * ax * ay;
      yy += share * ay * ay;
      xu += share * ax * bu;
      xv += share * ax * bv;
      yu += share * ay * bu;
      yv += share * ay * bv;
    }
    if (kind === "affine") {
      const more = 1e-9 * (xx + yy + 1e-9);
      const a = xx + more;
      const d = yy + more;
      const by = a * d - xy * xy;
      points[at] = qx + (dx * (d * xu - xy * yu) + dy * (a * yu - xy * xu)) / by;
      points[at + 1] = qy + (dx * (d * xv - xy * yv) + dy * (a * yv - xy * xv)) / by;
      continue;
    }
    const cos = xu + yv;
    const sin = xv - yu;
    const size = kind === "rigid" ? Math.sqrt(cos * cos + sin * sin) : xx + yy;
    // At a source all weight is its own: nothing is left to turn by, and nothing to be turned.
    const turns = size > 1e-12;
    const c = turns ? cos / size : 1;
    const s = turns ? sin / size : 0;
    points[at] = qx + c * dx - s * dy;
    points[at + 1] = qy + s * dx + c * dy;
  }
  return points;
}

/**
 * A map given on every `every`-th pixel of a box, with one node more than it needs on either side.
 * box: [top, left, bottom, right]; nodes: (x, y, ...) of rows of `columns` nodes.
 */
export function nodesOf([top, left, bottom, right], every) {
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
  const met = new Uint8Array(width); // columns in which something is on: elsewhere there is nothing to pass down
  for (let y = 0, n = 0; y < height; y++) {
    for (let x = 0; x < width; x++, n++) {
      squares[n] = on[n] ? 0 : far;
      if (on[n]) met[x] = 1;
    }
  }
  const most = Math.max(width, height);
  const line = new Float64Array(most);
  const below = new Int32Array(most);
  const from = new Float64Array(most + 1);
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
  for (let x = 0; x < width; x++) if (met[x]) pass(x, width, height);
  for (let y = 0; y < height; y++) pass(y * width, 1, width);
  const roots = new Float32Array(squares.length);
  for (let n = 0; n < roots.length; n++) roots[n] = Math.sqrt(squares[n]);
  return roots;
}
