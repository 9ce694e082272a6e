import assert from "node:assert/strict";
import { test } from "node:test";

import * as layers from "../javascript/dragtext_layer.mjs";

const PICTURE = { width: 150, height: 90 };
const empty = layers.emptyLayer(PICTURE);
const count = (layer) => layers.toBytes(layer).reduce((sum, value) => sum + (value > 0), 0);

/** What a brush covers, pixel by pixel. */
function expected(layer, inside) {
  const bytes = new Uint8Array(layer.width * layer.height);
  for (let y = 0; y < layer.height; y++) {
    for (let x = 0; x < layer.width; x++) if (inside(x, y)) bytes[y * layer.width + x] = 255;
  }
  return bytes;
}

test("a round brush covers what is near its way", () => {
  const [a, b, c] = [
    [20.3, 30.1],
    [110, 61.7],
    [140, 10],
  ];
  const near = (x, y, [ax, ay], [bx, by]) => {
    const share = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2);
    const t = Math.min(1, Math.max(0, share));
    return Math.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay)) <= 9.2;
  };
  const painted = layers.stroke(empty, [a, b, c], 9.2);
  assert.deepEqual(
    layers.toBytes(painted),
    expected(empty, (x, y) => near(x, y, a, b) || near(x, y, b, c)),
  );
  assert.equal(count(empty), 0);
});

test("the smallest brush paints a pixel, and lines without gaps", () => {
  assert.equal(count(layers.stroke(empty, [[10.4, 10.4]], 0.5)), 1);
  const thin = layers.toBytes(
    layers.stroke(
      empty,
      [
        [5, 5],
        [30, 80],
      ],
      0.5,
    ),
  );
  for (let y = 5; y <= 80; y++) assert.ok(thin.subarray(y * 150, y * 150 + 150).includes(255), `row ${y}`);
});

test("erasing takes away what was painted, and an empty layer is one", () => {
  const painted = layers.stroke(empty, [[50, 50]], 20);
  const ring = layers.stroke(painted, [[50, 50]], 10, false);
  assert.deepEqual(
    layers.toBytes(ring),
    expected(empty, (x, y) => Math.hypot(x - 50, y - 50) <= 20 && Math.hypot(x - 50, y - 50) > 10),
  );
  assert.ok(layers.isEmpty(layers.stroke(painted, [[50, 50]], 25, false)));
  assert.ok(layers.isEmpty(null));
  assert.ok(!layers.isEmpty(ring));
});

test("tiles that nothing touched are shared", () => {
  const painted = layers.stroke(empty, [[10, 10]], 5);
  const more = layers.stroke(painted, [[140, 80]], 5);
  assert.equal(more.tiles[0], painted.tiles[0]);
  assert.notEqual(more.tiles.at(-1), painted.tiles.at(-1));
  assert.throws(() => (more.tiles[0] = null), TypeError);
});

test("strokes beyond the edges stay inside", () => {
  const all = layers.stroke(
    empty,
    [
      [-50, -50],
      [300, 200],
    ],
    500,
  );
  assert.equal(count(all), 150 * 90);
  assert.deepEqual(layers.bounds(all), [0, 0, 149, 89]);
  assert.ok(layers.isEmpty(layers.stroke(empty, [[-50, -50]], 10)));
});

test("rectangles from any corner", () => {
  const drawn = layers.rectangle(empty, [60, 70, 20.2, 10]);
  assert.deepEqual(
    layers.toBytes(drawn),
    expected(empty, (x, y) => x >= 20.2 && x <= 60 && y >= 10 && y <= 70),
  );
  assert.deepEqual(layers.bounds(drawn), [21, 10, 60, 70]);
  assert.deepEqual(layers.bounds(layers.rectangle(drawn, [0, 0, 149, 39], false)), [21, 40, 60, 70]);
  assert.equal(layers.bounds(empty), null);
});

test("a lasso encloses also what it goes around twice", () => {
  const square = [
    [20, 20],
    [80, 20],
    [80, 70],
    [20, 70],
  ];
  const once = layers.lasso(empty, square);
  assert.deepEqual(layers.toBytes(layers.lasso(empty, [...square, ...square])), layers.toBytes(once));
  assert.deepEqual(layers.toBytes(layers.lasso(empty, [...square].reverse())), layers.toBytes(once));
  assert.ok(count(once) > 59 * 49 && count(once) <= 61 * 51);
  const diamond = layers.toBytes(
    layers.lasso(empty, [
      [75, 5],
      [140, 45],
      [75, 85],
      [10, 45],
    ]),
  );
  assert.deepEqual([diamond[45 * 150 + 75], diamond[6 * 150 + 20]], [255, 0]);
  assert.ok(layers.isEmpty(layers.lasso(empty, [[5, 5]])));
});

test("the opposite, and together", () => {
  const left = layers.rectangle(empty, [0, 0, 74, 89]);
  const right = layers.rectangle(empty, [75, 0, 149, 89]);
  assert.deepEqual(layers.toBytes(layers.invert(left)), layers.toBytes(right));
  assert.equal(count(layers.union(left, right)), 150 * 90);
  assert.equal(layers.union(null, left), left);
  assert.equal(layers.union(left, null), left);
  assert.ok(layers.isEmpty(layers.without(left, left)));
  assert.deepEqual(layers.toBytes(layers.without(layers.union(left, right), right)), layers.toBytes(left));
  assert.equal(layers.without(null, left), null);
  assert.throws(() => layers.union(left, layers.emptyLayer({ width: 20, height: 20 })), RangeError);
});

test("bytes and texts and back", () => {
  const drawn = layers.lasso(layers.stroke(empty, [[100, 50]], 30), [
    [5, 5],
    [60, 9],
    [30, 80],
  ]);
  const again = layers.fromBytes(layers.toBytes(drawn), drawn);
  assert.deepEqual(layers.toBytes(again), layers.toBytes(drawn));
  const text = JSON.stringify(layers.toRuns(drawn));
  assert.ok(text.length < 2000);
  assert.deepEqual(layers.toBytes(layers.fromRuns(JSON.parse(text))), layers.toBytes(drawn));
  assert.throws(() => layers.fromRuns([3, 3, 3, 3, "4"]), RangeError);
  assert.throws(() => layers.fromBytes(new Uint8Array(3), empty), RangeError);
});

test("layers of large pictures are smaller, at the same place", () => {
  const large = layers.emptyLayer({ width: 4001, height: 3001 });
  assert.deepEqual([large.width, large.height], [2048, 1536]);
  const drawn = layers.stroke(large, [[2000, 1500]], 100);
  const [x0, y0, x1, y1] = layers.bounds(drawn);
  for (const [is, wanted] of [
    [x0, 1900],
    [y0, 1400],
    [x1, 2100],
    [y1, 1600],
  ])
    assert.ok(Math.abs(is - wanted) < 4);
  assert.ok(layers.isOn(drawn, [2095, 1500]) && !layers.isOn(drawn, [2105, 1500]));
  assert.ok(!layers.isOn(drawn, [-5, 1500]) && !layers.isOn(drawn, [9000, 1500]));
});
