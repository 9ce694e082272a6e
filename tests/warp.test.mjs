import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { bentMap, hanging } from "../javascript/dragtext_bend.mjs";
import { cutOut, land, landing } from "../javascript/dragtext_landing.mjs";
import { deform, distances, fetchMap, placeOf, transformKind } from "../javascript/dragtext_warp.mjs";

const { maps: CASES, several_regions: SEVERAL } = JSON.parse(
  readFileSync(new URL("./warp_cases.json", import.meta.url)),
);

for (const { name, kind, handles, targets, box, map, points, moved, hangs } of CASES) {
  test(`as in Python: ${name}`, () => {
    assert.equal(transformKind(handles, targets), kind);
    const gone = deform(Float64Array.from(points.flat()), handles, targets, kind);
    moved
      .flat()
      .forEach((value, n) => assert.ok(Math.abs(gone[n] - value) < 1e-3, `${name} ${n}: ${gone[n]} ${value}`));
    const body = hangs && hangingOf(hangs);
    for (const every of body ? [1, 2] : [8]) {
      const found = body ? bentMap(box, body, handles, targets, kind, every) : fetchMap(box, handles, targets, kind);
      let far = 0;
      map.forEach(([across, down, x, y]) => {
        const hidden = Boolean(body?.behind[(box[0] + down) * body.width + box[1] + across]);
        assert.equal(hidden, x === null, `${name}: ${across}, ${down}`);
        const [u, v] = placeOf(found, across, down);
        const counts = every === 1 || !body || (!hidden && within(hangs.region, x, y));
        if (!hidden && counts && Math.hypot(u - x, v - y) > 1) far++;
      });
      // Between nodes of the preview's map, a place where a fold begins may be off.
      assert.ok(far <= (body && every > 1 ? 1 : 0), `${name}, ${every}: ${far} of ${map.length} are off by over a pixel`);
    }
  });
}

const within = ([top, left, bottom, right], x, y) => x >= left && x < right && y >= top && y < bottom;

function hangingOf({ width, height, region, root }) {
  const [one, other] = [region, root].map((box) => filled({ width, height, box }));
  return hanging(one, other, width, height);
}

function filled({ width, height, box: [top, left, bottom, right] }) {
  const bytes = new Uint8Array(width * height);
  for (let y = top; y < bottom; y++) bytes.fill(255, y * width + left, y * width + right);
  return bytes;
}

test("a neck is two pixels at least, however near the root the handle is", () => {
  const [width, height] = [100, 80];
  const hangs = hangingOf({ width, height, region: [10, 20, 52, 90], root: [50, 20, 53, 90] });
  const map = bentMap([0, 0, height, width], hangs, [[50, 46]], [[60, 46]], "rigid", 1);
  const way = (y) => 55 - placeOf(map, 55, y)[0];
  // One pixel above the root it begins; half of it comes two above, and all three above.
  assert.ok(Math.abs(way(48) - 5) < 0.5 && Math.abs(way(47) - 10) < 0.5, `${way(48)} ${way(47)}`);
});

test("as in Python: several regions, every one moved by drags of its own", () => {
  const { width, height, moves, kinds, landed } = SEVERAL;
  const position = (n) => 0xff000000 | (Math.floor(n / width) << 8) | (n % width);
  const picture = Int32Array.from({ length: width * height }, (_, n) => position(n));
  const frame = new Int32Array(width * height);
  assert.deepEqual(
    moves.map(({ drags }) =>
      transformKind(
        drags.map(([source]) => source),
        drags.map(([, target]) => target),
      ),
    ),
    kinds,
  );
  for (const { box, drags } of moves) {
    const piece = cutOut(picture, width, height, filled({ width, height, box }), null);
    const place = landing(
      piece,
      width,
      height,
      drags.map(([source]) => source),
      drags.map(([, target]) => target),
    );
    land(frame, width, piece, place);
  }
  assert.ok(landed.length > 300);
  for (const [x, y, sx, sy] of landed) {
    const word = frame[y * width + x];
    const [px, py] = [word & 0xff, (word >> 8) & 0xff];
    assert.ok(Math.abs(px - sx) <= 1 && Math.abs(py - sy) <= 1, `${x}, ${y} is from ${px}, ${py}, not ${sx}, ${sy}`);
  }
});

test("the cases hold all there is", () => {
  assert.deepEqual([...new Set(CASES.map(({ kind }) => kind))].sort(), ["affine", "rigid", "similarity"]);
  assert.ok(CASES.some(({ hangs, map }) => hangs && map.some(([, , x]) => x === null)) && CASES.some(({ handles }) => handles.length > 2));
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
