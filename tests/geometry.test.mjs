import assert from "node:assert/strict";
import { test } from "node:test";

import * as geometry from "../javascript/dragtext_geometry.mjs";

const SIZE = { width: 800, height: 600 };
const close = (is, wanted, message) =>
  is.forEach((v, n) => assert.ok(Math.abs(v - wanted[n]) < 1e-6, message ?? `${is} ${wanted}`));

test("a picture of any shape fits, in the middle", () => {
  for (const [width, height] of [
    [512, 512],
    [4000, 3000],
    [701, 1025],
    [33, 4097],
    [8, 8],
    [1, 1],
  ]) {
    const view = geometry.fit({ width, height }, SIZE);
    const [x0, y0] = geometry.toScreen(view, [-0.5, -0.5]);
    const [x1, y1] = geometry.toScreen(view, [width - 0.5, height - 0.5]);
    assert.ok(x0 >= 0 && y0 >= 0 && x1 <= SIZE.width && y1 <= SIZE.height, `${width}x${height}`);
    close([x0 + x1, y0 + y1], [SIZE.width, SIZE.height]);
    assert.ok(x1 - x0 > 700 || y1 - y0 > 500 || view.scale === 24, `${width}x${height}`);
  }
});

test("there and back", () => {
  const view = { scale: 1.7, x: 31, y: -12 };
  close(geometry.toPicture(view, geometry.toScreen(view, [123.4, 56.7])), [123.4, 56.7]);
  close(geometry.toScreen({ scale: 2, x: 0, y: 0 }, [0, 0]), [1, 1], "the middle of the first pixel");
});

test("one pixel of the picture is one of the screen", () => {
  assert.equal(geometry.pixels({ width: 100, height: 50 }, SIZE, 2).scale, 0.5);
});

test("zooming keeps what is under the pointer, also at the ends", () => {
  let view = geometry.fit({ width: 512, height: 512 }, SIZE);
  const at = [222, 333];
  const under = geometry.toPicture(view, at);
  for (const factor of [1.25, 8, 1e9, 0.3, 1e-9, 5]) {
    view = geometry.zoom(view, factor, at);
    close(geometry.toPicture(view, at), under);
    assert.ok(view.scale >= geometry.LEAST && view.scale <= geometry.MOST);
  }
});

test("a picture cannot be lost by moving the view", () => {
  const picture = { width: 300, height: 200 };
  for (const [dx, dy] of [
    [1e5, 1e5],
    [-1e5, 1e5],
    [-1e5, -1e5],
  ]) {
    const view = geometry.pan({ scale: 1, x: 0, y: 0 }, dx, dy, picture, SIZE);
    assert.ok(view.x < SIZE.width && view.y < SIZE.height && view.x + 300 > 0 && view.y + 200 > 0);
  }
  close(Object.values(geometry.pan({ scale: 1, x: 5, y: 5 }, 10, -20, picture, SIZE)), [1, 15, -15]);
});

test("a canvas of another size shows the same in its middle", () => {
  const view = { scale: 3, x: -100, y: 40 };
  const middle = geometry.toPicture(view, [400, 300]);
  close(geometry.toPicture(geometry.resized(view, SIZE, { width: 500, height: 700 }), [250, 350]), middle);
});

test("two fingers keep what they touch", () => {
  const view = { scale: 1, x: 10, y: 20 };
  const before = [
    [100, 100],
    [200, 100],
  ];
  const after = [
    [150, 180],
    [350, 180],
  ];
  const moved = geometry.pinch(view, before, after);
  assert.equal(moved.scale, 2);
  before.forEach((point, n) => close(geometry.toScreen(moved, geometry.toPicture(view, point)), after[n]));
});

test("ends come before shafts, the top before the bottom", () => {
  const view = { scale: 2, x: 0, y: 0 };
  const drags = [
    { source: [50, 50], target: [150, 50] },
    { source: [150, 50], target: [150, 120] },
    { source: [20, 20], target: [20, 20] },
  ];
  const at = (x, y) => geometry.hit(drags, view, geometry.toScreen(view, [x, y]));
  assert.deepEqual(at(51, 50), { index: 0, part: "source" });
  assert.deepEqual(at(150, 51), { index: 0, part: "target" });
  assert.deepEqual(at(150, 119), { index: 1, part: "target" });
  assert.deepEqual(at(100, 52.9), { index: 0, part: "shaft" });
  assert.equal(at(100, 53.1), null); // half as far from a shaft as from an end
  assert.deepEqual(at(50, 55.9), { index: 0, part: "source" });
  assert.deepEqual(at(20, 20), { index: 2, part: "target" });
  assert.equal(at(100, 90), null);
  assert.equal(geometry.hit([], view, [0, 0]), null);
});
