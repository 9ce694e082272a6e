// Under node's own test runner: node --test tests/javascript.test.mjs

import assert from "node:assert/strict";
import { test } from "node:test";

import { follow, readEvents } from "../javascript/dragtext_follow.mjs";
import { address, pageId } from "../javascript/dragtext_http.mjs";

function watched(answers, more = {}) {
  const seen = { shown: [], trouble: [], waits: [], clock: 0 };
  const parts = {
    ask: async () => {
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      if (answer instanceof Error) throw answer;
      return answer;
    },
    show: async (state) => seen.shown.push(state.state),
    trouble: (message, status) => seen.trouble.push(status),
    wait: async (milliseconds) => {
      seen.waits.push(milliseconds);
      seen.clock += milliseconds;
    },
    current: () => true,
    hidden: () => false,
    now: () => seen.clock,
    ...more,
  };
  return [parts, seen];
}

const failure = (status) => Object.assign(new Error("no"), { status });

test("a job is followed to its end", async () => {
  const [parts, seen] = watched([{ state: "queued" }, { state: "running" }, { state: "done", id: "x" }]);
  assert.equal((await follow(parts)).id, "x");
  assert.deepEqual(seen.shown, ["queued", "running", "done"]);
  assert.deepEqual(seen.waits, [500, 500]);
});

test("nobody who looks away is asked for often", async () => {
  const [parts, seen] = watched([{ state: "running" }, { state: "failed" }], { hidden: () => true });
  await follow(parts);
  assert.deepEqual(seen.waits, [3000]);
});

test("a server that is away for a moment is waited for", async () => {
  const [parts, seen] = watched([failure(0), failure(503), { state: "done" }]);
  assert.equal((await follow(parts)).state, "done");
  assert.deepEqual(seen.trouble, [0, 503]);
});

test("a server that stays away is given up", async () => {
  const [parts, seen] = watched([failure(0)]);
  assert.equal(await follow(parts), null);
  assert.ok(seen.clock > 60_000 && seen.clock < 120_000);
});

test("a job that is gone, or not this page's, ends it at once", async () => {
  for (const status of [401, 403, 404]) {
    const [parts, seen] = watched([failure(status)]);
    assert.equal(await follow(parts), null);
    assert.deepEqual(seen.trouble, [status]);
  }
});

test("another job that is followed now ends it without a word", async () => {
  let asked = 0;
  const [parts, seen] = watched([{ state: "running" }], { current: () => asked++ < 1 });
  assert.equal(await follow(parts), null);
  assert.deepEqual(seen.shown, []);
});

test("a page keeps its id, and takes no damaged one", () => {
  const values = new Map();
  const storage = { getItem: (name) => values.get(name) ?? null, setItem: (name, value) => values.set(name, value) };
  const made = pageId(storage);
  assert.match(made, /^[0-9a-f]{32}$/);
  assert.equal(pageId(storage), made);
  values.set("dragtext_page", "<odd>");
  assert.match(pageId(storage), /^[0-9a-f]{32}$/);
});

test("the routes' address, at the root and below it", () => {
  const at = (origin, pathname) => address("edits", { origin, pathname });
  assert.equal(at("http://a", "/"), "http://a/dragtext/internal/edits");
  assert.equal(at("http://a", "/sub"), "http://a/sub/dragtext/internal/edits");
  assert.equal(at("http://a", "/sub/"), "http://a/sub/dragtext/internal/edits");
});

async function* heard(...states) {
  for (const state of states) yield state;
}

test("the server's events are enough, where they come through", async () => {
  let signal;
  const listen = (given) => {
    signal = given;
    return heard({ state: "queued" }, null, { state: "running" }, { state: "done", id: "y" });
  };
  const waits = [];
  const wait = (milliseconds) => {
    waits.push(milliseconds);
    return new Promise(() => {});
  };
  const patient = { listen, wait };
  const [parts, seen] = watched([failure(500)], patient);
  assert.equal((await follow(parts)).id, "y");
  assert.deepEqual(seen.shown, ["queued", "running", "done"]);
  assert.deepEqual(seen.trouble, []);
  assert.ok(signal.aborted);
  // The first event must come soon; once one came through, the next may take longer.
  assert.deepEqual(
    waits.map((milliseconds) => milliseconds > waits[0]),
    [false, true, true, true],
  );
});

test("events that are held back, end early or fail give way to questions", async () => {
  const never = { next: () => new Promise(() => {}) };
  const broken = { next: () => Promise.reject(new Error("cut off")) };
  for (const listen of [() => never, () => heard({ state: "running" }), () => broken]) {
    const [parts, seen] = watched([{ state: "running" }, { state: "done", id: "z" }], { listen });
    assert.equal((await follow(parts)).id, "z");
    assert.equal(seen.shown.at(-1), "done");
  }
});

test("a stream of bytes is read as events, wherever it is cut", async () => {
  const text = ': hello\n\nevent: state\r\ndata: {"a":\ndata: 1}\n\ndata: x\n\n';
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 7, bytes.length]) {
    const stream = new ReadableStream({
      start(controller) {
        for (let n = 0; n < bytes.length; n += size) controller.enqueue(bytes.slice(n, n + size));
        controller.close();
      },
    });
    const found = [];
    for await (const event of readEvents(stream)) found.push(event);
    assert.deepEqual(found, [
      { event: "message", data: "" },
      { event: "state", data: '{"a":1}' },
      { event: "message", data: "x" },
    ]);
  }
});
