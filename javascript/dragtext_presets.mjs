// Settings under a name, kept by the server: chosen, saved, deleted, and those that the tab begins with.
// No work at import.

import { make } from "./dragtext_dom.mjs";
import { ask, send } from "./dragtext_http.mjs";

const BEGINNING = "default"; // the preset that the tab begins with
const NOTHING = "\u0000"; // no preset has this name
const LONGEST = 60; // letters of a name

export class Presets {
  /** root: what they are put into; given(): {settings} of the form; use(settings): put them into it. */
  constructor(root, { say, tell, given, use }) {
    Object.assign(this, { say, tell, given, use });
    this.known = {};
    this.list = make("select", {
      id: "dragtext_preset",
      "aria-label": say("presets"),
      onchange: () => this.choose(),
    });
    this.name = make("input", {
      type: "text",
      maxlength: LONGEST,
      placeholder: say("preset_name"),
      "aria-label": say("preset_name"),
    });
    const submit = make("button", { type: "submit", class: "dragtext_small", text: say("preset_save") });
    const form = make("form", { class: "dragtext_preset_new", hidden: true }, this.name, submit);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.hidden = true;
      this.save(this.name.value.trim());
    });
    this.deleter = this.button("delete", say("preset_delete"), () => this.forget());
    const saver = this.button("save", say("preset_save"), () => {
      form.hidden = !form.hidden;
      if (!form.hidden) this.name.focus();
    });
    const beginner = this.button("begin", "★", () => this.save(BEGINNING));
    root.append(make("div", { class: "dragtext_presets" }, this.list, saver, this.deleter, beginner), form);
  }

  button(key, text, action) {
    const help = this.say(`preset_${key}_help`);
    const given = {
      type: "button",
      class: "dragtext_small",
      "data-preset": key,
      text,
      title: help,
      "aria-label": help,
    };
    return make("button", { ...given, onclick: action });
  }

  /** The settings that the tab begins with, undefined where nobody chose any. */
  get beginning() {
    return this.known[BEGINNING];
  }

  async load(chosen = "") {
    try {
      this.known = await ask("presets");
    } catch {
      this.known = {};
    }
    const names = Object.keys(this.known).sort((one, other) => (other === BEGINNING) - (one === BEGINNING));
    this.list.replaceChildren(
      make("option", { value: "", text: this.say("presets") }),
      make("option", { value: NOTHING, text: this.say("preset_none") }),
      ...names.map((name) => make("option", { value: name, text: this.title(name) })),
    );
    this.list.value = chosen in this.known ? chosen : "";
    this.deleter.disabled = !(this.list.value in this.known);
  }

  title(name) {
    return name === BEGINNING ? this.say("preset_default") : name;
  }

  async choose() {
    const name = this.list.value;
    this.deleter.disabled = !(name in this.known);
    if (name) await this.use(this.known[name] ?? {});
  }

  async save(name) {
    if (!name) return;
    await this.attempt(async () => {
      const { settings } = await this.given();
      await send(`presets/${encodeURIComponent(name)}`, { settings }, "PUT");
      await this.load(name);
      this.tell(this.say(name === BEGINNING ? "preset_begins" : "preset_saved", { name }));
    });
  }

  async forget() {
    const name = this.list.value;
    await this.attempt(async () => {
      await send(`presets/${encodeURIComponent(name)}`, {}, "DELETE");
      await this.load();
      this.tell(this.say("preset_deleted", { name: this.title(name) }));
    });
  }

  async attempt(action) {
    try {
      await action();
    } catch (error) {
      this.tell(error.message, true);
    }
  }
}
