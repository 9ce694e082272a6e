import assert from "node:assert/strict";
import { test } from "node:test";

import { Asking } from "../javascript/dragtext_asking.mjs";
import { newDocument, withDrag, withLayer } from "../javascript/dragtext_document.mjs";
import { History } from "../javascript/dragtext_history.mjs";
import { bounds, emptyLayer, isOn, rectangle } from "../javascript/dragtext_layer.mjs";

const PICTURE = { id: "p", width: 200, height: 100, name: "" };
const box = (...edges) => rectangle(emptyLayer(PICTURE), edges);

/** A server that answers when it is told to; what it answers with are layers. */
function bench() {
  const history = new History(withDrag(newDocument(PICTURE), [20, 20], [80, 20]));
  const open = [];
  const answer = (name) => (asked) => new Promise((resolve, reject) => open.push({ name, asked, resolve, reject }));
  const host = {
    failures: [],
    notes: [],
    work: 0,
    get doc() {
      return history.current;
    },
    push: (doc, label) => history.push(doc, label),
    amend: (doc) => history.amend(doc),
    tell() {},
    note: (text) => host.notes.push(text),
    busy: (by) => (host.work += by),
    failed: (error) => host.failures.push(error.message),
  };
  const asking = new Asking({ pick: answer("pick"), maskFor: answer("maskFor") }, host, async (layer) => layer);
  const settled = () => new Promise((resolve) => setTimeout(resolve, 5));
  return { asking, host, history, open, settled };
}

test("what is picked becomes what moves, also when the mask has followed in the meantime", async () => {
  const { asking, host, history, open, settled } = bench();
  const picked = asking.pick({ handles: [[20, 20]] });
  history.amend(withLayer(host.doc, "mask", box(0, 0, 5, 5)));
  open[0].resolve({ region: box(10, 10, 30, 30), note: "found" });
  await picked;
  await settled();
  assert.deepEqual(bounds(host.doc.region), [10, 10, 30, 30]);
  assert.deepEqual(host.notes, ["found"]);
  assert.equal(history.undo(), "did_pick");
  assert.equal(host.work, 0);
});

test("only the newest of two picks counts, and none after another picture was opened", async () => {
  const { asking, host, open } = bench();
  const [first, second] = [asking.pick({ handles: [[1, 1]] }), asking.pick({ handles: [[2, 2]] })];
  open[1].resolve({ region: box(20, 20, 30, 30) });
  open[0].resolve({ region: box(1, 1, 5, 5) });
  await Promise.all([first, second]);
  assert.deepEqual(bounds(host.doc.region), [20, 20, 30, 30]);
  const third = asking.pick({ handles: [[3, 3]] });
  asking.forget();
  open[2].reject(new Error("gone"));
  await third;
  assert.deepEqual(bounds(host.doc.region), [20, 20, 30, 30]);
  assert.deepEqual(host.failures, []);
});

test("strokes mend what was picked, on top of what was there before", async () => {
  const { asking, host, open } = bench();
  const answered = async (promise, region) => {
    open.at(-1).resolve({ region });
    await promise;
  };
  await answered(asking.pick({ handles: [[10, 10]] }), box(5, 5, 20, 20));
  await answered(asking.pick({ box: [50, 50, 80, 80] }, true), box(50, 50, 80, 80));
  assert.ok(isOn(host.doc.region, [10, 10]) && isOn(host.doc.region, [60, 60]));
  const minus = [{ radius: 3, points: [[60, 60]] }];
  await answered(asking.pick({ minus }, true), box(50, 50, 70, 80));
  assert.deepEqual(open.at(-1).asked, { box: [50, 50, 80, 80], minus });
  assert.ok(isOn(host.doc.region, [10, 10]) && !isOn(host.doc.region, [75, 60]));
});

test("what was painted by hand is taken away without a question", async () => {
  const { asking, host, history, open } = bench();
  await asking.pick({ minus: [{ radius: 3, points: [[60, 60]] }] }, true);
  assert.equal(history.canUndo, false);
  history.push(withLayer(host.doc, "region", box(50, 50, 70, 70)), "did_rectangle");
  await asking.pick({ minus: [{ radius: 3, points: [[60, 60]] }] }, true);
  assert.equal(open.length, 0);
  assert.ok(!isOn(host.doc.region, [60, 60]) && isOn(host.doc.region, [52, 52]));
});

test("the mask follows once for each document, and is no step of its own", async () => {
  const { asking, host, history, open } = bench();
  const wait = () => new Promise((resolve) => setTimeout(resolve, 160));
  asking.follow();
  await wait();
  assert.equal(open.length, 0); // nothing is known to move
  history.push(withLayer(host.doc, "region", box(5, 5, 20, 20)), "did_rectangle");
  asking.follow();
  asking.follow();
  await wait();
  assert.equal(open.length, 1);
  open[0].resolve({ mask: box(0, 0, 90, 40) });
  await wait();
  assert.deepEqual(bounds(host.doc.mask), [0, 0, 90, 40]);
  assert.equal(host.doc.maskAuto, true);
  asking.follow();
  await wait();
  assert.equal(open.length, 1);
  assert.equal(history.undo(), "did_rectangle");
  history.redo();
  history.push(withLayer(host.doc, "mask", box(1, 1, 3, 3)), "did_stroke");
  asking.follow();
  await wait();
  assert.equal(open.length, 1);
});

test("what the server refuses is told", async () => {
  const { asking, host, open } = bench();
  const picked = asking.pick({ handles: [[20, 20]] });
  open[0].reject(new Error("no"));
  await picked;
  assert.deepEqual(host.failures, ["no"]);
  assert.equal(host.work, 0);
});
