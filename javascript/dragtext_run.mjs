// A running edit as people watch it: phase, bar, time left, place in the queue, the curve of the distance that is left,
// and on the canvas the handles that move over the preview. No work at import.

import { ask, call, pictureOf } from "./dragtext_http.mjs";
import { follow, readEvents } from "./dragtext_follow.mjs";
import { make, pause } from "./dragtext_dom.mjs";
import { drawCurves } from "./dragtext_plot.mjs";

const PHASES = {
  "learning the image": "identity",
  inverting: "invert",
  dragging: "drag",
  rendering: "denoise",
  "rendering the sweep": "denoise",
};
// What each phase is of the whole bar, roughly; the bar must never go back.
const SHARES = {
  waiting: [0, 0],
  begin: [0, 0],
  identity: [0, 0.3],
  invert: [0.3, 0.45],
  drag: [0.45, 0.85],
  denoise: [0.85, 1],
};

/** Which phase a state is in: the name of a text of ours. */
export function phaseOf(state) {
  if (state.state === "queued") return "waiting";
  return PHASES[state.phase] ?? "begin";
}

/** How much of the bar is full, 0 to 1. began: the distance at the first step of the drag. */
export function progressOf(state, began = null) {
  const [from, to] = SHARES[phaseOf(state)];
  let share = state.total ? Math.min(state.step / state.total, 1) : 0;
  // A drag ends when its points arrive, long before the most steps.
  if (phaseOf(state) === "drag" && began && Number.isFinite(state.distance)) {
    share = Math.max(share, Math.min(1 - state.distance / began, 1), 0);
  }
  return from + (to - from) * share;
}

/** Seconds as people say them. */
export function timeText(seconds, say) {
  if (!Number.isFinite(seconds)) return "";
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 90) return say("time_seconds", { seconds: whole });
  return say("time_minutes", { minutes: Math.round(whole / 60) });
}

/** The events of a job as states. */
async function* statesOf(id, signal) {
  const answer = await call(`edits/${encodeURIComponent(id)}/events`, { signal });
  for await (const { event, data } of readEvents(answer.body))
    yield event === "state" && data ? JSON.parse(data) : null;
}

/** Follow any job to its end; show(state) is called at each news. current(): whether anybody still asks. */
export function followJob(id, { show, current, trouble = () => {} }) {
  return follow({
    listen: (signal) => statesOf(id, signal),
    ask: () => ask(`edits/${encodeURIComponent(id)}`),
    show,
    trouble,
    wait: pause,
    current,
    hidden: () => document.hidden,
  });
}

/** How an edit ended, in the page's language; what went wrong, and notes, are the server's own words. */
export function outcomeText({ outcome, saved, note, text }, say) {
  if (!outcome) return text;
  const numbers = { left: outcome.left.toFixed(0), steps: outcome.steps, seconds: outcome.seconds.toFixed(0) };
  const parts = [say(`ended_${outcome.ended}`, numbers)];
  if (outcome.ended !== "moved") parts[0] += ` ${say("ended_left", numbers)}`;
  if (saved) parts.push(say("ended_saved", { name: saved }));
  return [...parts, note].filter(Boolean).join(" ");
}

/** The panel of the running edit, and who feeds it. One edit at a time: a new one takes the place of the old. */
export class Run {
  /** stage: the canvas; tell(text, bad): the line of the page; active(on): an edit of ours runs or not; done(state). */
  constructor(root, { say, stage, tell, active, done }) {
    this.say = say;
    this.stage = stage;
    this.tell = tell;
    this.isActive = active;
    this.done = done;
    this.turn = 0;
    this.id = "";
    this.active = false; // an edit is sent, waits or runs
    this.root = root;
    this.phase = make("span", { class: "dragtext_phase" });
    this.time = make("span", { class: "dragtext_time" });
    this.fill = make("div", { class: "dragtext_bar_fill" });
    this.bar = make(
      "div",
      { class: "dragtext_bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 },
      this.fill,
    );
    this.curve = make("div", { class: "dragtext_plot" });
    root.append(make("div", { class: "dragtext_run_line" }, this.phase, this.time), this.bar, this.curve);
    root.hidden = true;
  }

  /** Follow an edit to its end. */
  async follow(id) {
    const mine = ++this.turn;
    Object.assign(this, { id, began: null, share: 0, seen: 0, distances: [], curveKnown: false });
    this.stage.result(null);
    this.active = true;
    this.isActive(true);
    const last = await followJob(id, {
      show: (state) => this.show(state, mine),
      trouble: (message, status) => this.tell(status === 404 ? this.say("run_gone") : message, true),
      current: () => mine === this.turn,
    });
    if (mine !== this.turn) return;
    this.root.hidden = true;
    this.active = false;
    this.isActive(false);
    this.stage.endLive();
    this.done(last ?? { id, state: "gone" });
  }

  async show(state, mine) {
    this.root.hidden = false;
    this.words(state);
    this.distance(state);
    this.share = Math.max(this.share, progressOf(state, this.began));
    this.fill.style.width = `${(this.share * 100).toFixed(1)}%`;
    this.bar.setAttribute("aria-valuenow", Math.round(this.share * 100));
    await this.live(state, mine);
  }

  words(state) {
    const phase = phaseOf(state);
    const count = state.total && phase !== "drag" ? ` ${state.step}/${state.total}` : "";
    if (state.state === "queued" && state.position) {
      this.phase.textContent = this.say("run_position", { before: state.position });
    } else {
      this.phase.textContent = `${this.say(`phase_${phase}`)}${count}`;
    }
    const parts = [];
    if (phase === "drag" && Number.isFinite(state.distance)) {
      parts.push(this.say("run_left", { distance: state.distance.toFixed(0), step: state.step }));
    }
    if (Number.isFinite(state.eta)) parts.push(this.say("run_about", { time: timeText(state.eta, this.say) }));
    this.time.textContent = parts.join(" · ");
    this.tell(this.phase.textContent + (parts.length ? ` · ${this.time.textContent}` : ""));
  }

  distance(state) {
    if (phaseOf(state) !== "drag" || !Number.isFinite(state.distance)) return;
    this.began ??= state.distance;
    if (!this.curveKnown && state.step > 2) this.catchUp(state.id);
    this.curveKnown = true;
    this.distances[Math.max(state.step - 1, 0)] = state.distance;
    drawCurves(this.curve, [{ name: this.say("plot_distance"), values: Array.from(this.distances), unit: " px" }], {
      height: 40,
    });
  }

  /** The steps before this page began to look, after a reload. */
  async catchUp(id) {
    try {
      const { distance } = await ask(`edits/${encodeURIComponent(id)}/curve`);
      for (const [step, value] of distance.entries()) this.distances[step] ??= value;
      this.began = distance[0] ?? this.began;
    } catch {
      // The curve then begins where the page came in.
    }
  }

  async live(state, mine) {
    if (state.preview_version > this.seen) {
      this.seen = state.preview_version;
      try {
        this.preview = await pictureOf(`edits/${encodeURIComponent(state.id)}/preview`);
      } catch {
        // The next one will come.
      }
    } else if (!state.preview_version) {
      this.preview = null;
    }
    if (mine !== this.turn || !["queued", "running"].includes(state.state)) return;
    // Another picture may have been opened meanwhile; the edit goes on without it.
    if (state.picture && state.picture !== this.stage.document.picture?.id) return;
    this.stage.live({ points: state.points ?? [], image: this.preview ?? null });
  }
}
