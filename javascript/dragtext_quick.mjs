// A quick result when the pointer rests: the start alone, drawn by the model, cancelled by the next movement. It is
// never saved, never listed, and any real edit goes before it. No work at import.

import { hasWay } from "./dragtext_document.mjs";
import { asRequest } from "./dragtext_exchange.mjs";
import { call, pictureOf, send } from "./dragtext_http.mjs";
import { followJob } from "./dragtext_run.mjs";

const KEY = "dragtext_quick";
const LONGEST = 20000; // milliseconds after which a quick result is none

/** Whether somebody wants quick results; they do until they say no. */
export function wantsQuick(storage = localStorage) {
  return storage.getItem(KEY) !== "off";
}

export function setQuick(on, storage = localStorage) {
  storage.setItem(KEY, on ? "on" : "off");
}

export class Quick {
  /** form.given(): {prompt, settings}; busy(): whether a real edit waits or runs; off(): it takes too long here. */
  constructor({ stage, form, busy, off, shown = () => {} }) {
    Object.assign(this, { stage, form, busy, off, shown, turn: 0, id: "" });
  }

  /** The pointer rests on a document that has changed. */
  async rest(doc) {
    if (!wantsQuick() || this.busy() || !doc.picture || !hasWay(doc)) return;
    this.cancel();
    const mine = this.turn;
    let began = 0; // when the work itself did; a model that is loaded first takes longer
    try {
      const { prompt, settings } = await this.form.given();
      const { drags, mask, region } = await asRequest(doc);
      if (mine !== this.turn || this.busy()) return;
      const body = { picture: doc.picture.id, prompt, drags, settings, quick: true };
      if (mask) body.mask = mask;
      if (region) body.region = region;
      const job = await send("edits", body);
      if (mine !== this.turn) return void this.drop(job.id);
      this.id = job.id;
      const last = await followJob(job.id, {
        current: () => mine === this.turn,
        show: (state) => {
          if (!began && state.total) began = Date.now();
          if (began && Date.now() - began > LONGEST) {
            this.cancel();
            setQuick(false);
            this.off();
          }
        },
      });
      if (mine !== this.turn || last?.state !== "done") return;
      const picture = await pictureOf(`edits/${encodeURIComponent(job.id)}/image`);
      if (mine !== this.turn || this.busy()) return;
      this.stage.quick(picture);
      this.showing = true;
      this.shown();
    } catch {
      // Without a quick result the canvas's own preview remains.
    }
  }

  /** The next movement, or a real edit. */
  cancel() {
    this.turn++;
    if (this.id) this.drop(this.id);
    this.id = "";
    if (this.showing) this.stage.quick(null);
    this.showing = false;
  }

  drop(id) {
    call(`edits/${encodeURIComponent(id)}`, { method: "DELETE" }).catch(() => {});
  }
}
