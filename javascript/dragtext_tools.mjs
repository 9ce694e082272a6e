// What pressing, pulling and letting go do to the document, tool by tool. Knows no page: the stage feeds it points of
// the
// canvas and keeps the history. No work at import.

import * as documents from "./dragtext_document.mjs";
import { hit, toPicture } from "./dragtext_geometry.mjs";
import { emptyLayer, isEmpty, lasso, rectangle, stroke } from "./dragtext_layer.mjs";

export const TOOLS = ["drag", "move", "pin", "pick", "brush", "eraser", "rectangle", "lasso"];
const PAINTS = ["brush", "eraser", "rectangle", "lasso"];
const SLOP = 4; // pixels of the page that are no pull yet
const COARSE = 2; // so much more for a finger

/** Whether a tool paints a layer. */
export const paints = (tool) => PAINTS.includes(tool);

/**
 * The tools' state, which is all that is not in the document: tool, selected {index, part}, the gesture that runs.
 *
 * host: {doc, view, layer: "region" | "mask", radius, pickMode: "object" | "plus" | "minus", push(doc, label),
 * amend(doc),
 * pick({handles?, box?, plus?, minus?}, more: bool), pan(dx, dy), tell(key, values)}.
 */
export class Tools {
  constructor(host) {
    this.host = host;
    this.tool = "drag";
    this.selected = null;
    this.gesture = null; // {kind, ...} from press to release; "pending" from the first click to the second
    this.working = null; // the document as the gesture would leave it
    this.path = null; // {kind: "rectangle" | "lasso" | "scribble", points, add}: drawn, not yet applied
  }

  /** The document as it is to be shown. */
  get doc() {
    return this.working ?? this.host.doc;
  }

  /** Whether drags are being changed right now. */
  get dragging() {
    return ["new", "pending", "end", "shift"].includes(this.gesture?.kind) && Boolean(this.working);
  }

  /** The document that the gesture is about to make, as soon as it is pressed, or null. */
  get coming() {
    const { gesture, host } = this;
    if (this.working || gesture?.kind !== "new" || gesture.pin) return null;
    const [x, y] = gesture.source;
    return documents.withDrag(host.doc, gesture.source, [x >= 1 ? x - 1 : x + 1, y]);
  }

  choose(tool) {
    this.cancel();
    this.tool = tool;
    if (paints(tool) || tool === "pick") this.selected = null;
  }

  /** What lies at a point of the canvas, as `hit` says it. */
  under(at, coarse = false) {
    return hit(this.host.doc.drags, this.host.view, at, coarse ? 24 : 12);
  }

  /** Press. mods: {shift, coarse, erase}. */
  down(at, mods = {}) {
    if (!this.host.doc.picture) return;
    const point = toPicture(this.host.view, at);
    if (this.gesture?.kind === "pending") {
      this.gesture = { ...this.gesture, kind: "new", again: true, at };
      this.work(this.withNew(point));
      return;
    }
    const begin = { drag: this.dragDown, move: this.moveDown, pin: this.pinDown, pick: this.pickDown }[this.tool];
    (begin ?? this.paintDown).call(this, at, point, mods);
  }

  /** Move, pressed or not. points: more of them since the last call, the newest last. */
  move(points, mods = {}) {
    const at = points.at(-1);
    const point = toPicture(this.host.view, at);
    const gesture = this.gesture;
    if (!gesture) return;
    const pulled = () => Math.hypot(at[0] - gesture.at[0], at[1] - gesture.at[1]) > SLOP * (mods.coarse ? COARSE : 1);
    gesture.pulled ||= gesture.kind !== "pending" && pulled();
    switch (gesture.kind) {
      case "pending":
        this.work(this.withNew(point));
        break;
      case "new":
        if (gesture.pulled) this.work(this.withNew(point));
        break;
      case "end":
        if (gesture.pulled)
          this.work(documents.withEnd(this.host.doc, gesture.index, gesture.part, plus(point, gesture.off)));
        break;
      case "shift":
        if (!gesture.pulled) break;
        this.work(
          documents.shifted(this.host.doc, gesture.index, point[0] - gesture.from[0], point[1] - gesture.from[1]),
        );
        break;
      case "pan":
        this.host.pan(at[0] - gesture.last[0], at[1] - gesture.last[1]);
        gesture.last = at;
        break;
      case "stroke":
        this.paint(points.map((place) => toPicture(this.host.view, place)));
        break;
      case "path":
        if (this.path.kind === "rectangle") this.path = { ...this.path, points: [this.path.points[0], point] };
        else this.path.points.push(...points.map((place) => toPicture(this.host.view, place)));
        break;
      default:
    }
  }

  /** Let go. */
  up(at, mods = {}) {
    const gesture = this.gesture;
    if (!gesture || gesture.kind === "pending") return;
    this.move([at], mods);
    const { host, working } = this;
    this.gesture = null;
    this.working = null;
    switch (gesture.kind) {
      case "new":
        this.endNew(gesture, toPicture(host.view, at));
        break;
      case "end":
      case "shift":
        this.selected = { index: gesture.index, part: gesture.part };
        if (working) host.push(working, gesture.kind === "end" ? "did_end" : "did_shift");
        this.describe();
        break;
      case "pan":
        if (!gesture.pulled) this.selected = null;
        break;
      case "stroke":
        if (working) host.push(working, gesture.add ? "did_stroke" : "did_erase");
        break;
      case "path":
        this.endPath(gesture, toPicture(host.view, at), mods);
        break;
      default:
    }
  }

  /** Take back what the gesture did. keep: a stroke that is torn off keeps what it has painted. */
  cancel(keep = false) {
    const { gesture, working } = this;
    const running = Boolean(gesture);
    this.gesture = null;
    this.working = null;
    this.path = null;
    if (keep && gesture?.kind === "stroke" && working)
      this.host.push(working, gesture.add ? "did_stroke" : "did_erase");
    return running;
  }

  /** Nothing is chosen that is no more. */
  settle() {
    if (this.selected && this.selected.index >= this.host.doc.drags.length) this.selected = null;
  }

  /** Choose the next end, or the one before. */
  next(step = 1) {
    const ends = this.host.doc.drags.flatMap((drag, index) =>
      (documents.isPin(drag) ? ["target"] : ["source", "target"]).map((part) => ({ index, part })),
    );
    if (!ends.length) {
      this.host.tell("said_no_drags");
      return;
    }
    const now = ends.findIndex(({ index, part }) => index === this.selected?.index && part === this.selected?.part);
    this.selected = ends[now < 0 ? (step > 0 ? 0 : ends.length - 1) : (now + step + ends.length) % ends.length];
    this.describe();
  }

  /**
   * Push what is chosen by pixels of the picture. again: as part of the action before, as long as a key is held.
   * Returns whether anything was chosen.
   */
  nudge(dx, dy, again = false) {
    this.settle();
    if (!this.selected || this.gesture) return false;
    const { index, part } = this.selected;
    const { doc } = this.host;
    const moved =
      part === "shaft"
        ? documents.shifted(doc, index, dx, dy)
        : documents.withEnd(doc, index, part, plus(doc.drags[index][part], [dx, dy]));
    if (again) this.host.amend(moved);
    else this.host.push(moved, "did_nudge");
    this.describe();
    return true;
  }

  /** Take away the chosen drag. */
  remove() {
    this.settle();
    if (!this.selected) return false;
    this.cancel();
    this.host.push(documents.withoutDrag(this.host.doc, this.selected.index), "did_delete");
    this.selected = null;
    return true;
  }

  /** Make the chosen drag a pin; without one, the next click makes one. */
  pin() {
    this.settle();
    const chosen = this.selected && this.host.doc.drags[this.selected.index];
    if (!chosen || documents.isPin(chosen)) return false;
    this.host.push(documents.pinned(this.host.doc, this.selected.index), "did_pin");
    this.selected = { index: this.selected.index, part: "target" };
    this.describe();
    return true;
  }

  /** Say what is chosen. */
  describe() {
    const drag = this.selected && this.host.doc.drags[this.selected.index];
    if (!drag) return;
    const [[x0, y0], [x1, y1]] = [drag.source, drag.target].map((point) => point.map(Math.round));
    const length = Math.round(Math.hypot(drag.target[0] - drag.source[0], drag.target[1] - drag.source[1]));
    const values = { number: this.selected.index + 1, x0, y0, x1, y1, length };
    this.host.tell(documents.isPin(drag) ? "said_pin" : "said_arrow", values);
  }

  // From here on, one function per tool.

  dragDown(at, point, { coarse }) {
    const found = this.under(at, coarse);
    if (found && found.part !== "shaft") this.takeEnd(at, point, found);
    else if (!within(this.host.doc.picture, point)) this.gesture = { kind: "pan", at, last: at };
    else if (this.room()) this.gesture = { kind: "new", at, source: point, over: found };
  }

  moveDown(at, point, { coarse }) {
    const found = this.under(at, coarse);
    if (!found) this.gesture = { kind: "pan", at, last: at };
    else if (found.part === "shaft") this.gesture = { kind: "shift", at, from: point, ...found };
    else this.takeEnd(at, point, found);
  }

  pinDown(at, point, { coarse }) {
    const found = this.under(at, coarse);
    if (found && found.part !== "shaft") this.takeEnd(at, point, found);
    else if (within(this.host.doc.picture, point) && this.room())
      this.gesture = { kind: "new", at, source: point, pin: true };
  }

  takeEnd(at, point, { index, part }) {
    const end = this.host.doc.drags[index][part];
    this.selected = { index, part };
    this.gesture = { kind: "end", at, index, part, off: [end[0] - point[0], end[1] - point[1]] };
  }

  room() {
    if (this.host.doc.drags.length < documents.MOST_DRAGS) return true;
    this.host.tell("said_full", { most: documents.MOST_DRAGS });
    return false;
  }

  /** The document with the drag that is being made. */
  withNew(point) {
    const { source, pin } = this.gesture;
    return documents.withDrag(this.host.doc, pin ? point : source, point);
  }

  endNew(gesture, point) {
    const { host } = this;
    const reach = (SLOP * 1.5) / host.view.scale;
    const near = Math.hypot(point[0] - gesture.source[0], point[1] - gesture.source[1]) <= reach;
    if (!gesture.again && !gesture.pulled && !gesture.pin) {
      if (gesture.over) {
        this.selected = { index: gesture.over.index, part: gesture.over.part };
        this.describe();
        return;
      }
      this.gesture = { ...gesture, kind: "pending" };
      this.work(documents.withDrag(host.doc, gesture.source));
      this.selected = null;
      host.tell("said_target");
      return;
    }
    const pin = gesture.pin || (near && !gesture.pulled);
    const from = gesture.pin ? point : gesture.source;
    host.push(documents.withDrag(host.doc, from, pin ? from : point), pin ? "did_pin" : "did_drag");
    this.selected = { index: host.doc.drags.length - 1, part: "target" };
    this.describe();
  }

  paintDown(at, point, { shift, erase }) {
    const add = !erase && (this.tool === "eraser" ? Boolean(shift) : !shift);
    if (this.tool === "brush" || this.tool === "eraser") {
      const layer = this.host.doc[this.host.layer] ?? emptyLayer(this.host.doc.picture);
      this.gesture = { kind: "stroke", at, add, layer, last: point };
      this.paint([point]);
    } else {
      this.gesture = { kind: "path", at };
      this.path = { kind: this.tool, points: [point], add };
    }
  }

  paint(points) {
    const { gesture, host } = this;
    gesture.layer = stroke(gesture.layer, [gesture.last, ...points], host.radius, gesture.add);
    gesture.last = points.at(-1);
    this.work(documents.withLayer(host.doc, host.layer, gesture.layer));
  }

  pickDown(at, point, { shift }) {
    const { pickMode } = this.host;
    this.gesture = { kind: "path", at, more: Boolean(shift) };
    if (pickMode === "object") this.path = { kind: "rectangle", points: [point], add: true };
    else this.path = { kind: "scribble", points: [point], add: (pickMode === "plus") !== Boolean(shift) };
  }

  endPath(gesture, point) {
    const { host, path } = this;
    this.path = null;
    if (this.tool === "pick") {
      const place = (at) => documents.inside(host.doc.picture, at);
      if (path.kind === "scribble") {
        const drawn = { radius: host.radius, points: path.points.map(place) };
        host.pick(path.add ? { plus: [drawn] } : { minus: [drawn] }, true);
      } else if (gesture.pulled) {
        const [[ax, ay], [bx, by]] = [path.points[0], point].map(place);
        host.pick({ box: [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)] }, gesture.more);
      } else if (within(host.doc.picture, point)) {
        host.pick({ handles: [place(point)] }, gesture.more);
      }
      return;
    }
    if (!gesture.pulled) return;
    const before = host.doc[host.layer] ?? emptyLayer(host.doc.picture);
    const after =
      path.kind === "rectangle"
        ? rectangle(before, [...path.points[0], ...path.points.at(-1)], path.add)
        : lasso(before, path.points, path.add);
    if (isEmpty(after) && isEmpty(before)) return;
    host.push(
      documents.withLayer(host.doc, host.layer, after),
      path.kind === "rectangle" ? "did_rectangle" : "did_lasso",
    );
  }

  work(doc) {
    this.working = doc;
  }
}

const plus = ([x, y], [dx, dy]) => [x + dx, y + dy];

const within = ({ width, height }, [x, y]) => x >= -0.5 && y >= -0.5 && x <= width - 0.5 && y <= height - 0.5;

/** A mask around drags: their ways with room around them, and what moves, if known. */
export function aroundDrags(doc) {
  const { picture, drags, region } = doc;
  const margin = Math.max(4, Math.max(picture.width, picture.height) / 20);
  let layer = region ?? emptyLayer(picture);
  for (const { source, target } of drags) {
    const length = Math.hypot(target[0] - source[0], target[1] - source[1]);
    layer = stroke(layer, [source, target], margin + length / 6);
  }
  return layer;
}
