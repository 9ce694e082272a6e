// What the stage shows while it has no picture. No work at import.

import { make } from "./dragtext_dom.mjs";
import { icon } from "./dragtext_icons.mjs";

const STEPS = [
  ["step_open", "open"],
  ["step_point", "drag"],
  ["step_drag", "run"],
];

/** The three steps, as an element with a button that opens a file and a place `.dragtext_examples` for examples. */
export function welcome(say, open) {
  const steps = STEPS.map(([key, drawn], n) =>
    make(
      "li",
      {},
      make("span", { class: "dragtext_step", html: icon(drawn) }),
      make("strong", { text: `${n + 1}. ${say(key)}` }),
      make("span", { text: say(`${key}_help`) }),
    ),
  );
  const button = make("button", {
    type: "button",
    class: "dragtext_button dragtext_texted dragtext_first",
    "data-action": "open",
    html: `${icon("open")}<span></span>`,
  });
  button.querySelector("span").textContent = say("open");
  button.addEventListener("click", open);
  return make(
    "div",
    { class: "dragtext_welcome", role: "region", "aria-label": say("empty_title") },
    make("ol", { class: "dragtext_steps" }, ...steps),
    button,
    make("div", { class: "dragtext_examples" }),
  );
}
