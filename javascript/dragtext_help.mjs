// The page of all keys and gestures (H). No work at import.

import { make } from "./dragtext_dom.mjs";
import { icon } from "./dragtext_icons.mjs";

/** [title, [[keys or a text, what it does], ...]]; keys are lists, alternatives are divided by "/". */
function sections(say) {
  const [ctrl, shift] = [say("key_ctrl"), say("key_shift")];
  return [
    [
      "help_drags",
      [
        [["D"], say("help_pull_what"), say("help_pull")],
        [["P"], say("help_double_what"), say("help_double")],
        [["V"], say("move")],
        [[say("help_arrows")], say("help_arrows_what")],
        [[say("key_delete")], say("help_delete")],
        [["Esc"], say("help_escape")],
        [[`${ctrl} Z`], say("help_undo")],
        [[`${ctrl} ${shift} Z`, `${ctrl} Y`], say("help_redo")],
      ],
    ],
    [
      "help_layers",
      [
        [["O"], say("pick"), say("pick_help")],
        [["B"], say("brush")],
        [["E", shift], say("eraser")],
        [["U"], say("rectangle")],
        [["L"], say("lasso")],
        [["I"], say("invert")],
        [["X"], say("help_layer")],
        [["[", "]", say("help_wheel_size")], say("help_brush_size")],
      ],
    ],
    [
      "help_view",
      [
        [[say("help_wheel")], say("help_wheel_what")],
        [[say("help_pan")], say("help_pan_what")],
        [[say("help_pinch")], say("help_pinch_what")],
        [[`${ctrl} 0`], say("fit_help")],
        [[`${ctrl} 1`], say("pixels_help")],
        [["R"], say("preview"), say("preview_help")],
        [[say("help_tab")], say("help_tab_what")],
        [["H"], say("help_this")],
      ],
    ],
    [
      "help_keys",
      [
        [[say("help_arrows")], say("help_cross_what")],
        [[say("help_enter")], say("help_enter_what")],
        [["N", `${shift} N`], say("help_next")],
        [["+", "−"], say("help_zoom")],
      ],
    ],
  ];
}

/** The help as an element; close(): what its button does. */
export function helpPage(say, close) {
  const body = make("div", { class: "dragtext_help_body" });
  for (const [title, rows] of sections(say)) {
    const list = make("dl", {});
    for (const [keys, what, more] of rows) {
      const term = make("dt", {});
      keys.forEach((key, n) => term.append(n ? " " : "", make("kbd", { text: key })));
      const told = make("dd", { text: what });
      if (more) told.append(make("small", { text: more }));
      list.append(term, told);
    }
    body.append(make("section", {}, make("h3", { text: say(title) }), list));
  }
  const button = make("button", {
    type: "button",
    class: "dragtext_button",
    "aria-label": say("close"),
    title: say("close"),
    html: icon("close"),
  });
  button.addEventListener("click", close);
  const head = make("div", { class: "dragtext_help_head" }, make("h2", { text: say("help_title") }), button);
  const attributes = {
    class: "dragtext_help",
    role: "dialog",
    "aria-label": say("help_title"),
    hidden: true,
    tabindex: -1,
  };
  return make("div", attributes, head, body);
}
