// The stage: the picture with its drags and layers, and all that is done to them. No work at import.

import { Asking } from "./dragtext_asking.mjs";
import { hasWay, newDocument, withFollowingMask, withLayer } from "./dragtext_document.mjs";
import { COLOURS, draw } from "./dragtext_draw.mjs";
import { fit, pan, pixels, resized, toPicture, toScreen, zoom } from "./dragtext_geometry.mjs";
import { helpPage } from "./dragtext_help.mjs";
import { History } from "./dragtext_history.mjs";
import { actionOf, choosesTool, takesText } from "./dragtext_keys.mjs";
import { emptyLayer, invert, isEmpty } from "./dragtext_layer.mjs";
import { Pointers } from "./dragtext_pointer.mjs";
import { Preview } from "./dragtext_preview.mjs";
import { Tint } from "./dragtext_tint.mjs";
import { element, Toolbar } from "./dragtext_toolbar.mjs";
import { aroundDrags, paints, Tools } from "./dragtext_tools.mjs";
import { filesOf, welcome } from "./dragtext_welcome.mjs";

const REST = 700; // milliseconds without a movement that are a rest
const TOLD = 6000; // milliseconds that a remark stays
const AWAY = 24; // pixels that the pointer goes from where it let go until the picture shows itself again
const SLIDER = 18; // reach of the line between picture and result
const FAINT = 0.5; // of the layer that is not painted

export class Stage {
  /**
   * root: an empty element, filled with toolbar and canvas. say: texts (dragtext_words.mjs). server: {pick, maskFor,
   * start}, see architecture.md. onChange(doc) after every change, onOpen(files), onRest(doc) when the pointer rests
   * after a change; optional: onBusy() when a gesture begins, onHide() when a result gives way to the picture,
   * onCompare(share).
   */
  constructor(root, { say, server, onChange = () => {}, onOpen = () => {}, onRest = () => {}, ...more }) {
    this.root = root;
    this.say = say;
    this.calls = { onChange, onOpen, onRest, onBusy() {}, onHide() {}, onCompare() {}, ...more };
    this.history = new History(newDocument());
    this.view = { scale: 1, x: 0, y: 0 };
    this.fitted = true;
    this.size = { width: 1, height: 1 };
    this.ratio = 1;
    this.image = null;
    this.layer = "region";
    this.pickMode = "object";
    this.diameter = 40;
    this.opacity = 0.7;
    this.enabled = true;
    this.hover = null;
    this.pointer = null; // the last place of the pointer on the canvas, or null
    this.cross = null; // the keyboard's, in the picture
    this.shown = null; // a result
    this.share = null; // of the view left of the line between picture and result
    this.running = null; // {points, image} of an edit that runs
    this.originally = false;
    this.restless = false;
    this.working = 0;
    this.tints = { region: new Tint(COLOURS.region), mask: new Tint(COLOURS.mask), found: new Tint(COLOURS.region) };
    this.stop = new AbortController();
    this.tools = new Tools(this);
    this.asking = new Asking(server, this);
    this.preview = new Preview(server, this);
    this.build();
    this.pointers = new Pointers(this);
    this.listen();
    this.changed();
  }

  build() {
    const { say } = this;
    this.toolbar = new Toolbar(say, (action, value) => this.act(action, value));
    this.canvas = element("canvas", {
      id: "dragtext_canvas",
      tabindex: 0,
      role: "application",
      "aria-label": say("canvas"),
      "aria-describedby": "dragtext_told",
    });
    this.context = this.canvas.getContext("2d");
    this.told = element("div", { class: "dragtext_told", id: "dragtext_told", role: "status", "aria-live": "polite" });
    this.zoomed = element("div", { class: "dragtext_zoomed", "aria-hidden": "true" });
    this.spinner = element("div", { class: "dragtext_spinner", hidden: true, "aria-hidden": "true" });
    this.helpPage = helpPage(say, () => this.act("help"));
    this.welcome = welcome(say, () => this.act("open"));
    this.file = element("input", {
      type: "file",
      accept: "image/*",
      hidden: true,
      "aria-hidden": "true",
      tabindex: -1,
    });
    this.file.addEventListener("change", () => {
      if (this.file.files.length) this.calls.onOpen([...this.file.files]);
      this.file.value = "";
    });
    const foot = element("div", { class: "dragtext_foot" }, this.told, this.spinner, this.zoomed);
    const drop = element("div", { class: "dragtext_drop", text: say("drop"), "aria-hidden": "true" });
    this.frame = element("div", { class: "dragtext_view" }, this.canvas, this.welcome, foot, drop, this.helpPage);
    this.root.classList.add("dragtext_stage");
    this.root.replaceChildren(this.toolbar.element, this.frame, this.file);
  }

  listen() {
    const signal = this.stop.signal;
    const on = (target, name, does, more = {}) => target.addEventListener(name, does, { signal, ...more });
    this.observer = new ResizeObserver(() => this.measure());
    this.observer.observe(this.canvas);
    on(window, "resize", () => this.measure());
    on(document, "keydown", (event) => this.key(event), { capture: true });
    on(document, "keyup", (event) => this.keyUp(event), { capture: true });
    on(window, "blur", () => this.letGo());
    on(this.canvas, "blur", () => {
      this.cross = null;
      this.redraw();
    });
    on(document, "paste", (event) => this.paste(event), { capture: true });
    for (const name of ["dragenter", "dragover", "dragleave", "drop"])
      on(this.frame, name, (event) => this.dropping(event));
    this.measure();
  }

  // The picture and its document

  /** Show a picture {id, width, height, name}. image: of it, of any size; doc: what was done to it, by default nothing. */
  open(picture, image, doc = null) {
    this.tools.cancel();
    this.tools.selected = null;
    this.asking.forget();
    this.preview.reset(image);
    this.image = image;
    [this.shown, this.share, this.running, this.cross] = [null, null, null, null];
    this.restless = false;
    this.diameter = Math.max(1, Math.round(Math.max(picture.width, picture.height) / 14));
    this.history.reset(doc ? newDocument(picture, { ...doc, picture }) : newDocument(picture));
    this.act("fit");
    this.tell("said_size", picture);
    this.changed(true);
  }

  /** What the history has as its current document. */
  get document() {
    return this.history.current;
  }

  get doc() {
    return this.history.current;
  }

  /** Another document of the same picture, as one action. label: what undo calls it. */
  replace(doc, label = "did_replace") {
    this.tools.cancel();
    this.push(doc, label);
  }

  push(doc, label) {
    this.history.push(doc, label);
    this.restless = true;
    this.changed(true);
  }

  amend(doc) {
    this.history.amend(doc);
    this.changed(true);
  }

  // What is shown of an edit

  /** Draw running handles, and an image of how far it is. */
  live({ points = null, image = null }) {
    this.tools.cancel();
    this.running = { points, image: image ?? this.running?.image ?? null };
    this.redraw();
  }

  endLive() {
    this.running = null;
    this.redraw();
  }

  /** Show a result in place of the picture; null: the picture. */
  result(image) {
    this.shown = image;
    if (!image) this.share = null;
    this.redraw();
  }

  /** Show picture and result beside each other, with a line at a share (0..1) of the view; null: the result alone. */
  compare(share) {
    this.share = share === null ? null : Math.min(1, Math.max(0, share));
    this.redraw();
  }

  /** Show the original for as long as it is wanted. */
  original(wanted) {
    this.originally = wanted;
    this.redraw();
  }

  /** Whether the document can be changed; the view can always. */
  setEnabled(enabled) {
    this.enabled = enabled;
    if (!enabled) this.tools.cancel();
    this.changed();
  }

  destroy() {
    this.stop.abort();
    this.observer.disconnect();
    this.pointers.destroy();
    this.asking.forget();
    cancelAnimationFrame(this.frameAsked);
    clearTimeout(this.resting);
    clearTimeout(this.telling);
    this.root.replaceChildren();
  }

  // What the tools and the pointers ask for

  get radius() {
    return this.diameter / 2;
  }

  pick(hints, more) {
    this.layer = "region";
    this.asking.pick(hints, more);
  }

  pan(dx, dy) {
    this.look(pan(this.view, dx, dy, this.doc.picture, this.size));
  }

  look(view) {
    this.view = view;
    this.fitted = false;
    this.restart();
    this.redraw();
  }

  /** The brush, so many pixels wider. */
  resize(by) {
    const step = by * Math.max(1, Math.round(this.diameter / 12));
    this.setDiameter(this.diameter + step);
  }

  setDiameter(wanted) {
    this.diameter = Math.min(Math.max(1, Math.round(wanted)), this.largest);
    this.changed();
  }

  get largest() {
    const { picture } = this.doc;
    return picture ? Math.max(20, Math.round(Math.max(picture.width, picture.height) / 2)) : 200;
  }

  pressed(at, mods) {
    this.cross = null;
    if (this.atSlider(at)) {
      this.sliding = true;
      return;
    }
    if (!this.enabled || this.running || (this.shown && this.share !== null)) {
      this.sliding = false;
      this.pulling = at;
      return;
    }
    const result = Boolean(this.shown);
    if (result) {
      this.result(null);
      this.calls.onHide();
    }
    if (result && !this.tools.under(at, mods.coarse)) {
      this.tell("said_original");
      return;
    }
    this.calls.onBusy();
    this.preview.linger = null;
    this.tools.down(at, mods);
    this.changed();
  }

  moved(points, mods) {
    const at = points.at(-1);
    this.pointer = at;
    this.erasing = mods.erase || mods.shift;
    this.restart();
    if (this.sliding) {
      const [left, right] = this.sliderRoom();
      this.compare((at[0] - left) / Math.max(1, right - left));
      this.calls.onCompare(this.share);
    } else if (this.pulling) {
      this.pan(at[0] - this.pulling[0], at[1] - this.pulling[1]);
      this.pulling = at;
    } else if (this.tools.gesture) {
      this.tools.move(points, mods);
      this.restless ||= this.tools.dragging;
    } else {
      this.hover = mods.coarse || paints(this.tools.tool) ? null : this.tools.under(at);
    }
    const { linger } = this.preview;
    if (linger && Math.hypot(at[0] - linger[0], at[1] - linger[1]) > AWAY) this.preview.linger = null;
    this.redraw();
  }

  released(at, mods) {
    [this.sliding, this.pulling] = [false, null];
    const dragged = this.tools.dragging && this.tools.gesture.kind !== "pending";
    this.tools.up(at, mods);
    if (dragged) this.preview.linger = at;
    if (mods.coarse) this.hover = null;
    this.changed();
  }

  left() {
    this.pointer = null;
    this.hover = null;
    this.redraw();
  }

  sliderRoom() {
    const width = this.doc.picture.width * this.view.scale;
    return [Math.max(0, this.view.x), Math.min(this.size.width, this.view.x + width)];
  }

  atSlider(at) {
    if (!this.shown || this.share === null) return false;
    const [left, right] = this.sliderRoom();
    return Math.abs(at[0] - left - (right - left) * this.share) < SLIDER;
  }

  // Buttons and keys

  act(action, value) {
    const { tools, doc } = this;
    const picture = Boolean(doc.picture);
    const may = picture && this.enabled && !this.running;
    if (choosesTool(action)) {
      if (!may || (action === "pin" && tools.pin())) return this.changed();
      tools.choose(action);
      this.tell("said_tool", { tool: this.say(action), help: this.say(`${action}_help`) });
    } else if (["undo", "redo"].includes(action)) {
      if (may) this.travel(action);
    } else if (action === "delete") {
      if (may) tools.remove();
    } else if (["around", "invert", "clear", "follow"].includes(action)) {
      if (may) this.layerAction(action, value);
    } else if (["fit", "pixels", "zoom"].includes(action)) {
      if (picture) this.lookAt(action, value);
    } else if (action === "layer" || action === "other_layer") {
      this.layer = value ?? (this.layer === "region" ? "mask" : "region");
      this.tell("said_layer", { layer: this.say(this.layer) });
    } else if (action === "pick_mode") {
      this.pickMode = value;
    } else if (action === "size") {
      this.setDiameter(sizeOf((value - 1) / 99, this.largest));
    } else if (action === "brush_size") {
      this.setDiameter(this.diameter + value);
    } else if (action === "opacity") {
      this.opacity = value / 100;
    } else if (action === "preview") {
      this.preview.wanted = !this.preview.wanted;
    } else if (action === "help") {
      this.showHelp(this.helpPage.hidden);
    } else if (action === "open") {
      this.file.click();
    }
    return this.changed();
  }

  lookAt(action, factor) {
    const middle = [this.size.width / 2, this.size.height / 2];
    if (action === "zoom") this.look(zoom(this.view, factor, this.pointer ?? middle));
    else {
      this.view = action === "fit" ? fit(this.doc.picture, this.size) : pixels(this.doc.picture, this.size, this.ratio);
      this.fitted = action === "fit";
    }
  }

  travel(way) {
    if (this.tools.cancel()) return;
    const label = this.history[way]();
    if (label === null) {
      this.tell(`said_nothing_to_${way}`);
      return;
    }
    this.tools.settle();
    this.restless = true;
    this.tell(way === "undo" ? "said_undone" : "said_redone", { what: this.say(label) });
    this.changed(true);
  }

  layerAction(action, value) {
    this.tools.cancel();
    const { doc, layer } = this;
    if (action === "follow") {
      this.push(value ? withFollowingMask(doc, null) : { ...doc, maskAuto: false }, "did_follow");
    } else if (action === "around") {
      if (!doc.drags.length) return this.tell("said_no_drags");
      this.layer = "mask";
      this.push(withLayer(doc, "mask", aroundDrags(doc)), "did_around");
    } else if (action === "invert") {
      this.push(withLayer(doc, layer, invert(doc[layer] ?? emptyLayer(doc.picture))), "did_invert");
    } else if (doc[layer]) {
      this.push(withLayer(doc, layer, null), "did_clear");
    }
    return undefined;
  }

  showHelp(wanted) {
    this.helpPage.hidden = !wanted;
    if (wanted) this.helpPage.focus({ preventScroll: true });
    else if (this.helpPage.contains(document.activeElement)) this.canvas.focus({ preventScroll: true });
  }

  get attended() {
    if (takesText(document.activeElement)) return false;
    const focused = document.activeElement;
    return this.frame.matches(":hover") || focused === this.canvas || this.helpPage.contains(focused);
  }

  key(event) {
    if (event.key === "Control" || event.key === "Meta") this.controlled = true;
    if (!this.attended || event.isComposing) return;
    const found = actionOf(event);
    if (!found) return;
    const handled = this.keyAction(found.action, found.value, event);
    if (handled === false) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Returns false where the key is not for us. */
  keyAction(action, value, event) {
    const focused = document.activeElement;
    const onButton = focused && focused !== this.canvas && ["BUTTON", "A", "INPUT"].includes(focused.tagName);
    if (!this.helpPage.hidden && !["help", "escape"].includes(action)) return false;
    switch (action) {
      case "space":
        if (!this.doc.picture) return false;
        this.spaced = true;
        break;
      case "original":
        if (!this.shown || !this.pointer || onButton) return false;
        this.original(true);
        break;
      case "escape":
        if (!this.helpPage.hidden) this.showHelp(false);
        else if (this.tools.cancel()) this.redraw();
        else if (this.tools.selected || this.cross) [this.tools.selected, this.cross] = [null, null];
        else return false;
        break;
      case "arrow":
        if (!this.doc.picture || (onButton && !this.pointer) || focused?.type === "range") return false;
        if (!this.enabled || this.running) return false;
        if (!this.nudge(value, event.repeat)) this.moveCross(value);
        break;
      case "press":
        if (focused !== this.canvas || !this.doc.picture) return false;
        this.pressCross(event);
        break;
      case "next":
        if (this.enabled) this.tools.next(value);
        break;
      default:
        this.act(action, value);
    }
    this.changed();
    return true;
  }

  nudge([dx, dy], repeated) {
    if (!this.tools.selected) return false;
    // A key that is held is one action.
    if (repeated && this.nudged === this.doc) this.history.undo();
    const done = this.tools.nudge(dx, dy);
    this.nudged = this.doc;
    return done;
  }

  keyUp(event) {
    if (event.key === "Control" || event.key === "Meta") this.controlled = false;
    if (event.key === " " && this.spaced) {
      this.spaced = false;
      event.preventDefault();
      this.redraw();
    }
    if (event.key === "Tab" && this.originally) this.original(false);
  }

  letGo() {
    [this.controlled, this.spaced] = [false, false];
    if (this.originally) this.original(false);
  }

  moveCross([dx, dy]) {
    const { picture } = this.doc;
    const step = Math.max(1, Math.round(1 / this.view.scale));
    const [x, y] =
      this.cross ?? (this.pointer ? toPicture(this.view, this.pointer) : [picture.width / 2, picture.height / 2]);
    const kept = (value, side) => Math.min(Math.max(Math.round(value), 0), side - 1);
    this.cross = [kept(x + dx * step, picture.width), kept(y + dy * step, picture.height)];
    this.tell("said_cross", { x: this.cross[0], y: this.cross[1] });
    this.tools.move([toScreen(this.view, this.cross)], { shift: false });
    this.restart();
  }

  /** Enter presses and lets go where the cross is. */
  pressCross(event) {
    if (!this.cross) return this.moveCross([0, 0]);
    const at = toScreen(this.view, this.cross);
    const mods = { shift: event.shiftKey };
    if (this.tools.gesture && this.tools.gesture.kind !== "pending") this.released(at, mods);
    else {
      const { cross } = this;
      this.pressed(at, mods);
      this.cross = cross;
      // A press that waits for its second place, and a pin, are done at once; what is pulled waits for the next Enter.
      if (["drag", "pin"].includes(this.tools.tool) && this.tools.gesture?.kind === "new") this.released(at, mods);
    }
    return undefined;
  }

  // Files

  paste(event) {
    const visible = this.root.offsetParent !== null;
    if (!visible || !this.enabled || takesText(document.activeElement)) return;
    if (!this.attended && this.doc.picture) return;
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (!files.length) return;
    event.preventDefault();
    event.stopPropagation();
    this.calls.onOpen(files);
  }

  async dropping(event) {
    const types = [...(event.dataTransfer?.types ?? [])];
    if (!this.enabled || !types.some((type) => ["Files", "text/uri-list"].includes(type))) return;
    event.preventDefault();
    event.stopPropagation();
    const inside = event.type === "dragleave" && this.frame.contains(event.relatedTarget);
    if (!inside) this.frame.classList.toggle("dragtext_dropping", ["dragenter", "dragover"].includes(event.type));
    if (event.type !== "drop") return;
    try {
      const files = await filesOf(event.dataTransfer);
      if (files.length) this.calls.onOpen(files);
    } catch (error) {
      this.failed(error);
    }
  }

  // What is told and drawn

  tell(key, values = {}) {
    this.note(this.say(key, values));
  }

  note(text) {
    this.told.textContent = text;
    this.told.classList.remove("dragtext_wrong");
    clearTimeout(this.telling);
    if (text) this.telling = setTimeout(() => (this.told.textContent = ""), TOLD);
  }

  failed(error) {
    this.tell("said_failed", { reason: error.message });
    this.told.classList.add("dragtext_wrong");
  }

  busy(change) {
    this.working += change;
    this.spinner.hidden = this.working === 0;
  }

  measure() {
    const box = this.canvas.getBoundingClientRect();
    const [width, height] = [Math.round(box.width), Math.round(box.height)];
    const ratio = window.devicePixelRatio || 1;
    if (!width || !height) return; // a tab that nobody looks at
    if (width === this.size.width && height === this.size.height && ratio === this.ratio) return;
    const before = this.size;
    this.size = { width, height };
    this.ratio = ratio;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    if (this.doc.picture)
      this.view = this.fitted ? fit(this.doc.picture, this.size) : resized(this.view, before, this.size);
    this.paintNow(); // at once: a canvas of another size is blank
  }

  /** The pointer has moved: the rest begins anew. */
  restart() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      const { tools } = this;
      const doc = tools.doc;
      if (!this.restless || !this.enabled || !hasWay(doc) || (tools.gesture && !tools.dragging)) return;
      if (tools.gesture?.kind === "pending") return;
      this.restless = false;
      this.calls.onRest(doc);
    }, REST);
  }

  /** Everything that follows from the state. document: whether it is another one. */
  changed(document = false) {
    this.tools.settle();
    const { doc, tools } = this;
    const may = this.enabled && !this.running;
    this.toolbar.show({
      tool: tools.tool,
      layer: this.layer,
      pickMode: this.pickMode,
      canUndo: this.history.canUndo || Boolean(tools.gesture),
      canRedo: this.history.canRedo,
      chosen: Boolean(tools.selected),
      hasPicture: Boolean(doc.picture),
      hasDrags: doc.drags.length > 0,
      hasLayer: !isEmpty(doc[this.layer]),
      maskAuto: doc.maskAuto,
      preview: this.preview.wanted,
      radius: this.radius,
      sizeShare: shareOf(this.diameter, this.largest),
      sized: ["brush", "eraser"].includes(tools.tool) || (tools.tool === "pick" && this.pickMode !== "object"),
      opacity: this.opacity,
      enabled: may,
      help: !this.helpPage.hidden,
    });
    this.welcome.hidden = Boolean(doc.picture);
    this.canvas.classList.toggle("dragtext_blank", !doc.picture);
    if (document) {
      this.calls.onChange(doc);
      this.asking.follow();
      this.restart();
    }
    this.redraw();
  }

  redraw() {
    if (this.frameAsked) return;
    this.frameAsked = requestAnimationFrame(() => {
      this.frameAsked = 0;
      this.paintNow();
    });
  }

  paintNow() {
    const { tools, doc } = this;
    this.canvas.dataset.cursor = this.cursor();
    this.zoomed.textContent = doc.picture ? `${Math.round(this.view.scale * this.ratio * 100)} %` : "";
    draw(this.context, this.scene());
    if (doc.picture) this.preview.prepare(tools.doc, tools.dragging);
  }

  cursor() {
    const { gesture, tool } = this.tools;
    if (!this.doc.picture) return "none_yet";
    if (this.pulling || this.pointers?.panning || gesture?.kind === "pan") return "grabbing";
    if (this.spaced) return "grab";
    if (this.pointer && this.atSlider(this.pointer)) return "slide";
    if (!this.enabled || this.running || this.share !== null) return "grab";
    if (gesture && ["end", "shift"].includes(gesture.kind)) return "grabbing";
    if (this.hover && !(this.hover.part === "shaft" && tool === "drag")) return "grab";
    if (this.sized) return "brush";
    return tool === "move" ? "move" : "crosshair";
  }

  get sized() {
    const { tool } = this.tools;
    return tool === "brush" || tool === "eraser" || (tool === "pick" && this.pickMode !== "object");
  }

  /** What there is to see. */
  scene() {
    const { tools, history, running } = this;
    const doc = tools.doc;
    const calm = this.originally || running || this.shown;
    const warped = !calm && this.preview.picture(doc, tools.dragging);
    let image = warped || this.image;
    let over = null;
    if (!this.originally) {
      if (running?.image) image = running.image;
      else if (this.shown && this.share === null) image = this.shown;
      else if (this.shown) over = { image: this.shown, share: this.share };
    }
    const tints = calm || warped ? [] : this.tinted(doc);
    const hidden = this.originally || (this.shown && (this.share !== null || !this.pointer));
    const brush =
      this.pointer && this.sized && !calm && this.enabled && !this.spaced
        ? { at: this.pointer, radius: this.radius, add: this.adds() }
        : null;
    return {
      size: this.size,
      ratio: this.ratio,
      view: this.view,
      picture: history.current.picture,
      image,
      over,
      tints,
      drags: hidden ? [] : doc.drags,
      running: running?.points ?? null,
      selected: running ? null : tools.selected,
      hover: running ? null : this.hover,
      pending: tools.gesture?.kind === "pending",
      path: tools.path,
      radius: this.radius,
      brush,
      cross: this.cross && !calm ? { at: toScreen(this.view, this.cross), pressed: Boolean(tools.gesture) } : null,
    };
  }

  adds() {
    const { tool } = this.tools;
    if (tool === "pick") return (this.pickMode === "plus") !== Boolean(this.erasing);
    return (tool === "brush") !== Boolean(this.erasing);
  }

  tinted(doc) {
    const found = !doc.region && this.preview.found(doc);
    const all = [];
    if (found) all.push({ canvas: this.tints.found.of(found), opacity: this.opacity * FAINT });
    for (const name of this.layer === "mask" ? ["region", "mask"] : ["mask", "region"]) {
      if (!doc[name]) continue;
      const opacity = this.opacity * (name === this.layer ? 1 : FAINT);
      all.push({ canvas: this.tints[name].of(doc[name]), opacity });
    }
    return all;
  }
}

/** The slider runs by ratios: as fine for small brushes as for large ones. */
const sizeOf = (share, most) => Math.round(most ** share);
const shareOf = (size, most) => Math.log(size) / Math.log(most);
