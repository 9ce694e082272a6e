// Which key does what in the stage. No work at import.

import { TOOLS } from "./dragtext_tools.mjs";

const LETTERS = {
  d: "drag",
  v: "move",
  p: "pin",
  o: "pick",
  b: "brush",
  e: "eraser",
  u: "rectangle",
  l: "lasso",
  r: "preview",
  i: "invert",
  x: "other_layer",
  h: "help",
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TEXTS = ["email", "number", "password", "search", "tel", "text", "url", "date", "time"];

/** Whether an element takes what is typed. */
export function takesText(focused) {
  if (!focused) return false;
  if (focused.isContentEditable || ["TEXTAREA", "SELECT"].includes(focused.tagName)) return true;
  return focused.tagName === "INPUT" && TEXTS.includes(focused.type);
}

/** {action, value} of a key that is pressed, or null. event: key, code, ctrlKey, metaKey, shiftKey, altKey. */
export function actionOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.altKey) return null;
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") return { action: event.shiftKey ? "redo" : "undo" };
    if (key === "y" && !event.shiftKey) return { action: "redo" };
    if (event.shiftKey) return null;
    return { 0: { action: "fit" }, 1: { action: "pixels" } }[key] ?? null;
  }
  const step = event.shiftKey ? 10 : 1;
  if (ARROWS[key]) return { action: "arrow", value: ARROWS[key].map((by) => by * step) };
  // By place, too: with Shift, or on other keyboards, these keys have other signs.
  if (key === "[" || key === "]") return { action: "brush_size", value: key === "[" ? -step : step };
  if (event.code === "BracketLeft" || event.code === "BracketRight") {
    return { action: "brush_size", value: event.code === "BracketLeft" ? -step : step };
  }
  if (key === "+" || key === "=") return { action: "zoom", value: 1.25 };
  if (key === "-") return { action: "zoom", value: 0.8 };
  if (key === "n") return { action: "next", value: event.shiftKey ? -1 : 1 };
  if (key === "Delete" || key === "Backspace") return { action: "delete" };
  if (key === "Escape") return { action: "escape" };
  if (key === "Enter") return { action: "press" };
  if (key === " ") return { action: "space" };
  if (key === "Tab") return event.shiftKey ? null : { action: "original" };
  return !event.shiftKey && LETTERS[key] ? { action: LETTERS[key] } : null;
}

/** Whether an action chooses a tool. */
export const choosesTool = (action) => TOOLS.includes(action);
