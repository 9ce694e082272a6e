// Parts that hang on a body, as sdk/drag/bend.py bends them: from their root on a short neck, and beyond it as one.
//
// tests/warp_cases.json holds what the Python gives. No work at import.

import { distances, fetchMap, nodesOf } from "./dragtext_warp.mjs";

const NECK = 0.25; // share of the way from the root to the handle that bends
const LEAST_NECK = 2; // and the true picture's pixels that it has at least
const OUTLINE = 1; // pixels beyond the root where it begins
const SAME = 0.01; // pixels that two equal distances may differ by
const LITTLE = 3; // pixels: where neighbours differ by less, what is between them is their mean
const [SCANNED, HALVED] = [16, 5]; // steps in which the share of the way is looked for

/**
 * What a map bends by: for every pixel how far it is from the root, negative on the body, and 1 where the body
 * hides what lands. region, root: bytes of a picture; scale: its pixels per pixel of
 * the true picture.
 */
export function hanging(region, root, width, height, scale = 1) {
  const away = distances(root, width, height);
  const apart = distances(region, width, height);
  const hung = distances(
    region.map((value, n) => value & root[n]),
    width,
    height,
  );
  const behind = new Uint8Array(away.length);
  for (let n = 0; n < behind.length; n++) {
    // The body's side of the root: of all the region's pixels one of the root is the nearest.
    if (region[n] || hung[n] > apart[n] + SAME) continue;
    behind[n] = 1;
    away[n] = -away[n];
  }
  return { away, behind, width, height, scale };
}

/** For the nodes of a box, where what lands there comes from, where a part hangs on a body. hangs: hanging(...). */
export function bentMap(box, hangs, handles, targets, kind, every = 2) {
  const { away, width, height, scale } = hangs;
  const distance = ([x, y]) => Math.abs(away[inside(y, height) * width + inside(x, width)]);
  const reach = Math.max(LEAST_NECK * scale, NECK * Math.min(...handles.map(distance)));
  const begin = OUTLINE * scale;
  const map = fetchMap(box, handles, targets, kind, every);
  const here = nodesOf(box, every).nodes;
  const { nodes } = map;
  /** Whether what comes to a node by a share of its way has a level that makes it go so far. */
  const fits = (node, share) => {
    const x = Math.min(Math.max(here[node] + share * (nodes[node] - here[node]), 0), width - 1);
    const y = Math.min(Math.max(here[node + 1] + share * (nodes[node + 1] - here[node + 1]), 0), height - 1);
    const column = Math.min(x | 0, Math.max(width - 2, 0));
    const row = Math.min(y | 0, Math.max(height - 2, 0));
    const at = row * width + column;
    const right = width > 1 ? 1 : 0;
    const down = height > 1 ? width : 0;
    const fx = x - column;
    const above = away[at] + fx * (away[at + right] - away[at]);
    const below = away[at + down] + fx * (away[at + down + right] - away[at + down]);
    return above + (y - row) * (below - above) - begin >= share * reach;
  };
  /** The largest share that fits: looked for from all of the way downwards, and then halved into place. */
  const search = (node) => {
    let step = SCANNED;
    while (step >= 0 && !fits(node, step / SCANNED)) step--;
    if (step < 0 || step === SCANNED) return Math.max(step, 0) / SCANNED;
    let found = step / SCANNED;
    let above = (step + 1) / SCANNED;
    for (let round = 0; round < HALVED; round++) {
      const middle = (found + above) / 2;
      if (fits(node, middle)) found = middle;
      else above = middle;
    }
    return found;
  };
  // Every other node is asked, and those between them only where they may differ by more than a little.
  const { rows, columns } = map;
  const shares = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row += 2)
    for (let column = 0; column < columns; column += 2)
      shares[row * columns + column] = search(2 * (row * columns + column));
  for (let row = 0, at = 0; row < rows; row++) {
    const down = row % 2 ? (row + 1 < rows ? columns : -columns) : 0;
    for (let column = 0; column < columns; column++, at++) {
      const right = column % 2 ? (column + 1 < columns ? 1 : -1) : 0;
      if (!down && !right) continue;
      const start = at - (row % 2) * columns - (column % 2);
      const one = shares[start];
      const two = shares[right ? at - (row % 2) * columns + right : start];
      const three = shares[down ? at - (column % 2) + down : start];
      const four = shares[at + down + right];
      const spread = Math.max(one, two, three, four) - Math.min(one, two, three, four);
      const way = Math.abs(nodes[2 * at] - here[2 * at]) + Math.abs(nodes[2 * at + 1] - here[2 * at + 1]);
      shares[at] = spread * way < LITTLE ? (one + two + three + four) / 4 : search(2 * at);
    }
  }
  for (let node = 0; node < nodes.length; node++) {
    nodes[node] = here[node] + shares[node >> 1] * (nodes[node] - here[node]);
  }
  return map;
}

const inside = (value, count) => Math.min(Math.max(Math.round(value), 0), count - 1);
