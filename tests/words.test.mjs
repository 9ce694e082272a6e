import assert from "node:assert/strict";
import { test } from "node:test";

import { pageLanguage, WORDS, words } from "../javascript/dragtext_words.mjs";

test("every language has every text, with the same places in it", () => {
  const places = (text) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();
  for (const [language, table] of Object.entries(WORDS)) {
    assert.deepEqual(Object.keys(table).sort(), Object.keys(WORDS.en).sort(), language);
    for (const [key, text] of Object.entries(table)) {
      assert.ok(text.trim(), `${language}.${key}`);
      assert.deepEqual(places(text), places(WORDS.en[key]), `${language}.${key}`);
    }
  }
});

test("values come into their places", () => {
  assert.equal(words("en")("said_cross", { x: 3, y: 4 }), "3, 4");
  assert.equal(words("de")("undo"), "Rückgängig");
  assert.equal(words("fr")("undo"), "Undo");
  assert.equal(words("en")("no such key"), "no such key");
});

test("the page's language comes first", () => {
  const page = (lang) => ({ documentElement: { lang } });
  assert.equal(pageLanguage(page("de-AT"), { language: "en" }), "de");
  assert.equal(pageLanguage(page(""), { language: "de" }), "de");
  assert.equal(pageLanguage(page("en"), { language: "de" }), "en");
  assert.equal(pageLanguage(undefined, undefined), "en");
});
