// The pure parts of the page around the canvas, under node's own test runner.

import assert from "node:assert/strict";
import { test } from "node:test";

import { brief, curvePoints } from "../javascript/dragtext_plot.mjs";
import { setQuick, wantsQuick } from "../javascript/dragtext_quick.mjs";
import { shownJobs } from "../javascript/dragtext_results.mjs";
import { outcomeText, phaseOf, progressOf, timeText } from "../javascript/dragtext_run.mjs";
import { hasSlider, scaleOf, usual } from "../javascript/dragtext_scale.mjs";
import { chosenSettings, matches, memoryText, suited } from "../javascript/dragtext_settings.mjs";
import { nearest, stripPoints } from "../javascript/dragtext_strength.mjs";
import { words } from "../javascript/dragtext_words.mjs";

const info = (more) => ({
  name: "x",
  kind: "float",
  default: null,
  by_method: {},
  least: 0,
  most: 1,
  above: false,
  ...more,
});

test("the bar never goes back, and a drag counts what is left of the way", () => {
  const states = [
    { state: "queued", phase: "waiting" },
    { state: "running", phase: "learning the image", step: 35, total: 70 },
    { state: "running", phase: "inverting", step: 1, total: 38 },
    { state: "running", phase: "dragging", step: 1, total: 210, distance: 40 },
    { state: "running", phase: "dragging", step: 9, total: 210, distance: 10 },
    { state: "running", phase: "rendering", step: 2, total: 38 },
    { state: "done", phase: "rendering", step: 38, total: 38 },
  ];
  const shares = states.map((state) => progressOf(state, 40));
  assert.deepEqual(
    shares,
    [...shares].sort((a, b) => a - b),
  );
  assert.equal(shares.at(-1), 1);
  assert.ok(progressOf(states[4], 40) > progressOf(states[4]), "three quarters of the way, not 9 of 210 steps");
  assert.equal(phaseOf({ state: "running", phase: "something new" }), "begin");
});

test("how an edit ended is said in the page's language, and what failed in the server's", () => {
  const outcome = { ended: "reached", left: 1.6, steps: 12, seconds: 3.2 };
  const whole = "Alle Punkte sind angekommen: noch 2 px nach 12 Schritten, 3 s. Gespeichert als 1.png. A note.";
  assert.equal(outcomeText({ text: "x", saved: "1.png", note: "A note.", outcome }, words("de")), whole);
  const moved = { ...outcome, ended: "moved" };
  assert.equal(outcomeText({ text: "x", outcome: moved }, words("en")), "Moved to where the handles should be, 3 s.");
  assert.equal(outcomeText({ text: "It broke.", outcome: null }, words("de")), "It broke.");
});

test("time in words", () => {
  assert.equal(timeText(0.2, words("en")), "1 s");
  assert.equal(timeText(61, words("en")), "61 s");
  assert.equal(timeText(200, words("de")), "3 min");
  assert.equal(timeText(null, words("en")), "");
});

test("sliders reach both ends and come back to the same value", () => {
  for (const one of [
    info({ kind: "int", least: 1, most: 2000, by_method: { a: 80, b: 210 } }),
    info({ least: 0, most: 1, above: true, default: 0.004 }),
    info({ least: 0, most: 1000, default: 0.1 }),
    info({ kind: "int", least: 0, most: 5000, by_method: { a: 0, b: 70 } }),
    info({ kind: "int", least: 1, most: 4, default: 3 }),
    info({ least: 0, most: 1, above: true, by_method: { a: 0.7 } }),
  ]) {
    const scale = scaleOf(one);
    const [first, last] = [scale.toValue(0), scale.toValue(scale.positions)];
    assert.equal(last, one.most);
    assert.ok(one.above ? first > 0 && first < 0.05 * one.most : first === one.least, `${first}`);
    for (let position = 0; position <= scale.positions; position += Math.max(1, Math.floor(scale.positions / 50))) {
      const value = scale.toValue(position);
      assert.ok(value >= one.least && value <= one.most && (!one.above || value > 0));
      assert.ok(one.kind !== "int" || Number.isInteger(value));
      const back = scale.toValue(scale.toPosition(value));
      assert.ok(
        Math.abs(back - value) <= Math.max(0.02 * Math.abs(value), one.kind === "int" ? 1 : 1e-3),
        `${value} ${back}`,
      );
    }
  }
  assert.ok(!hasSlider(info({ kind: "int", most: 2 ** 63 })), "a seed has no slider");
  assert.ok(!hasSlider(info({ kind: "choice", least: null, most: null })));
  assert.equal(usual(info({ by_method: { a: 3, b: 9 } }), "b"), 9);
  assert.equal(usual(info({ default: 5 }), "b"), 5);
  assert.equal(usual(info({})), null);
});

test("what was left open in the form is not chosen", () => {
  const infos = [
    info({ name: "method", kind: "choice", default: "gooddrag" }),
    info({ name: "text", kind: "bool", default: true }),
    info({ name: "shared", kind: "bool" }),
    info({ name: "steps", kind: "int" }),
    info({ name: "seed", kind: "int", default: 42 }),
  ];
  assert.deepEqual(chosenSettings(infos, ["recommended", true, "by method", "", "42"]), { seed: 42 });
  assert.deepEqual(chosenSettings(infos, ["gooddrag", false, "off", " 12 ", ""]), {
    method: "gooddrag",
    text: false,
    shared: false,
    steps: 12,
  });
  assert.deepEqual(chosenSettings(infos, ["warp", true, "on", "many", ""]), {
    method: "warp",
    shared: true,
    steps: "many",
  });
});

test("a model's own settings stand where they suit what was chosen", () => {
  const infos = [info({ name: "steps", loop: true }), info({ name: "seed", loop: false })];
  const own = { method: "warp", repaint: "revealed", inference_steps: 20 };
  assert.deepEqual(suited(own, {}, infos), own);
  assert.deepEqual(suited(own, { seed: 1 }, infos), own);
  assert.deepEqual(suited(own, { method: "warp", steps: 3 }, infos), own);
  assert.deepEqual(suited(own, { method: "freedrag" }, infos), {});
  assert.deepEqual(suited(own, { steps: 3 }, infos), { inference_steps: 20, start: "warp" });
  assert.deepEqual(suited(own, { start: "none" }, infos), { inference_steps: 20, start: "warp" });
  assert.deepEqual(suited({}, {}, infos), {});
});

test("a search finds names and help, every word of it", () => {
  assert.ok(matches("lora RANK", "lora_rank", "Lora rank", "rank of the identity LoRA"));
  assert.ok(matches("", "x"));
  assert.ok(!matches("lora width", "lora_rank", "Lora rank"));
});

test("the strip is coarse first, and scrubbing takes what lies next", () => {
  const points = stripPoints();
  assert.equal(new Set(points).size, points.length);
  assert.ok(!points.includes(0) && !points.includes(1));
  assert.deepEqual([Math.min(...points), Math.max(...points)], [-0.5, 2]);
  const early = points.slice(0, 4).sort((a, b) => a - b);
  assert.ok(early[0] <= 0 && early.at(-1) >= 1.5, `${early}`);
  const known = new Map([0, 1, 0.5].map((v) => [v, `at ${v}`]));
  assert.equal(nearest(known, 0.3), 0.5);
  assert.equal(nearest(known, -4), 0);
  assert.equal(nearest(new Map(), 1), null);
});

test("curves fit their box", () => {
  assert.equal(curvePoints([10, 5, 0], 100, 50), "0.0,0.0 50.0,25.0 100.0,50.0");
  assert.equal(curvePoints([4, undefined, 2], 100, 50, 5), "0.0,0.0 50.0,25.0");
  assert.equal(curvePoints([0, 0], 100, 50), "0.0,50.0 100.0,50.0");
  assert.deepEqual([brief(1234.5), brief(0.01234), brief(NaN)], ["1235", "0.0123", ""]);
});

test("results are what somebody asked for and got", () => {
  const jobs = [
    { id: "a", kind: "edit", state: "done" },
    { id: "b", kind: "edit", state: "done", quick: true },
    { id: "c", kind: "edit", state: "failed" },
    { id: "d", kind: "strip", state: "done" },
    { id: "e", kind: "render", state: "done" },
  ];
  assert.deepEqual(
    shownJobs(jobs).map((job) => job.id),
    ["a", "e"],
  );
});

test("quick results are on until somebody says no", () => {
  const values = new Map();
  const storage = { getItem: (name) => values.get(name) ?? null, setItem: (name, value) => values.set(name, value) };
  assert.ok(wantsQuick(storage));
  setQuick(false, storage);
  assert.ok(!wantsQuick(storage));
  setQuick(true, storage);
  assert.ok(wantsQuick(storage));
});

test("what an edit does for want of memory is said, in both languages, and nothing where there is enough", () => {
  const told = { need_mb: 9318, room_mb: 6451, means: { rest: true, at_once: 2, again: true, tiles: true }, fits: true };
  assert.equal(
    memoryText(told, words("en")),
    "needs about 9.1 GB of memory, 6.3 GB are free: text encoders and autoencoder wait outside, the LoRA takes 2 of its " +
      "copies at a time, blocks are computed twice, encoded and decoded in tiles",
  );
  assert.match(memoryText(told, words("de")), /^braucht etwa 9\.1 GB Speicher, 6\.3 GB sind frei: Textencoder .* Kacheln/);
  assert.match(memoryText({ ...told, fits: false }, words("en")), /is not enough$/);
  assert.match(memoryText({ ...told, fits: false }, words("de")), /reicht nicht$/);
  for (const enough of [{}, { ...told, room_mb: 9318 }, { ...told, room_mb: null }, { ...told, need_mb: null }]) {
    assert.equal(memoryText(enough, words("en")), "");
  }
});
