// What edits have made: the one that is looked at, beside the picture or another one, gone on from, exported, deleted.
// No work at import.

import { Cards } from "./dragtext_cards.mjs";
import { make } from "./dragtext_dom.mjs";
import {
  copyRequest,
  copySnippet,
  fileOf,
  pathOf,
  saveBenchmark,
  saveFilm,
  savePicture,
  sendTo,
  TARGETS,
} from "./dragtext_exports.mjs";
import { ask, call, pictureOf } from "./dragtext_http.mjs";
import { drawCurves } from "./dragtext_plot.mjs";
import { outcomeText } from "./dragtext_run.mjs";
import { Strength } from "./dragtext_strength.mjs";

const VIEWS = ["result", "compare", "original"];
const SAME = 1e-6; // of v

/** The jobs that people look at: pictures that somebody asked for, oldest first. */
export function shownJobs(jobs) {
  return jobs.filter((job) => ["edit", "render"].includes(job.kind) && !job.quick && job.state === "done");
}

/** The panel under the canvas. */
export class Results {
  /**
   * stage: the canvas; tell(text, bad): the line of the page; reopen(edit): put an edit's picture and drags on the
   * canvas; onward(blob, name): open a picture to be dragged on; shown(id): what is looked at has changed, "" for the
   * picture itself; current(), image(): id and pixels of the picture on the canvas.
   */
  constructor(root, { say, stage, tell, reopen, onward, shown, current, image }) {
    Object.assign(this, { say, stage, tell, reopen, onward, shown, current, image });
    this.jobs = new Map();
    this.id = ""; // of the result that is looked at
    this.edit = ""; // of the edit that it is a point of
    this.against = ""; // of the result on the left of the divider
    this.rendered = null; // {id, v}: what there is of it in full quality
    this.view = VIEWS[0];
    this.turn = 0;
    this.panel = make("div", { class: "dragtext_after", hidden: true });
    const strip = make("div", { class: "dragtext_strip", role: "list", "aria-label": say("results"), hidden: true });
    root.append(this.panel, strip);
    this.cards = new Cards(strip, {
      say,
      open: (id) => this.attempt(() => this.select(id)),
      against: (id) => this.attempt(() => this.compareWith(id)),
      remove: (id) => this.attempt(() => this.remove(id)),
    });
    this.build();
  }

  build() {
    const { say } = this;
    this.views = VIEWS.map((name) =>
      make("button", {
        type: "button",
        "data-view": name,
        text: say(`view_${name}`),
        onclick: () => this.look(name),
      }),
    );
    this.divider = make("input", {
      type: "range",
      id: "dragtext_divider",
      min: 0,
      max: 1,
      step: 0.001,
      value: 0.5,
      "aria-label": say("divider"),
      oninput: () => this.compare(),
    });
    const strength = make("div", { class: "dragtext_v" });
    this.strength = new Strength(strength, {
      say,
      show: (picture) => this.put(picture),
      moved: () => this.moved(),
      failed: (message) => this.tell(message, true),
    });
    const views = make("div", { class: "dragtext_views", role: "group" }, ...this.views);
    this.plot = make("div", { class: "dragtext_plot", hidden: true });
    this.panel.append(
      make("div", { class: "dragtext_look" }, views, this.divider, strength),
      this.buttons(),
      this.plot,
    );
  }

  buttons() {
    this.keep = this.button("keep", () => this.keepPoint());
    this.curvesButton = this.button("plot", () => this.curves(), { "aria-expanded": "false" });
    this.targets = TARGETS.map((name) => this.button(`send_${name}`, () => this.atPoint((id) => sendTo(name, id))));
    this.send = this.menu("send", ...this.targets);
    return make(
      "div",
      { class: "dragtext_do" },
      this.button("onward", () => this.goOn(), { class: "dragtext_main_button" }),
      this.keep,
      this.button("download", () => this.atPoint(savePicture)),
      this.menu(
        "export",
        this.button("gif", () => this.film("gif")),
        this.button("mp4", () => this.film("mp4")),
        this.button("snippet", () => this.snippet()),
        this.button("request", () => copyRequest(this.edit).then(() => this.tell(this.say("copied_request")))),
        this.button("dragbench", () => this.benchmark("dragbench")),
        this.button("drag100", () => this.benchmark("drag100")),
      ),
      this.send,
      this.curvesButton,
      this.button("delete", () => this.remove(this.id), { class: "dragtext_quiet" }),
    );
  }

  button(key, action, more = {}) {
    return make("button", {
      type: "button",
      "data-do": key,
      text: this.say(`do_${key}`),
      title: this.say(`do_${key}_help`),
      onclick: () => this.attempt(action),
      ...more,
    });
  }

  menu(key, ...entries) {
    const list = make("div", { class: "dragtext_menu_list" }, ...entries);
    const head = make("summary", {
      text: this.say(`do_${key}`),
      title: this.say(`do_${key}_help`),
      "data-menu": key,
    });
    const whole = make("details", { class: "dragtext_menu" }, head, list);
    list.addEventListener("click", () => (whole.open = false));
    // Not every browser focuses a button that is pressed.
    whole.addEventListener("focusout", ({ relatedTarget: to }) => !to || whole.contains(to) || (whole.open = false));
    document.addEventListener("pointerdown", ({ target }) => whole.contains(target) || (whole.open = false));
    return whole;
  }

  /** Do what a button says; what goes wrong is a line. */
  async attempt(action) {
    try {
      await action();
    } catch (error) {
      this.tell(error.message, true);
    }
  }

  /** What the server has of this page. Returns all its jobs. */
  async refresh() {
    const jobs = await ask("edits");
    this.jobs = new Map(shownJobs(jobs).map((job) => [job.id, job]));
    if (this.id && !this.jobs.has(this.id)) this.hide();
    this.draw();
    return jobs;
  }

  draw() {
    this.cards.draw([...this.jobs.values()], this.id, this.against);
  }

  /** Look at a result. */
  async select(id) {
    const job = this.jobs.get(id);
    if (!job) return;
    if (job.picture && job.picture !== this.current()) await this.reopen(job.edit);
    const mine = ++this.turn;
    const picture = await pictureOf(pathOf(id, "/image"));
    const edited =
      job.edit === id || !this.jobs.has(job.edit) ? picture : await pictureOf(pathOf(job.edit, "/image"));
    if (mine !== this.turn) return;
    Object.assign(this, { id, edit: job.edit, picture, rendered: { id, v: job.v } });
    if (this.against === id) this.against = "";
    this.panel.hidden = false;
    this.plot.hidden = true;
    this.offerTargets();
    this.stage.endLive();
    this.strength.open({ id: job.edit, original: this.image(), edited, v: job.v });
    this.moved();
    this.look(VIEWS[0]);
    this.draw();
    this.tell(outcomeText(job, this.say));
    this.shown(id);
    this.strength.render();
  }

  /** The tabs of the host that take pictures; a page of its own has none. */
  offerTargets() {
    const there = window.dragtext_send?.targets() ?? [];
    for (const [number, name] of TARGETS.entries()) this.targets[number].hidden = !there.includes(name);
    this.send.hidden = !there.length;
  }

  /** Back to the picture itself. */
  hide() {
    if (!this.id) return;
    this.turn++;
    this.id = "";
    this.against = "";
    this.panel.hidden = true;
    this.strength.leave();
    this.stage.compare(null);
    this.stage.result(null);
    this.draw();
    this.shown("");
  }

  /** "result", "compare" or "original". */
  look(name) {
    this.view = name;
    for (const button of this.views) button.setAttribute("aria-pressed", String(button.dataset.view === name));
    this.divider.hidden = name !== "compare";
    this.put(this.picture);
  }

  /** Put a picture of this edit on the canvas, in the view that is chosen. */
  put(picture) {
    this.picture = picture;
    this.stage.result(this.view === "original" ? null : picture);
    this.compare();
  }

  compare() {
    const share = this.view === "compare" ? Number(this.divider.value) : null;
    this.stage.compare(share, this.against ? this.other : null);
  }

  /** Somebody pulls the divider on the canvas. */
  divide(share) {
    this.divider.value = share;
    this.compare();
  }

  /** Another result on the left of the divider; the same again, or the shown one: the original. */
  async compareWith(id) {
    if (!this.id) await this.select(id);
    this.against = id === this.id || id === this.against ? "" : id;
    this.other = this.against ? await pictureOf(pathOf(id, "/image")) : null;
    this.look("compare");
    this.draw();
  }

  /** The slider stands somewhere else: is there that point in full quality already? */
  moved() {
    const at = this.strength.point;
    this.keep.disabled = at.every((value, part) => Math.abs(value - this.rendered.v[part]) < SAME);
  }

  /** The id of a job whose picture is what the slider shows, in full quality; rendered, if need be, given to use. */
  async atPoint(use = () => {}) {
    const id = await this.wholePoint();
    if (id) await use(id);
    return id;
  }

  async wholePoint() {
    const [v, text] = this.strength.point;
    if (this.keep.disabled) return this.rendered.id;
    if (v === 1 && text === 1) return this.edit;
    this.tell(this.say("rendering_point", { v: v.toFixed(2) }));
    const made = await this.strength.rendered(v, text, true);
    if (!made) return "";
    this.rendered = { id: made.id, v: [v, text] };
    this.put(made.picture);
    this.moved();
    await this.refresh();
    return made.id;
  }

  async keepPoint() {
    const id = await this.atPoint();
    if (!id) return;
    this.id = id;
    this.draw();
    this.shown(id);
    this.tell(this.say("kept_point", { v: this.strength.point[0].toFixed(2) }));
  }

  goOn() {
    return this.atPoint(async (id) => this.onward(await fileOf(id), this.say("onward_name")));
  }

  async film(format) {
    this.tell(this.say("animating"));
    await saveFilm(this.edit, format);
    this.tell(this.say("saved_file"));
  }

  snippet() {
    return this.atPoint(async (id) => this.tell(this.say("copied_snippet", { name: await copySnippet(id) })));
  }

  async benchmark(format) {
    await saveBenchmark(this.edit, format);
    this.tell(this.say("saved_file"));
  }

  async curves() {
    if (this.plot.hidden) {
      const { distance, loss } = await ask(pathOf(this.edit, "/curve"));
      const known = [
        { name: this.say("plot_distance"), values: distance, unit: " px" },
        { name: this.say("plot_loss"), values: loss },
      ];
      drawCurves(this.plot, known, { height: 90 });
      if (this.plot.hidden) this.tell(this.say("plot_nothing"));
    } else {
      this.plot.hidden = true;
    }
    this.curvesButton.setAttribute("aria-expanded", String(!this.plot.hidden));
  }

  async remove(id) {
    await call(pathOf(id), { method: "DELETE" });
    if (id === this.id) this.hide();
    await this.refresh();
    this.tell(this.say("deleted_result"));
  }
}
