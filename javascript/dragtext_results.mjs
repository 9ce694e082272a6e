// What edits have made: the strip of results, the one that is looked at, compared, gone on from, exported, deleted.
// No work at import.

import { copy, fileName, make, save } from "./dragtext_dom.mjs";
import { ask, call, pictureOf } from "./dragtext_http.mjs";
import { drawCurves } from "./dragtext_plot.mjs";
import { Strength } from "./dragtext_strength.mjs";

const THUMB = 144; // pixels of a picture in the strip
const path = (id, rest = "") => `edits/${encodeURIComponent(id)}${rest}`;

/** The jobs that people look at: pictures that somebody asked for, oldest first. */
export function shownJobs(jobs) {
  return jobs.filter((job) => ["edit", "render"].includes(job.kind) && !job.quick && job.state === "done");
}

/** The panel under the canvas. */
export class Results {
  /**
   * stage; say; tell(text, bad); original(id): the picture that an edit began from, for the canvas; reopen(id): put an
   * edit's picture and drags on the canvas; onward(blob, name): open a picture to be dragged on; shown(id): what is
   * looked at has changed, "" for the picture itself; current(): id of the picture on the canvas.
   */
  constructor(root, { say, stage, tell, reopen, onward, shown, current, image }) {
    Object.assign(this, { say, stage, tell, reopen, onward, shown, current, image });
    this.jobs = new Map();
    this.thumbs = new Map();
    this.id = "";
    this.turn = 0;
    this.against = "";
    this.panel = make("div", { class: "dragtext_after", hidden: true });
    this.strip = make("div", { class: "dragtext_strip", role: "list", "aria-label": say("results") });
    root.append(this.panel, this.strip);
    this.build();
  }

  build() {
    const { say } = this;
    const button = (key, action, more = {}) =>
      make("button", { type: "button", "data-do": key, text: say(`do_${key}`), title: say(`do_${key}_help`), onclick: () => this.attempt(action), ...more });
    const menu = (key, ...entries) => {
      const list = make("div", { class: "dragtext_menu_list", role: "menu" }, ...entries);
      const head = make("summary", { text: say(`do_${key}`), "data-menu": key });
      const whole = make("details", { class: "dragtext_menu" }, head, list);
      list.addEventListener("click", () => (whole.open = false));
      whole.addEventListener("focusout", (event) => whole.contains(event.relatedTarget) || (whole.open = false));
      return whole;
    };
    this.views = ["result", "compare", "original"].map((name) =>
      make("button", { type: "button", "data-view": name, text: say(`view_${name}`), onclick: () => this.look(name) }),
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
    this.keep = button("keep", () => this.keepPoint());
    this.send = menu(
      "send",
      ...["img2img", "inpaint", "extras"].map((name) => button(`send_${name}`, () => this.sendTo(name), { role: "menuitem" })),
    );
    this.plot = make("div", { class: "dragtext_plot", hidden: true });
    const item = (key, action) => button(key, action, { role: "menuitem" });
    this.panel.append(
      make(
        "div",
        { class: "dragtext_look" },
        make("div", { class: "dragtext_views", role: "group" }, ...this.views),
        this.divider,
        strength,
      ),
      make(
        "div",
        { class: "dragtext_do" },
        button("onward", () => this.goOn(), { class: "dragtext_main_button" }),
        this.keep,
        button("download", () => this.download()),
        menu(
          "export",
          item("gif", () => this.animation("gif")),
          item("mp4", () => this.animation("mp4")),
          item("snippet", () => this.snippet()),
          item("request", () => this.request()),
          item("dragbench", () => this.exported("dragbench")),
          item("drag100", () => this.exported("drag100")),
        ),
        this.send,
        button("plot", () => this.curves(), { "aria-expanded": "false" }),
        button("delete", () => this.remove(this.id), { class: "dragtext_quiet" }),
      ),
      this.plot,
    );
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
    for (const id of this.thumbs.keys()) if (!this.jobs.has(id)) this.thumbs.delete(id);
    if (this.id && !this.jobs.has(this.id)) this.hide();
    this.draw();
    return jobs;
  }

  draw() {
    this.strip.hidden = this.jobs.size === 0;
    const edits = [...this.jobs.values()].filter((job) => job.kind === "edit").map((job) => job.id);
    const cards = [...this.jobs.values()].map((job) => this.card(job, edits.indexOf(job.edit) + 1));
    this.strip.replaceChildren(...cards.reverse());
  }

  card(job, number) {
    const { say } = this;
    const name = job.kind === "render" ? say("card_render", { number, v: job.v[0] }) : say("card_edit", { number });
    if (!this.thumbs.has(job.id)) {
      const picture = make("canvas", { width: THUMB, height: THUMB });
      this.thumbs.set(job.id, picture);
      this.thumb(job.id, picture);
    }
    const open = make(
      "button",
      { type: "button", class: "dragtext_card_open", title: job.text, "aria-label": name, onclick: () => this.attempt(() => this.select(job.id)) },
      this.thumbs.get(job.id),
      make("span", { text: name }),
    );
    const against = make("button", {
      type: "button",
      class: "dragtext_card_against",
      text: "◐",
      title: say("card_against"),
      "aria-label": say("card_against"),
      "aria-pressed": String(this.against === job.id),
      onclick: () => this.attempt(() => this.compareWith(job.id)),
    });
    const gone = make("button", {
      type: "button",
      class: "dragtext_card_delete",
      text: "×",
      title: say("do_delete_help"),
      "aria-label": say("do_delete_help"),
      onclick: () => this.attempt(() => this.remove(job.id)),
    });
    const mood = `dragtext_card${job.id === this.id ? " dragtext_chosen" : ""}${job.id === this.against ? " dragtext_other" : ""}`;
    return make("div", { class: mood, role: "listitem", "data-job": job.id }, open, against, gone);
  }

  async thumb(id, canvas) {
    try {
      const picture = await pictureOf(path(id, "/image"));
      const scale = Math.max(THUMB / picture.width, THUMB / picture.height);
      const [width, height] = [picture.width * scale, picture.height * scale];
      canvas.getContext("2d").drawImage(picture, (THUMB - width) / 2, (THUMB - height) / 2, width, height);
      picture.close();
    } catch {
      this.thumbs.delete(id); // it is asked for again with the next drawing
    }
  }

  /** Look at a result. */
  async select(id) {
    const job = this.jobs.get(id);
    if (!job) return;
    if (job.picture && job.picture !== this.current()) await this.reopen(job.edit);
    const mine = ++this.turn;
    const picture = await pictureOf(path(id, "/image"));
    const source = job.edit;
    const edited = source === id ? picture : this.jobs.has(source) ? await pictureOf(path(source, "/image")) : null;
    if (mine !== this.turn) return;
    Object.assign(this, { id, edit: source, picture, rendered: { id, v: job.v } });
    this.against = this.against === id ? "" : this.against;
    this.plot.hidden = true;
    this.panel.hidden = false;
    this.stage.endLive();
    this.strength.open({ id: source, original: this.image(), edited: edited ?? picture, v: job.v });
    this.moved();
    this.look("result");
    this.draw();
    this.send.hidden = !window.dragtext_send;
    this.shown(id);
    this.strength.render();
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
    if (this.view !== "compare") return this.stage.compare(null);
    const share = Number(this.divider.value);
    return this.stage.compare(share, this.other ?? null);
  }

  /** Somebody pulls the divider on the canvas. */
  divide(share) {
    this.divider.value = share;
    this.compare();
  }

  /** Another result on the left of the divider; the same again: the original. */
  async compareWith(id) {
    if (!this.id || id === this.id) {
      this.against = "";
      this.other = null;
      await this.select(id);
      this.look("compare");
      return;
    }
    this.against = this.against === id ? "" : id;
    this.other = this.against ? await pictureOf(path(id, "/image")) : null;
    this.look("compare");
    this.draw();
  }

  /** The slider stands somewhere else: what is in full quality there already? */
  moved() {
    const [v, text] = this.strength.point;
    const whole = this.rendered.v;
    this.keep.disabled = Math.abs(v - whole[0]) < 1e-6 && Math.abs(text - whole[1]) < 1e-6;
  }

  /** The id of a job whose picture is what the slider shows, rendered in full quality if need be. */
  async atPoint() {
    const [v, text] = this.strength.point;
    if (this.keep.disabled) return this.rendered.id;
    if (v === 1 && text === 1) return this.edit;
    this.tell(this.say("rendering_point", { v: v.toFixed(2) }));
    const made = await this.strength.rendered(v, text, true);
    if (!made) return null;
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

  async file(id) {
    const answer = await call(path(id, "/image"));
    return answer.blob();
  }

  async goOn() {
    const id = await this.atPoint();
    if (!id) return;
    const blob = await this.file(id);
    await this.onward(blob, this.say("onward_name"));
  }

  async download() {
    const id = await this.atPoint();
    if (id) save(await this.file(id), `dragtext-${id.slice(0, 8)}.png`);
  }

  async animation(format) {
    this.tell(this.say("animating"));
    const answer = await call(path(this.edit, `/animation?format=${format}`));
    save(await answer.blob(), fileName(answer, `dragtext-${this.edit.slice(0, 8)}.${format}`));
    this.tell(this.say("saved_file"));
  }

  /** The program into the clipboard, and the picture that it reads as a file. */
  async snippet() {
    const id = await this.atPoint();
    if (!id) return;
    await copy(await (await call(path(id, "/snippet"))).text());
    const { picture } = await ask(path(this.edit, "/document"));
    const answer = await call(`pictures/${encodeURIComponent(picture.id)}/file`);
    const name = fileName(answer, "picture.png");
    save(await answer.blob(), name);
    this.tell(this.say("copied_snippet", { name }));
  }

  async request() {
    const { request } = await ask(path(this.edit, "/result"));
    await copy(JSON.stringify(request, null, 2));
    this.tell(this.say("copied_request"));
  }

  async exported(format) {
    const told = await ask(path(this.edit, "/document"));
    const body = { format, picture: told.picture.id, prompt: told.prompt, drags: told.drags, mask: told.mask, settings: told.settings };
    const answer = await call("export", { method: "POST", body: JSON.stringify(body), type: "application/json" });
    save(await answer.blob(), fileName(answer, `${format}.zip`));
    this.tell(this.say("saved_file"));
  }

  async sendTo(target) {
    const id = await this.atPoint();
    if (!id) return;
    const { mask } = await ask(path(this.edit, "/document"));
    const maskFile = mask ? await (await fetch(mask)).blob() : null;
    const { infotext } = await ask(path(id, "/result"));
    await window.dragtext_send.to(target, await this.file(id), maskFile, infotext);
  }

  async curves() {
    const button = this.panel.querySelector('[data-do="plot"]');
    const open = this.plot.hidden;
    button.setAttribute("aria-expanded", String(open));
    if (!open) {
      this.plot.hidden = true;
      return;
    }
    const { distance, loss } = await ask(path(this.edit, "/curve"));
    const known = [
      { name: this.say("plot_distance"), values: distance, unit: " px" },
      { name: this.say("plot_loss"), values: loss },
    ];
    drawCurves(this.plot, known, { height: 90 });
    if (this.plot.hidden) {
      button.setAttribute("aria-expanded", "false");
      this.tell(this.say("plot_nothing"));
    }
  }

  async remove(id) {
    await call(path(id), { method: "DELETE" });
    if (id === this.id) this.hide();
    await this.refresh();
    this.tell(this.say("deleted_result"));
  }
}
