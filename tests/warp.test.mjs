import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  bentMap,
  deform,
  distances,
  distancesFrom,
  fetchMap,
  NOWHERE,
  placeOf,
  transformKind,
} from "../javascript/dragtext_warp.mjs";

const CASES = JSON.parse(readFileSync(new URL("./warp_cases.json", import.meta.url)));

for (const { name, kind, handles, targets, box, map, points, moved, root } of CASES) {
  test(`as in Python: ${name}`, () => {
    assert.equal(transformKind(handles, targets), kind);
    const gone = deform(Float64Array.from(points.flat()), handles, targets, kind);
    moved
      .flat()
      .forEach((value, n) => assert.ok(Math.abs(gone[n] - value) < 1e-3, `${name} ${n}: ${gone[n]} ${value}`));
    for (const every of root ? [1, 4] : [8]) {
      const away = root && distancesFrom(filled(root), root.width, [0, 0, root.height, root.width]);
      const found = root ? bentMap(box, away, handles, targets, kind, every) : fetchMap(box, handles, targets, kind);
      let far = 0;
      map.forEach(([across, down, x, y]) => {
        const [u, v] = placeOf(found, across, down);
        const missing = x === null;
        if (missing ? u > NOWHERE / 2 : Math.hypot(u - x, v - y) > 1) far++;
      });
      assert.equal(far, 0, `${name}, ${every}: ${far} of ${map.length} are off by more than a pixel`);
    }
  });
}

function filled({ width, height, box: [top, left, bottom, right] }) {
  const bytes = new Uint8Array(width * height);
  for (let y = top; y < bottom; y++) bytes.fill(255, y * width + left, y * width + right);
  return bytes;
}

test("the cases hold all there is", () => {
  assert.deepEqual([...new Set(CASES.map(({ kind }) => kind))].sort(), ["affine", "rigid", "similarity"]);
  assert.ok(CASES.some(({ root }) => root) && CASES.some(({ handles }) => handles.length > 2));
});

test("distances are exact", () => {
  const [width, height] = [23, 17];
  const on = new Uint8Array(width * height);
  const marks = [
    [3, 2],
    [20, 5],
    [11, 16],
  ];
  marks.forEach(([x, y]) => (on[y * width + x] = 255));
  distances(on, width, height).forEach((value, n) => {
    const wanted = Math.min(...marks.map(([x, y]) => Math.hypot(x - (n % width), y - Math.floor(n / width))));
    assert.ok(Math.abs(value - wanted) < 1e-5);
  });
});
