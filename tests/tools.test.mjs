import assert from "node:assert/strict";
import { test } from "node:test";

import { isPin, newDocument, withDrag } from "../javascript/dragtext_document.mjs";
import { History } from "../javascript/dragtext_history.mjs";
import { actionOf, takesText } from "../javascript/dragtext_keys.mjs";
import { bounds, isEmpty, isOn } from "../javascript/dragtext_layer.mjs";
import { aroundDrags, Tools } from "../javascript/dragtext_tools.mjs";

/** Tools over a picture of 200 by 100 that is shown twice as large. */
function bench(tool = "drag", more = {}) {
  const history = new History(newDocument({ id: "p", width: 200, height: 100, name: "" }));
  const host = {
    history,
    view: { scale: 2, x: 0, y: 0 },
    layer: "mask",
    radius: 5,
    pickMode: "object",
    picked: [],
    told: [],
    panned: [],
    labels: [],
    get doc() {
      return history.current;
    },
    push(doc, label) {
      history.push(doc, label);
      this.labels.push(label);
    },
    pick(...asked) {
      this.picked.push(asked);
    },
    pan(...by) {
      this.panned.push(by);
    },
    tell(key) {
      this.told.push(key);
    },
    ...more,
  };
  const tools = new Tools(host);
  tools.choose(tool);
  const at = ([x, y]) => [(x + 0.5) * 2, (y + 0.5) * 2];
  const pull = (points, mods = {}) => {
    tools.down(at(points[0]), mods);
    for (const point of points.slice(1)) tools.move([at(point)], mods);
    tools.up(at(points.at(-1)), mods);
  };
  const click = (point, mods = {}) => pull([point], mods);
  return { tools, host, at, pull, click, history };
}

test("press and pull makes a drag from where it was pressed", () => {
  const { pull, host, tools } = bench();
  pull([
    [20, 30],
    [40, 30],
    [80, 50],
  ]);
  assert.deepEqual(host.doc.drags, [{ source: [20, 30], target: [80, 50] }]);
  assert.deepEqual(tools.selected, { index: 0, part: "target" });
  assert.deepEqual(host.labels, ["did_drag"]);
});

test("while it is pulled only the shown document has it", () => {
  const { tools, at, host } = bench();
  tools.down(at([20, 30]));
  assert.equal(tools.dragging, false);
  tools.move([at([50, 30])]);
  assert.equal(tools.dragging, true);
  assert.deepEqual([tools.doc.drags.length, host.doc.drags.length], [1, 0]);
  tools.cancel();
  assert.equal(tools.doc, host.doc);
});

test("click and click makes a drag, with the pointer's place shown between", () => {
  const { click, tools, at, host } = bench();
  click([20, 30]);
  assert.deepEqual(host.told, ["said_target"]);
  assert.equal(host.doc.drags.length, 0);
  tools.move([at([70, 60])]);
  assert.deepEqual(tools.doc.drags[0], { source: [20, 30], target: [70, 60] });
  click([90, 60]);
  assert.deepEqual(host.doc.drags, [{ source: [20, 30], target: [90, 60] }]);
});

test("twice on one spot makes a pin", () => {
  const { click, host } = bench();
  click([20, 30]);
  click([20.6, 30]);
  assert.deepEqual(host.labels, ["did_pin"]);
  assert.deepEqual(host.doc.drags, [{ source: [20, 30], target: [20, 30] }]);
});

test("a trembling hand makes no drag of a pixel", () => {
  const { pull, host } = bench();
  pull([
    [20, 30],
    [21, 30],
  ]);
  assert.equal(host.doc.drags.length, 0);
});

test("either end can be moved, from where it was taken", () => {
  const { pull, host } = bench();
  pull([
    [20, 30],
    [80, 50],
  ]);
  pull([
    [81, 51],
    [101, 61],
  ]);
  assert.deepEqual(host.doc.drags, [{ source: [20, 30], target: [100, 60] }]);
  pull([
    [20, 30],
    [25, 35],
  ]);
  assert.deepEqual(host.doc.drags, [{ source: [25, 35], target: [100, 60] }]);
  assert.deepEqual(host.labels, ["did_drag", "did_end", "did_end"]);
});

test("a click on a drag chooses what it meets, without a change", () => {
  const { pull, click, tools, host } = bench();
  pull([
    [20, 30],
    [80, 30],
  ]);
  click([20, 30]);
  assert.deepEqual(tools.selected, { index: 0, part: "source" });
  click([50, 30]);
  assert.deepEqual(tools.selected, { index: 0, part: "shaft" });
  assert.equal(host.labels.length, 1);
});

test("the move tool takes shafts, and the view beside them", () => {
  const { pull, host, tools } = bench();
  pull([
    [20, 30],
    [80, 30],
  ]);
  tools.choose("move");
  pull([
    [50, 30],
    [55, 40],
  ]);
  assert.deepEqual(host.doc.drags, [{ source: [25, 40], target: [85, 40] }]);
  pull([
    [150, 80],
    [140, 70],
  ]);
  assert.deepEqual(host.panned.at(-1), [0, 0]);
  assert.deepEqual(host.panned[0], [-20, -20]);
  assert.equal(host.labels.at(-1), "did_shift");
});

test("pins are set, moved whole, and made of drags", () => {
  const { click, pull, host, tools } = bench("pin");
  click([20, 30]);
  tools.choose("drag");
  pull([
    [20, 30],
    [60, 40],
  ]);
  assert.deepEqual(host.doc.drags, [{ source: [60, 40], target: [60, 40] }]);
  pull([
    [100, 20],
    [150, 20],
  ]);
  assert.equal(tools.pin(), true);
  assert.ok(isPin(host.doc.drags[1]));
  assert.equal(tools.pin(), false);
});

test("nudging, choosing by key, deleting", () => {
  const { pull, host, tools } = bench();
  assert.equal(tools.nudge(1, 0), false);
  tools.next();
  assert.deepEqual(host.told, ["said_no_drags"]);
  pull([
    [20, 30],
    [80, 30],
  ]);
  pull([
    [20, 60],
    [80, 60],
  ]);
  tools.nudge(0, 10);
  assert.deepEqual(host.doc.drags[1].target, [80, 70]);
  tools.next();
  assert.deepEqual(tools.selected, { index: 0, part: "source" });
  tools.next(-1);
  assert.deepEqual(tools.selected, { index: 1, part: "target" });
  assert.equal(tools.remove(), true);
  assert.equal(tools.remove(), false);
  assert.equal(host.doc.drags.length, 1);
});

test("what undo has taken away is chosen no more", () => {
  const { pull, tools, history } = bench();
  pull([
    [20, 30],
    [80, 30],
  ]);
  history.undo();
  tools.settle();
  assert.equal(tools.selected, null);
});

test("a stroke paints, Shift or the pen's other end erases, and each is one action", () => {
  const { pull, host, tools } = bench("brush");
  pull([
    [20, 30],
    [60, 30],
    [100, 30],
  ]);
  assert.deepEqual(bounds(host.doc.mask), [15, 25, 105, 35]);
  assert.equal(host.doc.maskAuto, false);
  pull(
    [
      [60, 10],
      [60, 60],
    ],
    { shift: true },
  );
  assert.ok(!isOn(host.doc.mask, [60, 30]) && isOn(host.doc.mask, [40, 30]));
  pull(
    [
      [20, 30],
      [22, 30],
    ],
    { erase: true },
  );
  assert.ok(!isOn(host.doc.mask, [20, 30]));
  tools.choose("eraser");
  pull([
    [40, 30],
    [42, 30],
  ]);
  assert.ok(!isOn(host.doc.mask, [40, 30]));
  assert.deepEqual(host.labels, ["did_stroke", "did_erase", "did_erase", "did_erase"]);
});

test("a stroke that is torn off keeps what it has painted; a drag does not", () => {
  const { tools, at, host } = bench("brush");
  tools.down(at([20, 30]));
  tools.move([at([60, 30])]);
  tools.cancel(true);
  assert.ok(isOn(host.doc.mask, [40, 30]));
  tools.choose("drag");
  tools.down(at([20, 60]));
  tools.move([at([60, 60])]);
  tools.cancel(true);
  assert.equal(host.doc.drags.length, 0);
});

test("rectangle and lasso fill, and take away with Shift", () => {
  const { pull, click, host, tools } = bench("rectangle", { layer: "region" });
  click([10, 10]);
  assert.deepEqual(host.labels, []);
  pull([
    [60, 60],
    [20, 20],
  ]);
  assert.deepEqual(bounds(host.doc.region), [20, 20, 60, 60]);
  pull(
    [
      [20, 20],
      [60, 39.5],
    ],
    { shift: true },
  );
  assert.deepEqual(bounds(host.doc.region), [20, 40, 60, 60]);
  tools.choose("lasso");
  pull([
    [100, 20],
    [140, 20],
    [140, 60],
    [100, 60],
  ]);
  assert.ok(isOn(host.doc.region, [120, 40]));
  assert.equal(host.doc.maskAuto, true);
});

test("picking by a click, a rectangle and strokes", () => {
  const { click, pull, host } = bench("pick");
  click([20, 30]);
  pull(
    [
      [60, 70],
      [10, 20],
    ],
    { shift: true },
  );
  host.pickMode = "plus";
  pull([
    [20, 30],
    [30, 30],
  ]);
  pull(
    [
      [20, 30],
      [30, 30],
    ],
    { shift: true },
  );
  assert.deepEqual(host.picked[0], [{ handles: [[20, 30]] }, false]);
  assert.deepEqual(host.picked[1], [{ box: [10, 20, 60, 70] }, true]);
  assert.deepEqual(host.picked[2][0].plus[0].radius, 5);
  assert.deepEqual(host.picked[2][0].plus[0].points.at(-1), [30, 30]);
  assert.deepEqual(Object.keys(host.picked[3][0]), ["minus"]);
  host.pickMode = "object";
  click([-20, 30]);
  assert.equal(host.picked.length, 4);
});

test("without a picture nothing happens, beside it the view moves, and drags have an end", () => {
  const { tools, host, pull, at } = bench();
  pull([
    [-30, 20],
    [-20, 20],
  ]);
  assert.equal(host.panned.length, 2);
  let doc = host.doc;
  for (let n = 0; n < 100; n++) doc = withDrag(doc, [n, 5], [n, 90]);
  host.push(doc, "");
  pull([
    [150, 50],
    [190, 50],
  ]);
  assert.equal(host.doc.drags.length, 100);
  assert.ok(host.told.includes("said_full"));
  host.history.reset(newDocument());
  tools.down(at([1, 1]));
  assert.equal(tools.gesture, null);
});

test("around the drags lies the way of each, and what moves", () => {
  const { host, pull } = bench();
  pull([
    [20, 50],
    [80, 50],
  ]);
  const mask = aroundDrags(host.doc);
  for (const point of [
    [20, 50],
    [50, 50],
    [80, 50],
    [50, 60],
  ])
    assert.ok(isOn(mask, point), String(point));
  assert.ok(!isOn(mask, [150, 50]) && !isEmpty(mask));
});

test("keys", () => {
  const key = (name, more = {}) => actionOf({ key: name, code: "", ...more });
  const ctrl = { ctrlKey: true };
  assert.deepEqual(key("z", ctrl), { action: "undo" });
  assert.deepEqual(key("Z", { ...ctrl, shiftKey: true }), { action: "redo" });
  assert.deepEqual(key("y", ctrl), { action: "redo" });
  assert.deepEqual(key("z", { metaKey: true }), { action: "undo" });
  assert.deepEqual([key("0", ctrl).action, key("1", ctrl).action], ["fit", "pixels"]);
  assert.deepEqual(key("ArrowLeft", { shiftKey: true }), { action: "arrow", value: [-10, 0] });
  assert.deepEqual(key("["), { action: "brush_size", value: -1 });
  assert.deepEqual(key("}", { shiftKey: true, code: "BracketRight" }), { action: "brush_size", value: 10 });
  const tools = { b: "brush", e: "eraser", u: "rectangle", l: "lasso", v: "move", d: "drag" };
  for (const [letter, tool] of Object.entries(tools)) assert.deepEqual(key(letter), { action: tool });
  for (const not of [key("b", ctrl), key("d", { altKey: true }), key("s"), key("F5"), key("c", ctrl)])
    assert.equal(not, null);
});

test("what takes text keeps its keys", () => {
  assert.ok(takesText({ tagName: "TEXTAREA" }) && takesText({ tagName: "INPUT", type: "number" }));
  assert.ok(takesText({ tagName: "DIV", isContentEditable: true }));
  assert.ok(!takesText({ tagName: "INPUT", type: "range" }) && !takesText({ tagName: "BUTTON" }) && !takesText(null));
});
