// What the stage asks the server for: the object under a click, and the mask that follows. No work at import.

import { hasWay, withFollowingMask, withLayer } from "./dragtext_document.mjs";
import { isEmpty, layerFromPng, stroke, union, emptyLayer } from "./dragtext_layer.mjs";

const SOON = 120; // milliseconds: several changes in a row are one question

/** host: {doc, push(doc, label), amend(doc), tell(key, values), note(text), busy(change), failed(error)}. */
export class Asking {
  constructor(server, host, decode = layerFromPng) {
    this.server = server;
    this.host = host;
    this.decode = decode;
    // of a region that was picked: {base, hints}, so that strokes can mend it, also after undo
    this.hints = new WeakMap();
    this.turn = 0;
    this.followed = new WeakSet(); // documents whose mask is the one that follows
    this.timer = null;
  }

  /** Forget answers that are still to come: they are about another picture. */
  forget() {
    this.turn++;
    clearTimeout(this.timer);
  }

  /** Pick what moves. hints: {handles?, box?, plus?, minus?}; more: add to what is picked already. */
  async pick(hints, more = false) {
    const { host } = this;
    const before = host.doc.region;
    const known = before && this.hints.get(before);
    const mends = Boolean(hints.plus || hints.minus);
    if (mends && !known && hints.minus) {
      // Painted by hand: there is nothing to look for, the stroke itself is taken away.
      const left = hints.minus.reduce(
        (layer, { points, radius }) => stroke(layer, points, radius, false),
        before ?? emptyLayer(host.doc.picture),
      );
      if (before) host.push(withLayer(host.doc, "region", left), "did_erase");
      return;
    }
    const asked = mends && known ? merged(known.hints, hints) : hints;
    const base = mends && known ? known.base : mends || more ? before : null;
    const turn = ++this.turn;
    host.tell("said_picking");
    host.busy(1);
    try {
      const { region, note } = await this.server.pick(asked);
      const found = await this.decode(region);
      if (turn !== this.turn) return;
      const layer = union(base, found);
      if (!isEmpty(layer)) this.hints.set(layer, { base, hints: asked });
      host.push(withLayer(host.doc, "region", layer), "did_pick");
      host.note(note || "");
    } catch (error) {
      if (turn === this.turn) host.failed(error);
    } finally {
      host.busy(-1);
    }
  }

  /** See to it that the mask follows from what moves, unless somebody has painted it. */
  follow() {
    clearTimeout(this.timer);
    const { doc } = this.host;
    if (!doc.maskAuto || !doc.region || !hasWay(doc) || this.followed.has(doc)) return;
    this.timer = setTimeout(() => this.ask(doc), SOON);
  }

  async ask(doc) {
    const { host } = this;
    host.busy(1);
    try {
      const { mask } = await this.server.maskFor({ drags: doc.drags, region: doc.region });
      const layer = await this.decode(mask);
      if (host.doc !== doc) return; // the change after it has its own question
      const followed = withFollowingMask(doc, layer);
      this.followed.add(followed);
      host.amend(followed);
    } catch (error) {
      if (host.doc === doc) host.failed(error);
    } finally {
      host.busy(-1);
    }
  }
}

function merged(one, other) {
  const result = { ...one };
  for (const name of ["plus", "minus"]) if (other[name]) result[name] = [...(one[name] ?? []), ...other[name]];
  return result;
}
