import assert from "node:assert/strict";
import { test } from "node:test";

import * as documents from "../javascript/dragtext_document.mjs";
import { asRequest } from "../javascript/dragtext_exchange.mjs";
import { History } from "../javascript/dragtext_history.mjs";
import { emptyLayer, rectangle, stroke, toBytes } from "../javascript/dragtext_layer.mjs";

const PICTURE = { id: "p", width: 200, height: 100, name: "a.png" };
const start = documents.newDocument(PICTURE);
const one = documents.withDrag(start, [10, 20], [60, 20]);

test("a drag is put inside the picture", () => {
  const doc = documents.withDrag(start, [-5, 20.126], [500, 99.9]);
  assert.deepEqual(doc.drags, [{ source: [0, 20.13], target: [199, 99] }]);
  assert.deepEqual(start.drags, []);
});

test("nothing of a document can be changed", () => {
  for (const change of [() => (one.mask = 1), () => one.drags.push(1), () => (one.drags[0].source[0] = 5)]) {
    assert.throws(change, TypeError);
  }
});

test("either end moves alone, a drag as a whole, and a pin with both", () => {
  assert.deepEqual(documents.withEnd(one, 0, "target", [70, 30]).drags[0], { source: [10, 20], target: [70, 30] });
  assert.deepEqual(documents.withEnd(one, 0, "source", [0, 0]).drags[0], { source: [0, 0], target: [60, 20] });
  const pin = documents.pinned(one, 0);
  assert.ok(documents.isPin(pin.drags[0]) && !documents.hasWay(pin) && documents.hasWay(one));
  assert.deepEqual(documents.withEnd(pin, 0, "target", [5, 6]).drags[0], { source: [5, 6], target: [5, 6] });
  assert.deepEqual(documents.shifted(one, 0, 1, -2).drags[0], { source: [11, 18], target: [61, 18] });
  assert.deepEqual(documents.shifted(one, 0, -40, 300).drags[0], { source: [0, 99], target: [50, 99] });
  assert.deepEqual(documents.withoutDrag(one, 0).drags, []);
});

test("a mask that somebody gives follows no more", () => {
  const layer = rectangle(emptyLayer(PICTURE), [5, 5, 20, 20]);
  assert.equal(documents.withLayer(start, "region", layer).maskAuto, true);
  assert.equal(documents.withLayer(start, "mask", layer).maskAuto, false);
  assert.equal(documents.withLayer(start, "region", emptyLayer(PICTURE)).region, null);
  const following = documents.withFollowingMask(documents.withLayer(start, "mask", layer), layer);
  assert.deepEqual([following.maskAuto, following.mask], [true, layer]);
});

test("a mask that follows is not sent: the server makes it by itself", async () => {
  const mask = rectangle(emptyLayer(PICTURE), [5, 5, 20, 20]);
  const asked = await asRequest(documents.withFollowingMask(one, mask));
  assert.deepEqual(asked, { drags: [[[10, 20], [60, 20]]], mask: null, region: null });
});

test("a document survives a reload", () => {
  const layer = stroke(emptyLayer(PICTURE), [[50, 50]], 20);
  const doc = documents.withLayer(documents.withLayer(one, "region", layer), "mask", layer);
  const again = documents.deserialise(documents.serialise(doc));
  assert.deepEqual({ ...again, region: null, mask: null }, { ...doc, region: null, mask: null });
  assert.deepEqual(toBytes(again.mask), toBytes(layer));
  assert.deepEqual(documents.deserialise(documents.serialise(start)), start);
  for (const damaged of [
    "",
    "{}",
    "null",
    '{"version":1,"drags":[{}]}',
    documents.serialise(doc).replace("[200,", "[7,"),
  ]) {
    assert.equal(documents.deserialise(damaged), null, damaged.slice(0, 40));
  }
});

test("every action is undone and done again, one at a time", () => {
  const history = new History(start);
  assert.deepEqual([history.undo(), history.redo()], [null, null]);
  const docs = [start];
  for (let n = 1; n <= 5; n++) {
    docs.push(documents.withDrag(docs.at(-1), [n, n], [n + 9, n]));
    history.push(docs.at(-1), `drag ${n}`);
  }
  assert.deepEqual([history.undo(), history.undo(), history.undo()], ["drag 5", "drag 4", "drag 3"]);
  assert.equal(history.current, docs[2]);
  assert.equal(history.redo(), "drag 3");
  assert.equal(history.current, docs[3]);
  history.push(one, "another");
  assert.ok(!history.canRedo && history.canUndo);
  assert.equal(history.undo(), "another");
  assert.equal(history.current, docs[3]);
});

test("what nobody did is no step of its own", () => {
  const history = new History(start);
  history.push(one, "drag");
  history.undo();
  const amended = documents.withFollowingMask(start, rectangle(emptyLayer(PICTURE), [5, 5, 20, 20]));
  history.amend(amended);
  assert.equal(history.current, amended);
  assert.equal(history.redo(), "drag");
  assert.equal(history.current, one);
});

test("the history has an end, which is never the present", () => {
  const history = new History(start);
  for (let n = 0; n < 400; n++) history.push(documents.withDrag(start, [n % 200, 1]), `${n}`);
  assert.ok(history.entries.length <= 300);
  let steps = 0;
  while (history.undo() !== null) steps++;
  assert.equal(steps, history.entries.length - 1);
});
