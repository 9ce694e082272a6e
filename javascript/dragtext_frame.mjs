// The elements of the stage below its buttons. No work at import.

import { make } from "./dragtext_dom.mjs";
import { helpPage } from "./dragtext_help.mjs";
import { welcome } from "./dragtext_welcome.mjs";

/** The canvas and what lies over it: {frame, canvas, told, spinner, zoomed, welcome, helpPage}. act(action). */
export function frameOf(say, act) {
  const unseen = { "aria-hidden": "true" };
  const made = {
    canvas: make("canvas", {
      id: "dragtext_canvas",
      tabindex: 0,
      role: "application",
      "aria-label": say("canvas"),
      "aria-describedby": "dragtext_told",
    }),
    told: make("div", { class: "dragtext_told", id: "dragtext_told", role: "status", "aria-live": "polite" }),
    spinner: make("div", { class: "dragtext_spinner", hidden: true, ...unseen }),
    zoomed: make("div", { class: "dragtext_zoomed", ...unseen }),
    welcome: welcome(say, () => act("open")),
    helpPage: helpPage(say, () => act("help")),
  };
  const foot = make("div", { class: "dragtext_foot" }, made.told, made.spinner, made.zoomed);
  const drop = make("div", { class: "dragtext_drop", text: say("drop"), ...unseen });
  const frame = make("div", { class: "dragtext_view" }, made.canvas, made.welcome, foot, drop, made.helpPage);
  return { frame, ...made };
}
