// How much of an edit: a slider over the strip of rendered points, scrubbed without waiting. No work at import.

import { make } from "./dragtext_dom.mjs";
import { call, pictureOf, send } from "./dragtext_http.mjs";
import { followJob } from "./dragtext_run.mjs";

export const LEAST = -0.5;
export const MOST = 2;
const STEP = 0.125;
const HUNDRED = 100;
const KEPT = 3; // edits whose strips stay in memory

/** The points of the strip, coarse ones first, so that scrubbing works early; 0 and 1 are known without it. */
export function stripPoints() {
  const all = [];
  for (let v = LEAST; v <= MOST; v += STEP) all.push(v);
  const coarseness = (v) => [1, 0.5, 0.25, 0.125].findIndex((grid) => Number.isInteger((v - LEAST) / grid));
  return all
    .filter((v) => v !== 0 && v !== 1)
    .sort((a, b) => coarseness(a) - coarseness(b) || Math.abs(a - 1) - Math.abs(b - 1));
}

/** The known point that lies next to v. known: a Map of v to picture. */
export function nearest(known, v) {
  let best = null;
  for (const point of known.keys()) if (best === null || Math.abs(point - v) < Math.abs(best - v)) best = point;
  return best;
}

/** The slider. One edit at a time. */
export class Strength {
  /** show(image): on the canvas; moved(v, text): the point that is asked for; failed(message). */
  constructor(root, { say, show, moved, failed }) {
    Object.assign(this, { say, show, moved, failed, turn: 0, frames: new Map(), kept: new Map(), strip: "" });
    this.slider = make("input", {
      type: "range",
      id: "dragtext_v",
      min: LEAST,
      max: MOST,
      step: 0.01,
      "aria-label": say("strength_of_edit"),
      oninput: () => this.scrub(),
    });
    this.text = make("input", {
      type: "range",
      id: "dragtext_v_text",
      min: LEAST,
      max: MOST,
      step: 0.01,
      "aria-label": say("strength_text"),
      onchange: () => this.apart(),
      oninput: () => this.label(),
    });
    this.slider.addEventListener("change", () => this.textRow.hidden || this.apart());
    this.value = make("output", { class: "dragtext_v_value", for: "dragtext_v" });
    this.ready = make("div", { class: "dragtext_v_ready" });
    this.split = make("button", {
      type: "button",
      class: "dragtext_small",
      text: say("strength_apart"),
      title: say("strength_apart_help"),
      "aria-pressed": "false",
      onclick: () => this.setApart(this.textRow.hidden),
    });
    const mark = (v, word) => {
      const place = `left:${((v - LEAST) / (MOST - LEAST)) * HUNDRED}%`;
      return make("button", {
        type: "button",
        class: "dragtext_mark",
        style: place,
        text: word,
        onclick: () => this.go(v),
      });
    };
    this.textRow = make(
      "div",
      { class: "dragtext_v_text", hidden: true },
      make("span", { text: say("strength_text") }),
      this.text,
    );
    root.append(
      make(
        "div",
        { class: "dragtext_v_head" },
        make("span", { text: say("strength_of_edit") }),
        this.value,
        this.split,
      ),
      make(
        "div",
        { class: "dragtext_v_track" },
        this.ready,
        this.slider,
        mark(0, say("mark_original")),
        mark(1, say("mark_edit")),
        mark(2, say("mark_twice")),
      ),
      this.textRow,
    );
  }

  /** Begin with a finished edit. original, edited: the pictures at 0 and 1; v: what is shown now. */
  open({ id, original, edited, v = [1, 1] }) {
    this.leave();
    this.id = id;
    this.frames = this.kept.get(id) ?? new Map();
    this.frames.set(0, original).set(1, edited);
    this.kept.delete(id);
    this.kept.set(id, this.frames);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    this.setApart(v[0] !== v[1]);
    this.slider.value = v[0];
    this.text.value = v[1];
    this.label();
    this.paint();
  }

  /** Ask for what the strip still lacks, in the background. */
  async render() {
    const { id, turn, frames } = this;
    const points = stripPoints().filter((v) => !frames.has(v));
    if (!id || !points.length || this.strip) return;
    try {
      const job = await send(`edits/${encodeURIComponent(id)}/strip`, { v: points });
      if (turn !== this.turn) return void this.stop(job.id);
      this.strip = job.id;
      let seen = 0;
      await followJob(job.id, {
        current: () => turn === this.turn,
        show: async (state) => {
          for (const ready = state.frames ?? 0; seen < ready && turn === this.turn; seen++) {
            frames.set(points[seen], await pictureOf(`edits/${encodeURIComponent(job.id)}/frames/${seen}`));
            if (turn === this.turn) this.paint();
          }
        },
      });
    } catch {
      // Scrubbing then jumps between what is there.
    }
    if (turn === this.turn) this.strip = "";
  }

  /** Another edit, or none: what is still to be rendered of this one is not. */
  leave() {
    this.turn++;
    if (this.strip) this.stop(this.strip);
    this.strip = "";
    this.id = "";
  }

  stop(job) {
    call(`edits/${encodeURIComponent(job)}/interrupt`, { method: "POST" }).catch(() => {});
  }

  /** [of the image, of the text] */
  get point() {
    const v = Number(this.slider.value);
    return [v, this.textRow.hidden ? v : Number(this.text.value)];
  }

  go(v) {
    this.slider.value = v;
    this.scrub();
  }

  scrub() {
    this.label();
    if (this.textRow.hidden) {
      const point = nearest(this.frames, this.point[0]);
      if (point !== null) this.show(this.frames.get(point));
    }
    this.moved(...this.point);
  }

  setApart(apart) {
    this.textRow.hidden = !apart;
    this.split.setAttribute("aria-pressed", String(apart));
    if (apart) this.text.value = this.slider.value;
    this.label();
  }

  /** Image and text separately lie on no strip: one picture is rendered when the slider is let go. */
  async apart() {
    const mine = this.turn;
    const [v, text] = this.point;
    try {
      const image = await this.rendered(v, text, false);
      if (mine !== this.turn || !image) return;
      this.show(image.picture);
      this.moved(v, text);
    } catch (error) {
      this.failed(error.message);
    }
  }

  /** A point of the shown edit in full quality: {id, picture} of its job; null where nobody waits any more. */
  async rendered(v, text, keep) {
    const mine = this.turn;
    const job = await send(`edits/${encodeURIComponent(this.id)}/render`, { v, text, wait: false, save: keep });
    const last = await followJob(job.id, { show: () => {}, current: () => mine === this.turn });
    if (!last) return null;
    if (last.state !== "done") throw new Error(last.text);
    const path = `edits/${encodeURIComponent(job.id)}`;
    const picture = await pictureOf(`${path}/image`);
    if (!keep) await call(path, { method: "DELETE" });
    return { id: job.id, picture };
  }

  label() {
    const [v, text] = this.point;
    this.value.textContent = v === text ? v.toFixed(2) : `${v.toFixed(2)} / ${text.toFixed(2)}`;
  }

  /** Where the strip is ready, as ticks under the slider. */
  paint() {
    this.ready.replaceChildren(
      ...[...this.frames.keys()].map((v) => {
        return make("i", { style: `left:${((v - LEAST) / (MOST - LEAST)) * HUNDRED}%` });
      }),
    );
  }
}
