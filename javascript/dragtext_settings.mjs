// The form beside the canvas: gradio's components, with sliders, plain words and a search made from the list of
// settings that lies in the page; its values, and other values into it. No work at import.

import { find, make, settled } from "./dragtext_dom.mjs";
import { ask, send } from "./dragtext_http.mjs";
import { Presets } from "./dragtext_presets.mjs";
import { hasSlider, scaleOf, usual } from "./dragtext_scale.mjs";
import { settingHelp, settingLabel } from "./dragtext_words_settings.mjs";
import { timeText } from "./dragtext_run.mjs";

const UNCHOSEN = ["by method", "recommended", "", null, undefined];
const KEY = "dragtext_form"; // what the form held, for a reload
const LONGEST_FILL = 10_000; // milliseconds; a server that has gone says nothing
const SWITCHES = { on: true, off: false };

/** What of the components' values somebody chose, as the server's form_values has it. */
export function chosenSettings(infos, values) {
  const chosen = {};
  for (const [number, info] of infos.entries()) {
    let value = values[number];
    if (typeof value === "string") value = value.trim();
    if (UNCHOSEN.includes(value) || (value === info.default && info.name !== "method")) continue;
    if (info.kind === "bool" && info.default === null) value = SWITCHES[value];
    if (["int", "float"].includes(info.kind) && Number.isFinite(Number(value))) value = Number(value);
    if (value !== undefined) chosen[info.name] = value;
  }
  return chosen;
}

/**
 * What of a model's own settings an edit will take, by the rule of the SDK's with_recommended: they suit one method,
 * and whoever sets anything for a loop gets a loop.
 */
export function suited(recommended, chosen, infos) {
  if (chosen.method !== undefined && chosen.method !== recommended.method) return {};
  const wanted = { ...recommended };
  const loop = chosen.start === "none" || infos.some(({ name, loop }) => loop && name in chosen);
  if (recommended.method === "warp" && chosen.method === undefined && loop) {
    delete wanted.method;
    delete wanted.repaint;
    wanted.start ??= "warp";
  }
  return wanted;
}

/** Whether a search finds a setting: every word of it in the name, the label or the help. */
export function matches(query, ...texts) {
  const all = texts.join(" ").toLowerCase();
  return query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

const gigabytes = (megabytes) => (megabytes / 1024).toFixed(1);

/** What is done, or that nothing helps, where an edit needs more memory than there is; else nothing. */
export function memoryText({ need_mb: need, room_mb: room, means = {}, fits }, say) {
  if (!Number.isFinite(need) || !Number.isFinite(room) || need <= room) return "";
  const done = Object.entries(means).map(([name, value]) => say(`means_${name}`, { value }));
  const numbers = { need: gigabytes(need), room: gigabytes(room) };
  if (!fits) return say("expected_too_much", numbers);
  return say("expected_need", { ...numbers, means: done.join(", ") });
}

/** Put a text into a gradio text box as typing would. */
function type(box, text) {
  box.value = text;
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

export class Form {
  /** language: of the texts; picture(): id of the picture on the canvas; changed(told): somebody changed something. */
  constructor({ say, language, tell, picture, changed = () => {} }) {
    Object.assign(this, { say, language, tell, picture, changed });
    this.root = find("settings");
    this.infos = JSON.parse(this.root.dataset.settings);
    this.recommended = {};
    this.waiting = [];
    this.fills = [];
    this.last = "";
    this.ends = new Map();
    this.name();
    for (const info of this.infos) this.decorate(info);
    this.presets = new Presets(this.root, {
      say,
      tell,
      given: () => this.given(),
      use: (settings) => this.fill({ settings }),
    });
    this.addSearch();
    const news = settled(() => this.news(), 400);
    for (const kind of ["input", "change", "focusout", "pointerup", "keyup"])
      find("side").addEventListener(kind, news);
  }

  // Values.

  /** {prompt, settings}: what the form holds, the settings without what was left open. */
  given() {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      find("given").click();
    });
  }

  /** gradio has handed over the components' values. */
  hear([prompt, ...values]) {
    const told = { prompt: prompt ?? "", settings: chosenSettings(this.infos, values) };
    for (const resolve of this.waiting.splice(0)) resolve(told);
  }

  /** Put settings, and a prompt where there is one, into the form. */
  fill(told) {
    const settings = told.settings;
    const prompt = find("prompt")?.querySelector("textarea");
    if (told.prompt !== undefined && prompt) type(prompt, told.prompt);
    if (settings === undefined) return this.news();
    return new Promise((resolve) => {
      this.wanted = JSON.stringify({ settings });
      this.fills.push(resolve);
      setTimeout(resolve, LONGEST_FILL);
      find("fill").click();
    }).then(() => this.news());
  }

  /** The form is filled. */
  filled() {
    for (const resolve of this.fills.splice(0)) resolve();
  }

  /** Something may have changed. */
  async news() {
    const told = await this.given();
    const text = JSON.stringify(told);
    this.draw(told.settings);
    if (text === this.last) return;
    this.last = text;
    sessionStorage.setItem(KEY, text);
    this.changed(told);
    await this.expect();
  }

  /** What the form held before a reload, else the preset that somebody begins with. */
  async begin() {
    const kept = sessionStorage.getItem(KEY);
    await this.presets.load();
    if (kept) await this.fill(JSON.parse(kept));
    else if (this.presets.beginning) await this.fill({ settings: this.presets.beginning });
    else await this.news();
  }

  // What an edit will take.

  /** Expected time and memory of an edit with these settings. */
  async expect() {
    const place = find("expected");
    const picture = this.picture();
    if (!place) return;
    const { settings = {} } = JSON.parse(this.last || "{}");
    const numbers = this.infos.filter(({ kind, name }) => ["int", "float"].includes(kind) && name in settings);
    let told = {};
    try {
      if (picture && numbers.every(({ name }) => Number.isFinite(settings[name]))) {
        told = await send("expectation", { picture, settings });
      }
    } catch {
      // What cannot be said is not said.
    }
    const parts = [];
    if (Number.isFinite(told.seconds))
      parts.push(this.say("expected_time", { time: timeText(told.seconds, this.say) }));
    if (Number.isFinite(told.memory_mb))
      parts.push(this.say("expected_memory", { memory: gigabytes(told.memory_mb) }));
    const scarce = memoryText(told, this.say);
    if (scarce) parts.push(scarce);
    place.textContent = parts.join(" · ");
  }

  /** The model's own settings for these drags, or for any; they stand where nothing else was chosen. */
  async recommend(drags) {
    try {
      this.recommended = await ask(
        `recommended${drags ? `?drags=${encodeURIComponent(JSON.stringify(drags))}` : ""}`,
      );
    } catch {
      this.recommended = {};
    }
    this.draw(JSON.parse(this.last || "{}").settings ?? {});
  }

  // Words, sliders, search.

  /** Our words in gradio's components. */
  name() {
    const { say } = this;
    const label = (id, text) => {
      const place = find(id)?.querySelector("[data-testid='block-info']");
      if (place) place.textContent = text;
    };
    label("prompt", say("prompt"));
    find("prompt")?.querySelector("textarea")?.setAttribute("placeholder", say("prompt_example"));
    for (const [id, key] of [
      ["drag", "button_drag"],
      ["interrupt", "button_interrupt"],
      ["use", "button_use"],
      ["report", "button_report"],
      ["clear_cache", "button_clear_cache"],
    ]) {
      const button = find(id);
      if (!button) continue;
      button.textContent = say(key);
      button.title = say(`${key}_help`);
    }
    for (const [id, key] of [
      ["advanced", "advanced"],
      ["infotext_box", "infotext"],
    ]) {
      const head = find(id)?.querySelector(".label-wrap > span");
      if (head) head.textContent = say(key);
    }
    const help = find("infotext")?.querySelector("label > div");
    if (help && !help.querySelector("textarea")) help.textContent = say("infotext_help");
  }

  decorate(info) {
    const place = find(`setting_${info.name}`);
    if (!place) return;
    const label = settingLabel(info, this.language);
    const help = settingHelp(info, this.language);
    const name = place.querySelector("[data-testid='block-info']") ?? place.querySelector("label > span");
    if (name) name.textContent = label;
    const text = [...place.querySelectorAll("div")].find((div) => div.textContent.trim() === info.description.trim());
    if (text) {
      text.textContent = help;
      text.classList.add("dragtext_help");
    }
    place.title = info.basic ? help : "";
    place.classList.toggle("dragtext_basic", info.basic);
    place.classList.add(`dragtext_kind_${info.kind}`);
    const box = place.querySelector("input[data-testid='textbox']");
    if (!box) {
      if (info.name === "method") this.method = place.appendChild(make("div", { class: "dragtext_help" }));
      return;
    }
    if (info.kind === "text") return; // gradio's own box, as wide as the form
    box.setAttribute("inputmode", info.kind === "int" ? "numeric" : "decimal");
    const reset = make("button", {
      type: "button",
      class: "dragtext_reset",
      text: "↺",
      title: this.say("reset"),
      "aria-label": `${this.say("reset")}: ${label}`,
      onclick: () => type(box, ""),
    });
    const row = make("div", { class: "dragtext_number" });
    if (hasSlider(info)) {
      const scale = scaleOf(info);
      const slider = make("input", { type: "range", min: 0, max: scale.positions, step: 1, "aria-label": label });
      slider.addEventListener("input", () => type(box, String(scale.toValue(Number(slider.value)))));
      this.ends.set(info.name, { info, box, slider, scale, place });
      row.append(slider);
    } else {
      this.ends.set(info.name, { info, box, place });
      if (info.name === "seed") row.append(this.dice(box));
    }
    // gradio's box moves into our row; it stays gradio's.
    box.replaceWith(row);
    row.append(box, reset);
  }

  dice(box) {
    return make("button", {
      type: "button",
      class: "dragtext_small",
      text: this.say("dice"),
      title: this.say("dice_help"),
      onclick: () => type(box, String(Math.floor(Math.random() * 2 ** 31))),
    });
  }

  /** Sliders and what stands in empty boxes follow the values. */
  draw(settings) {
    const own = suited(this.recommended, settings, this.infos);
    const method = settings.method ?? own.method ?? "gooddrag";
    for (const [name, { info, box, slider, scale, place }] of this.ends) {
      const open = settings[name] === undefined;
      const value = own[name] ?? usual(info, method);
      place.classList.toggle("dragtext_open", open);
      box.placeholder = value === null ? this.say("automatic") : String(value);
      if (!slider || (document.activeElement === slider && !open)) continue;
      slider.value = scale.toPosition((open ? value : Number(settings[name])) ?? info.least);
    }
    if (this.method) this.method.textContent = this.say(`method_${method}`);
  }

  addSearch() {
    const head = find("advanced")?.querySelector(".form")?.parentElement;
    if (!head) return;
    const box = make("input", {
      type: "search",
      class: "dragtext_search",
      placeholder: this.say("search"),
      "aria-label": this.say("search"),
    });
    const nothing = make("p", { class: "dragtext_help", text: this.say("search_nothing"), hidden: true });
    box.addEventListener("input", (event) => {
      event.stopPropagation();
      let found = 0;
      for (const info of this.infos.filter((one) => !one.basic)) {
        const shown = matches(
          box.value,
          info.name,
          settingLabel(info, this.language),
          settingHelp(info, this.language),
        );
        find(`setting_${info.name}`)?.classList.toggle("dragtext_hidden", !shown);
        found += shown ? 1 : 0;
      }
      nothing.hidden = found > 0;
    });
    head.prepend(box, nothing);
  }
}
