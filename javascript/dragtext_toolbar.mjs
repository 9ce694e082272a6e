// The stage's buttons and sliders, made from a table. No work at import.

import { make } from "./dragtext_dom.mjs";
import { icon } from "./dragtext_icons.mjs";

const TOOLS = [
  ["open"],
  ["undo", "redo"],
  ["drag", "move", "pin", "delete"],
  ["pick", "brush", "eraser", "rectangle", "lasso"],
  ["preview", "fit", "pixels", "help"],
];
const LAYER_ACTIONS = ["around", "invert", "clear"];
const KEYS = {
  open: "",
  undo: "Ctrl+Z",
  redo: "Ctrl+Shift+Z",
  drag: "D",
  move: "V",
  pin: "P",
  delete: "Del",
  pick: "O",
  brush: "B",
  eraser: "E",
  rectangle: "U",
  lasso: "L",
  preview: "R",
  fit: "Ctrl+0",
  pixels: "Ctrl+1",
  help: "H",
  invert: "I",
};

/** Tell of one of several whether it is the chosen one; only that one is reached by Tab, the others from it by arrows. */
function check(made, chosen) {
  made.setAttribute("aria-checked", String(chosen));
  made.tabIndex = chosen ? 0 : -1;
}

/** One of several buttons, as a group in which the arrow keys choose. */
function choice(label) {
  const group = make("div", { class: "dragtext_choice", role: "radiogroup", "aria-label": label });
  group.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const all = [...group.children];
    const at = all.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = all[(at + step + all.length) % all.length];
    next.focus();
    next.click();
  });
  return group;
}

/** The toolbar: `element`, and `show(state)` that makes it tell what is so. act(action, value): what was pressed. */
export class Toolbar {
  constructor(say, act) {
    this.say = say;
    this.act = act;
    this.buttons = new Map();
    this.element = make("div", { class: "dragtext_toolbar", role: "toolbar", "aria-label": say("tools") });
    const tools = make("div", { class: "dragtext_row" });
    for (const group of TOOLS) {
      tools.append(make("div", { class: "dragtext_group", role: "group" }, ...group.map((name) => this.button(name))));
    }
    this.element.append(tools, this.options());
  }

  button(name, { text = false } = {}) {
    const label = this.say(name);
    const help = this.say(`${name}_help`);
    const more = help.endsWith("_help") ? "" : help; // an unknown key is its own text
    const key = KEYS[name]
      ? ` (${KEYS[name].replace("Ctrl", this.say("key_ctrl")).replace("Shift", this.say("key_shift"))})`
      : "";
    const made = make("button", {
      type: "button",
      class: `dragtext_button${text ? " dragtext_texted" : ""}`,
      "data-action": name,
      "aria-label": label,
      title: `${label}${key}${more ? `\n${more}` : ""}`,
      html: icon(name) + (text ? `<span></span>` : ""),
    });
    if (text) made.querySelector("span").textContent = label;
    made.addEventListener("click", () => this.act(name));
    this.buttons.set(name, made);
    return made;
  }

  options() {
    const { say } = this;
    this.layers = choice(say("layers"));
    for (const name of ["region", "mask"]) {
      const made = make("button", {
        type: "button",
        class: "dragtext_button dragtext_texted",
        role: "radio",
        "data-layer": name,
        title: `${say(name)} (X)\n${say(`${name}_help`)}`,
        html: '<i class="dragtext_swatch"></i><span></span>',
      });
      made.querySelector("span").textContent = say(name);
      made.addEventListener("click", () => this.act("layer", name));
      this.layers.append(made);
    }
    this.follows = make("label", { class: "dragtext_follows", title: say("follows_help") });
    this.following = make("input", { type: "checkbox", "data-action": "follow" });
    this.following.addEventListener("change", () => this.act("follow", this.following.checked));
    this.follows.append(this.following, make("span", { text: say("follows") }));

    this.picking = choice(say("pick_what"));
    for (const name of ["object", "plus", "minus"]) {
      const label = say(`pick_${name}`);
      const made = make("button", {
        type: "button",
        class: "dragtext_button",
        role: "radio",
        "data-pick": name,
        "aria-label": label,
        title: label,
        html: icon(name),
      });
      made.addEventListener("click", () => this.act("pick_mode", name));
      this.picking.append(made);
    }
    // The size's slider runs by ratios: as fine for small brushes as for large ones.
    this.largest = 200;
    this.size = this.slider("size", (share) => Math.round(this.largest ** share));
    this.opacity = this.slider("opacity", (share) => share);
    const actions = LAYER_ACTIONS.map((name) => this.button(name, { text: name === "around" }));
    return make(
      "div",
      { class: "dragtext_row dragtext_options" },
      make("div", { class: "dragtext_group" }, this.layers, this.follows),
      make("div", { class: "dragtext_group", role: "group" }, ...actions),
      make("div", { class: "dragtext_group dragtext_sliders" }, this.picking, this.size.label, this.opacity.label),
    );
  }

  slider(name, meant) {
    const value = make("output", { class: "dragtext_value" });
    const input = make("input", { type: "range", min: 0, max: 1, step: 0.01, "data-action": name });
    input.addEventListener("input", () => this.act(name, meant(Number(input.value))));
    const label = make(
      "label",
      { class: "dragtext_slider" },
      make("span", { text: this.say(name) }),
      input,
      value,
    );
    return { label, input, value };
  }

  /**
   * state: {tool, layer, pickMode, canUndo, canRedo, chosen, hasPicture, hasDrags, hasLayer, maskAuto, hasRegion,
   * preview,
   * diameter, largest, opacity (0..1), enabled, sized, help}.
   */
  show(state) {
    const can = {
      open: state.enabled,
      undo: state.canUndo && state.enabled,
      redo: state.canRedo && state.enabled,
      delete: state.chosen && state.enabled,
      around: state.hasDrags && state.enabled,
      invert: state.hasPicture && state.enabled,
      clear: state.hasLayer && state.enabled,
      fit: state.hasPicture,
      pixels: state.hasPicture,
      help: true,
    };
    for (const [name, made] of this.buttons) {
      made.disabled = !(can[name] ?? (state.hasPicture && (state.enabled || name === "preview")));
      if (TOOLS[2].includes(name) || TOOLS[3].includes(name)) {
        if (name !== "delete") made.setAttribute("aria-pressed", String(state.tool === name));
      }
    }
    this.buttons.get("preview").setAttribute("aria-pressed", String(state.preview));
    this.buttons.get("help").setAttribute("aria-expanded", String(state.help));
    for (const made of this.layers.children) {
      check(made, made.dataset.layer === state.layer);
      made.disabled = !state.hasPicture;
    }
    this.follows.hidden = state.layer !== "mask";
    this.following.checked = state.maskAuto;
    this.following.disabled = !state.hasPicture || !state.enabled;
    this.picking.hidden = state.tool !== "pick";
    for (const made of this.picking.children) {
      check(made, made.dataset.pick === state.pickMode);
    }
    this.size.label.hidden = !state.sized;
    this.largest = state.largest;
    this.slide(this.size, Math.log(state.diameter) / Math.log(state.largest), `${state.diameter} px`);
    this.slide(this.opacity, state.opacity, `${Math.round(state.opacity * 100)} %`);
  }

  slide({ input, value }, share, text) {
    // A slider that is being pulled stays under the pointer.
    if (document.activeElement !== input || Math.abs(input.value - share) > 0.03) input.value = share;
    value.textContent = text;
    input.setAttribute("aria-valuetext", text);
  }
}
