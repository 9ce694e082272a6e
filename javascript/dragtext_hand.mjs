// What one pointer on the canvas does, depending on what is shown: a tool draws, a line between two pictures is pulled, or
// the view is moved. No work at import.

import { paints } from "./dragtext_tools.mjs";

const AWAY = 24; // pixels that the pointer goes from where it let go until the picture shows itself again
const REACH = 18; // of the line between picture and result, pixels

/** stage: a Stage. */
export class Hand {
  constructor(stage) {
    this.stage = stage;
    this.sliding = false; // the line between picture and result is held
    this.pulling = null; // where the view is held
    this.at = null; // the last place of the pointer on the canvas, or null
    this.over = null; // what lies there of the drags: {index, part}
    this.erases = false;
  }

  press(at, mods) {
    const { stage } = this;
    stage.cross = null;
    if (this.atLine(at)) this.sliding = true;
    else if (!stage.changeable || (stage.shown && stage.share !== null)) this.pulling = at;
    else if (this.backToPicture(at, mods)) stage.tell("said_original");
    else {
      stage.calls.onBusy();
      stage.hasty = null;
      stage.preview.linger = null;
      stage.tools.down(at, mods);
    }
    stage.changed();
  }

  /** A result gives way to the picture. Returns whether that is all that the press does. */
  backToPicture(at, mods) {
    const { stage } = this;
    if (!stage.shown) return false;
    stage.result(null);
    stage.calls.onHide();
    return !stage.tools.under(at, mods.coarse);
  }

  move(points, mods) {
    const { stage } = this;
    const { tools, preview } = stage;
    const at = points.at(-1);
    this.at = at;
    this.erases = Boolean(mods.erase || mods.shift);
    stage.restart();
    if (this.sliding) {
      const [left, right] = this.lineRoom();
      stage.compare((at[0] - left) / Math.max(1, right - left));
      stage.calls.onCompare(stage.share);
    } else if (this.pulling) {
      stage.pan(at[0] - this.pulling[0], at[1] - this.pulling[1]);
      this.pulling = at;
    } else if (tools.gesture) {
      tools.move(points, mods);
      stage.restless ||= tools.dragging;
    } else {
      this.over = mods.coarse || paints(tools.tool) ? null : tools.under(at);
    }
    const { linger } = preview;
    if (linger && Math.hypot(at[0] - linger[0], at[1] - linger[1]) > AWAY) preview.linger = null;
    stage.redraw();
  }

  release(at, mods) {
    const { stage } = this;
    const { tools, preview } = stage;
    this.letGo();
    const dragged = tools.dragging && tools.gesture.kind !== "pending";
    tools.up(at, mods);
    if (dragged) preview.linger = at;
    if (mods.coarse) this.leave();
    stage.changed();
  }

  /** The browser takes the pointer away. keep: a stroke keeps what it has painted; all else is taken back. */
  tear(keep) {
    this.letGo();
    this.stage.tools.cancel(keep);
    this.stage.changed();
  }

  letGo() {
    this.sliding = false;
    this.pulling = null;
  }

  leave() {
    this.at = null;
    this.over = null;
    this.stage.redraw();
  }

  /** From where to where the line between picture and result can go. */
  lineRoom() {
    const { doc, view, size } = this.stage;
    return [Math.max(0, view.x), Math.min(size.width, view.x + doc.picture.width * view.scale)];
  }

  /** Whether a point of the canvas is on that line. */
  atLine(at) {
    const { shown, share } = this.stage;
    if (!at || !shown || share === null) return false;
    const [left, right] = this.lineRoom();
    return Math.abs(at[0] - left - (right - left) * share) < REACH;
  }
}
