// What can be tested of dragtext_send.mjs without a WebUI's page; tests/hosts/test_live_page.py has the rest.

import assert from "node:assert/strict";
import { test } from "node:test";

import { nameOf, painted, promptOf, sendTo, shownPicture, targetsOf } from "../javascript/dragtext_send.mjs";

test("the prompt is what stands before a host's own lines", () => {
  assert.equal(promptOf("a cat\non a mat\nSteps: 50, Sampler: DDIM"), "a cat\non a mat");
  assert.equal(promptOf("a cat\nNegative prompt: dog\nSteps: 50"), "a cat");
  assert.equal(promptOf("Steps: 50, Sampler: DDIM"), "");
  assert.equal(promptOf("a cat, Steps: up"), "a cat, Steps: up");
  assert.equal(promptOf(null), "");
});

test("a picture is named after its file", () => {
  assert.equal(nameOf("http://x/file=/out/00001-1.png?1700000000.5"), "00001-1.png");
  assert.equal(nameOf("http://x/file=/out/a%20cat.jpg#top"), "a cat.jpg");
  assert.equal(nameOf("http://x/file=/out/100%.png"), "100%.png");
  assert.equal(nameOf("data:image/png;base64,AAAA/BBBB"), "picture.png");
  assert.equal(nameOf("blob:http://x/1-2-3"), "picture.png");
});

test("the chosen picture of a gallery goes before the large one and the first", () => {
  const box = (found) => ({ querySelector: (place) => (found[place] ? { src: found[place] } : null) });
  const [chosen, large, first] = [".thumbnail-item.selected img", ".preview img", "img"];
  assert.equal(shownPicture(box({ [chosen]: "c", [large]: "l", [first]: "f" })), "c");
  assert.equal(shownPicture(box({ [large]: "l", [first]: "f" })), "l");
  assert.equal(shownPicture(box({ [first]: "f" })), "f");
  assert.equal(shownPicture(box({})), "");
  assert.equal(shownPicture(null), "");
});

test("a mask becomes paint where it is white", () => {
  const bytes = new Uint8ClampedArray([255, 255, 255, 255, 0, 0, 0, 255, 200, 200, 200, 255, 255, 255, 255, 0]);
  painted(bytes);
  assert.deepEqual([...bytes], [0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0]);
  painted(bytes, () => false);
  assert.deepEqual([...bytes], Array(16).fill(0));
});

test("a page without a tab offers no way to it, and says so", async () => {
  const view = { document: { getElementById: (id) => (id === "extras_image" ? {} : null) } };
  assert.deepEqual(targetsOf(view.document), ["extras"]);
  const say = (key, values) => `${key} ${values?.target}`;
  await assert.rejects(sendTo("img2img", null, null, "", { window: view, say }), /^Error: send_nowhere img2img$/);
  await assert.rejects(sendTo("nowhere", null, null, "", { window: view, say }), /^Error: send_nowhere nowhere$/);
});
