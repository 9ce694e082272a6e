// Mouse, pen and fingers on the canvas: which of them draws, moves the view or zooms. No work at import.

import { pan, pinch, zoom } from "./dragtext_geometry.mjs";

const YOUNG = 300; // milliseconds in which a second finger still means that the first did not want to draw
const ERASER = 32; // the button of a pen's other end
const WHEEL = 0.0016; // zoom per pixel of scrolling
const LINE = 33; // pixels that a line of scrolling stands for

/**
 * host: {canvas, hand, view, size, doc, spaced, controlled, sized, look(view), resize(by), changed()}; `spaced` and `controlled`
 * tell whether Space and Ctrl are really held.
 */
export class Pointers {
  constructor(host) {
    this.host = host;
    this.down = new Map(); // of fingers and buttons that are pressed: id -> [x, y]
    this.drawing = null; // the id of the one that draws
    this.panning = null; // {id, last}
    this.began = 0;
    this.stop = new AbortController();
    const { canvas } = host;
    const listen = (name, does, more = {}) =>
      canvas.addEventListener(name, (event) => does.call(this, event), { signal: this.stop.signal, ...more });
    listen("pointerdown", this.press);
    listen("pointermove", this.move);
    listen("pointerup", this.release);
    listen("pointercancel", this.lose);
    listen("lostpointercapture", this.lose);
    listen("pointerleave", (event) => event.pointerType !== "touch" && !this.down.size && host.hand.leave());
    listen("wheel", this.wheel, { passive: false });
    listen("contextmenu", (event) => event.preventDefault());
    listen("auxclick", (event) => event.preventDefault());
  }

  at(event) {
    const box = this.host.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  mods(event) {
    const erase = event.pointerType === "pen" && (event.buttons & ERASER) > 0;
    return { shift: event.shiftKey, coarse: event.pointerType === "touch", erase };
  }

  press(event) {
    const { host } = this;
    if (!host.doc.picture) return;
    const at = this.at(event);
    host.canvas.focus({ preventScroll: true, focusVisible: false });
    event.preventDefault();
    if (event.pointerType === "touch" && this.down.size === 1 && !this.down.has(event.pointerId)) {
      // The second finger: zoom and move the view. What the first has begun to draw is kept only if it was long at it.
      if (this.drawing !== null) host.hand.tear(performance.now() - this.began > YOUNG);
      [this.drawing, this.panning] = [null, null];
      host.changed();
    } else if (!this.down.size) {
      this.began = performance.now();
      if (event.button === 1 || event.button === 2 || host.spaced) this.panning = { id: event.pointerId, last: at };
      else {
        this.drawing = event.pointerId;
        host.hand.press(at, this.mods(event));
      }
    }
    this.down.set(event.pointerId, at);
    host.canvas.setPointerCapture?.(event.pointerId);
  }

  move(event) {
    const { host } = this;
    const at = this.at(event);
    const id = event.pointerId;
    if (this.down.size === 2 && this.down.has(id) && this.drawing === null) {
      const ids = [...this.down.keys()];
      const before = ids.map((one) => this.down.get(one));
      this.down.set(id, at);
      const view = pinch(
        host.view,
        before,
        ids.map((one) => this.down.get(one)),
      );
      host.look(pan(view, 0, 0, host.doc.picture, host.size));
      return;
    }
    if (this.down.has(id)) this.down.set(id, at);
    if (this.panning?.id === id) {
      host.look(
        pan(host.view, at[0] - this.panning.last[0], at[1] - this.panning.last[1], host.doc.picture, host.size),
      );
      this.panning.last = at;
      return;
    }
    if (this.down.size && this.drawing !== id) return;
    const all = event.getCoalescedEvents?.() ?? [];
    host.hand.move(
      (all.length ? all : [event]).map((one) => this.at(one)),
      this.mods(event),
    );
  }

  release(event) {
    this.lift(event.pointerId, (hand) => hand.release(this.at(event), this.mods(event)));
  }

  /** The browser has taken the pointer away: a stroke keeps what it has painted, all else is taken back. */
  lose(event) {
    this.lift(event.pointerId, (hand) => hand.tear(true));
  }

  /** A pointer is down no more. end(hand): what that is to what it was drawing. */
  lift(id, end) {
    if (!this.down.delete(id)) return;
    if (this.panning?.id === id) this.panning = null;
    if (this.drawing === id) {
      this.drawing = null;
      end(this.host.hand);
    }
    this.host.changed();
  }

  wheel(event) {
    const { host } = this;
    if (!host.doc.picture) return;
    event.preventDefault();
    const by = (event.deltaY || event.deltaX) * (event.deltaMode === 1 ? LINE : event.deltaMode === 2 ? 400 : 1);
    // Two fingers on a touch pad send Ctrl and the wheel, too, but nobody holds the key, and by shorter ways.
    const touched = event.ctrlKey && !host.controlled;
    if (host.controlled && host.sized) host.resize(by < 0 ? 1 : -1);
    else host.look(zoom(host.view, Math.exp(-by * WHEEL * (touched ? 6 : 1)), this.at(event)));
  }

  /** Whether anything is pressed. */
  get pressed() {
    return this.down.size > 0;
  }

  destroy() {
    this.stop.abort();
  }
}
