// What the stage's buttons and keys do. No work at import.

import { withFollowingMask, withLayer } from "./dragtext_document.mjs";
import { fit, pixels, toPicture, toScreen, zoom } from "./dragtext_geometry.mjs";
import { actionOf, choosesTool, takesText } from "./dragtext_keys.mjs";
import { emptyLayer, invert } from "./dragtext_layer.mjs";
import { aroundDrags } from "./dragtext_tools.mjs";

/** stage: a Stage. `spaced` and `controlled` tell whether Space and Ctrl are held. */
export class Commands {
  constructor(stage) {
    this.stage = stage;
    this.spaced = false;
    this.controlled = false;
    this.nudged = null; // the document that the last nudge has made
  }

  /** Do what a button does. Whatever cannot be done now is not. */
  act(action, value) {
    const { stage } = this;
    const { tools, doc } = stage;
    const picture = Boolean(doc.picture);
    if (choosesTool(action)) {
      if (stage.changeable) this.choose(action);
    } else if (action === "undo" || action === "redo") {
      if (stage.changeable) this.travel(action);
    } else if (action === "delete") {
      if (stage.changeable) tools.remove();
    } else if (["around", "invert", "clear", "follow"].includes(action)) {
      if (stage.changeable) this.layerAction(action, value);
    } else if (["fit", "pixels", "zoom"].includes(action)) {
      if (picture) this.lookAt(action, value);
    } else if (action === "layer" || action === "other_layer") {
      stage.layer = value ?? (stage.layer === "region" ? "mask" : "region");
      stage.tell("said_layer", { layer: stage.say(stage.layer) });
    } else if (action === "pick_mode") {
      stage.pickMode = value;
    } else if (action === "size") {
      stage.setDiameter(value);
    } else if (action === "brush_size") {
      stage.setDiameter(stage.diameter + value);
    } else if (action === "opacity") {
      stage.opacity = value;
    } else if (action === "preview") {
      stage.preview.wanted = !stage.preview.wanted;
    } else if (action === "help") {
      this.showHelp(stage.helpPage.hidden);
    } else if (action === "open") {
      if (stage.enabled) stage.file.click();
    }
    stage.changed();
  }

  choose(tool) {
    const { stage } = this;
    if (tool === "pin" && stage.tools.pin()) return;
    stage.tools.choose(tool);
    stage.tell("said_tool", { tool: stage.say(tool), help: stage.say(`${tool}_help`) });
  }

  lookAt(action, factor) {
    const { stage } = this;
    const { picture } = stage.doc;
    if (action === "zoom") {
      const middle = [stage.size.width / 2, stage.size.height / 2];
      stage.look(zoom(stage.view, factor, stage.pointer ?? middle));
    } else {
      stage.look(action === "fit" ? fit(picture, stage.size) : pixels(picture, stage.size, stage.ratio));
      stage.fitted = action === "fit";
    }
  }

  travel(way) {
    const { stage } = this;
    if (stage.tools.cancel()) return; // what was begun is taken back first
    const label = stage.history[way]();
    if (label === null) {
      stage.tell(`said_nothing_to_${way}`);
      return;
    }
    stage.moveOn();
    stage.tell(way === "undo" ? "said_undone" : "said_redone", { what: stage.say(label) });
  }

  layerAction(action, value) {
    const { stage } = this;
    const { doc, layer } = stage;
    stage.tools.cancel();
    if (action === "follow") {
      stage.push(value ? withFollowingMask(doc, null) : withLayer(doc, "mask", doc.mask), "did_follow");
    } else if (action === "around" && !doc.drags.length) {
      stage.tell("said_no_drags");
    } else if (action === "around") {
      stage.layer = "mask";
      stage.push(withLayer(doc, "mask", aroundDrags(doc)), "did_around");
    } else if (action === "invert") {
      stage.push(withLayer(doc, layer, invert(doc[layer] ?? emptyLayer(doc.picture))), "did_invert");
    } else if (doc[layer]) {
      stage.push(withLayer(doc, layer, null), "did_clear");
    }
  }

  showHelp(wanted) {
    const { helpPage, canvas } = this.stage;
    const within = helpPage.contains(document.activeElement);
    helpPage.hidden = !wanted;
    if (wanted) helpPage.focus({ preventScroll: true });
    else if (within) canvas.focus({ preventScroll: true });
  }

  /** Whether keys are meant for the stage. */
  get attended() {
    const { canvas, frame, helpPage } = this.stage;
    const focused = document.activeElement;
    if (takesText(focused)) return false;
    return frame.matches(":hover") || focused === canvas || helpPage.contains(focused);
  }

  key(event) {
    if (event.key === "Control" || event.key === "Meta") this.controlled = true;
    if (!this.attended || event.isComposing || event.defaultPrevented) return;
    const found = actionOf(event);
    if (!found || !this.keyAction(found.action, found.value, event)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Returns whether the key was for the stage. */
  keyAction(action, value, event) {
    const { stage } = this;
    const { tools, doc } = stage;
    const focused = document.activeElement;
    const elsewhere = focused && focused !== stage.canvas && /^(BUTTON|A|INPUT)$/.test(focused.tagName);
    if (!stage.helpPage.hidden && action !== "help" && action !== "escape") return false;
    switch (action) {
      case "space":
        if (!doc.picture) return false;
        this.spaced = true;
        break;
      case "original":
        if (!stage.shown || !stage.pointer || elsewhere) return false;
        stage.original(true);
        break;
      case "escape":
        if (!stage.helpPage.hidden) this.showHelp(false);
        else if (!tools.cancel()) {
          if (!tools.selected && !stage.cross) return false;
          tools.selected = null;
          stage.cross = null;
        }
        break;
      case "arrow":
        if (!stage.changeable || (elsewhere && !stage.pointer)) return false;
        if (!this.nudge(value, event.repeat)) this.moveCross(value);
        break;
      case "press":
        if (focused !== stage.canvas || !stage.changeable) return false;
        this.pressCross({ shift: event.shiftKey });
        break;
      case "next":
        if (stage.changeable) tools.next(value);
        break;
      default:
        this.act(action, value);
        return true;
    }
    stage.changed();
    return true;
  }

  keyUp(event) {
    if (event.key === "Control" || event.key === "Meta") this.controlled = false;
    if (event.key === " " && this.spaced) {
      this.spaced = false;
      event.preventDefault();
      this.stage.redraw();
    }
    if (event.key === "Tab" && this.stage.originally) this.stage.original(false);
  }

  /** The window is left: no key is held any more that anybody will tell of. */
  letGo() {
    this.controlled = false;
    this.spaced = false;
    if (this.stage.originally) this.stage.original(false);
  }

  nudge([dx, dy], repeated) {
    const { stage } = this;
    if (!stage.tools.selected) return false;
    if (!stage.tools.nudge(dx, dy, repeated && this.nudged === stage.doc)) return false;
    this.nudged = stage.doc;
    stage.preview.linger = stage.pointer ?? [0, 0]; // what has moved is seen until the pointer goes on
    return true;
  }

  moveCross([dx, dy]) {
    const { stage } = this;
    const { picture } = stage.doc;
    const step = Math.max(1, Math.round(1 / stage.view.scale));
    const begin = stage.pointer ? toPicture(stage.view, stage.pointer) : [picture.width / 2, picture.height / 2];
    const [x, y] = stage.cross ?? begin;
    const kept = (value, side) => Math.min(Math.max(Math.round(value), 0), side - 1);
    stage.cross = [kept(x + dx * step, picture.width), kept(y + dy * step, picture.height)];
    stage.tell("said_cross", { x: stage.cross[0], y: stage.cross[1] });
    stage.tools.move([toScreen(stage.view, stage.cross)]);
    stage.restart();
  }

  /** Enter presses where the cross is, and Enter again lets go. */
  pressCross(mods) {
    const { stage } = this;
    const { tools, cross } = stage;
    if (!cross) {
      this.moveCross([0, 0]);
      return;
    }
    const at = toScreen(stage.view, cross);
    if (tools.gesture && tools.gesture.kind !== "pending") stage.hand.release(at, mods);
    else {
      stage.hand.press(at, mods);
      // A first place that waits for its second, and a pin, need no pulling.
      if (tools.gesture?.kind === "new") stage.hand.release(at, mods);
    }
    stage.cross = cross;
  }
}
