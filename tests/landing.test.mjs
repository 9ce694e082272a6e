import assert from "node:assert/strict";
import { test } from "node:test";

import { cutOut, joined, land, landing } from "../javascript/dragtext_landing.mjs";

const [WIDTH, HEIGHT] = [120, 90];
const grey = (value) => 0xff000000 | (value << 16) | (value << 8) | value | 0;

/** A picture in which every pixel is another, and a square of it. */
function scene() {
  const picture = Int32Array.from({ length: WIDTH * HEIGHT }, (_, n) => grey((n % WIDTH) + Math.floor(n / WIDTH)));
  const region = new Uint8Array(WIDTH * HEIGHT);
  for (let y = 20; y < 50; y++) region.fill(255, y * WIDTH + 30, y * WIDTH + 60);
  return { picture, region };
}

const at = (frame, x, y, width = WIDTH) => frame[y * width + x] & 0xff;

test("a piece lands whole, pixel for pixel, and nothing else is touched", () => {
  const { picture, region } = scene();
  const piece = cutOut(picture, WIDTH, HEIGHT, region, null);
  const frame = new Int32Array(WIDTH * HEIGHT).fill(grey(255));
  const place = landing(piece, WIDTH, HEIGHT, [[40, 30]], [[65, 45]]);
  land(frame, WIDTH, piece, place);
  for (let y = 22; y < 48; y++) {
    for (let x = 32; x < 58; x++) assert.ok(Math.abs(at(frame, x + 25, y + 15) - (x + y)) <= 1, `${x} ${y}`);
  }
  assert.equal(frame[10 * WIDTH + 10], grey(255));
  assert.equal(at(frame, 40, 25), 255);
  assert.equal(at(frame, 88, 66) === 255, false); // outlines are carried along
  assert.equal(at(frame, 92, 70), 255);
});

test("between pixels it is mixed", () => {
  const { picture, region } = scene();
  const piece = cutOut(picture, WIDTH, HEIGHT, region, null);
  const frame = new Int32Array(WIDTH * HEIGHT);
  land(frame, WIDTH, piece, landing(piece, WIDTH, HEIGHT, [[40, 30]], [[40.5, 30]]));
  assert.ok(Math.abs(at(frame, 45, 35) - 79.5) <= 1);
});

test("a turn brings every pixel where it belongs", () => {
  const { picture, region } = scene();
  const piece = cutOut(picture, WIDTH, HEIGHT, region, null);
  const frame = new Int32Array(WIDTH * HEIGHT);
  // A quarter about (45, 35).
  const place = landing(
    piece,
    WIDTH,
    HEIGHT,
    [
      [45, 35],
      [55, 35],
    ],
    [
      [45, 35],
      [45, 45],
    ],
  );
  land(frame, WIDTH, piece, place);
  for (const [x, y] of [
    [40, 30],
    [52, 28],
    [35, 44],
  ]) {
    assert.ok(Math.abs(at(frame, 45 - (y - 35), 35 + (x - 45)) - (x + y)) <= 2, `${x} ${y}`);
  }
});

test("what leaves the picture is cut off, and may be gone", () => {
  const { picture, region } = scene();
  const piece = cutOut(picture, WIDTH, HEIGHT, region, null);
  const frame = new Int32Array(WIDTH * HEIGHT);
  const { box } = landing(piece, WIDTH, HEIGHT, [[40, 30]], [[0, 0]]);
  assert.deepEqual(box.slice(0, 2), [0, 0]);
  land(frame, WIDTH, piece, landing(piece, WIDTH, HEIGHT, [[40, 30]], [[0, 0]]));
  assert.ok(Math.abs(at(frame, 5, 5) - 80) <= 1);
  assert.equal(landing(piece, WIDTH, HEIGHT, [[40, 30]], [[-400, 30]]), null);
  assert.equal(cutOut(picture, WIDTH, HEIGHT, new Uint8Array(WIDTH * HEIGHT), null), null);
});

test("a part that hangs on a body stays there", () => {
  const { picture, region } = scene();
  const root = new Uint8Array(WIDTH * HEIGHT);
  for (let y = 48; y < 50; y++) root.fill(255, y * WIDTH + 30, y * WIDTH + 60);
  const piece = cutOut(picture, WIDTH, HEIGHT, region, root);
  const frame = new Int32Array(WIDTH * HEIGHT);
  land(frame, WIDTH, piece, landing(piece, WIDTH, HEIGHT, [[45, 22]], [[60, 22]]));
  assert.ok(Math.abs(at(frame, 40, 49) - 89) <= 2);
  assert.ok(Math.abs(at(frame, 60, 22) - 67) <= 2);
});

/** A chimney of so many pixels' width, as tests/test_warp.py has it: white, and 0.2 of the picture high. */
function chimney(side) {
  const picture = new Int32Array(side * side).fill(grey(0));
  const [region, root] = [new Uint8Array(side * side), new Uint8Array(side * side)];
  const [top, bottom, left, right] = [0.3, 0.5, 0.45, 0.55].map((share) => Math.round(share * side));
  for (let y = top; y < bottom; y++) {
    region.fill(255, y * side + left, y * side + right);
    picture.fill(grey(255), y * side + left, y * side + right);
  }
  for (let y = bottom - 1; y < bottom + 3; y++) root.fill(255, y * side + left, y * side + right);
  return { piece: cutOut(picture, side, side, region, root), top, bottom, left, right };
}

test("a part that is pulled far is drawn whole", () => {
  const side = 512;
  const { piece, top, left, right } = chimney(side);
  const frame = new Int32Array(side * side);
  const up = 61;
  land(frame, side, piece, landing(piece, side, side, [[256, 205]], [[256, 205 - up]]));
  for (let y = top + 3; y < 205; y++)
    for (let x = left + 3; x < right - 3; x++) assert.ok(at(frame, x, y - up, side) > 250, `${x} ${y}`);
});

test("what stays at the root is drawn, too, however far the rest goes", () => {
  const side = 512;
  const { piece, bottom } = chimney(side);
  const frame = new Int32Array(side * side);
  land(frame, side, piece, landing(piece, side, side, [[256, 205]], [[256, 75]]));
  for (let y = 75; y < bottom - 3; y++) assert.ok(at(frame, 256, y, side) > 250, `${y}`);
});

test("a part that is pushed into its body goes behind it", () => {
  const side = 512;
  const { piece, top, bottom, left, right } = chimney(side);
  const frame = new Int32Array(side * side).fill(grey(100));
  const by = 60;
  land(frame, side, piece, landing(piece, side, side, [[256, 205]], [[256, 205 + by]]));
  for (let x = left + 3; x < right - 3; x++) {
    for (let y = 0; y < top + by - 4; y++) assert.equal(at(frame, x, y, side), 100, `${x} ${y}`);
    for (let y = top + by + 3; y < bottom - 3; y++) assert.ok(at(frame, x, y, side) > 250, `${x} ${y}`);
    for (let y = bottom; y < side; y++) assert.equal(at(frame, x, y, side), 100, `${x} ${y}`);
  }
});

test("boxes are joined, and none is no box", () => {
  assert.deepEqual(joined([1, 2, 3, 4], [0, 3, 9, 3]), [0, 2, 9, 4]);
  assert.deepEqual([joined(null, [1, 2, 3, 4]), joined(null, null)], [[1, 2, 3, 4], null]);
});
