// The stage: the picture with its drags and layers, and all that is done to them. No work at import.

import { Asking } from "./dragtext_asking.mjs";
import { Commands } from "./dragtext_commands.mjs";
import { hasWay, newDocument } from "./dragtext_document.mjs";
import { COLOURS, draw } from "./dragtext_draw.mjs";
import { fileField, receive } from "./dragtext_files.mjs";
import { fit, pan, resized } from "./dragtext_geometry.mjs";
import { frameOf } from "./dragtext_frame.mjs";
import { Hand } from "./dragtext_hand.mjs";
import { History } from "./dragtext_history.mjs";
import { Pointers } from "./dragtext_pointer.mjs";
import { Preview } from "./dragtext_preview.mjs";
import { cursorOf, sceneOf, stateOf } from "./dragtext_scene.mjs";
import { Tint } from "./dragtext_tint.mjs";
import { Toolbar } from "./dragtext_toolbar.mjs";
import { Tools } from "./dragtext_tools.mjs";

const REST = 700; // milliseconds without a movement that are a rest
const TOLD = 6000; // milliseconds that a remark stays
const NARROW = 940; // pixels of a stage that has no room for every word

export class Stage {
  /**
   * root: an empty element, filled with toolbar and canvas. say: texts (dragtext_words.mjs).
   *
   * server: pick({handles, box, plus, minus}) gives {region, note}, the object that was shown; maskFor({drags, region})
   * gives {mask}, what may change; start({drags, region, mask}) gives {moves: [{region, drags: [index], root}], background},
   * the parts of a warped start. What goes in are layers, what comes back are data addresses of pictures; all of them are
   * asynchronous.
   *
   * onChange(doc) after every change, onOpen(files), onRest(doc) when the pointer rests after a change; optional: onBusy()
   * when a gesture begins, onHide() when a result gives way to the picture, onCompare(share) when its line is pulled.
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
    this.cross = null; // the keyboard's, in the picture
    this.shown = null; // a result
    this.share = null; // of the view left of the line between picture and result
    this.other = null; // what is left of that line in place of the picture
    this.hasty = null; // a quick result
    this.running = null; // {points, image} of an edit that runs
    this.originally = false;
    this.restless = false;
    this.working = 0;
    this.tints = { region: new Tint(COLOURS.region), mask: new Tint(COLOURS.mask), found: new Tint(COLOURS.region) };
    this.stop = new AbortController();
    this.tools = new Tools(this);
    this.asking = new Asking(server, this);
    this.preview = new Preview(server, this);
    this.commands = new Commands(this);
    this.hand = new Hand(this);
    this.toolbar = new Toolbar(say, (action, value) => this.act(action, value));
    Object.assign(
      this,
      frameOf(say, (action) => this.act(action)),
    );
    this.context = this.canvas.getContext("2d");
    this.file = fileField((files) => this.calls.onOpen(files));
    this.root.classList.add("dragtext_stage");
    this.root.replaceChildren(this.toolbar.element, this.frame, this.file);
    this.pointers = new Pointers(this);
    this.listen();
    this.changed();
  }

  listen() {
    const signal = this.stop.signal;
    const on = (target, name, does, more = {}) => target.addEventListener(name, does, { signal, ...more });
    this.observer = new ResizeObserver(() => this.measure());
    this.observer.observe(this.canvas);
    on(window, "resize", () => this.measure());
    on(document, "keydown", (event) => this.commands.key(event), { capture: true });
    on(document, "keyup", (event) => this.commands.keyUp(event), { capture: true });
    on(window, "blur", () => this.commands.letGo());
    on(this.canvas, "blur", () => {
      this.cross = null;
      this.redraw();
    });
    receive(this, (target, name, does) => on(target, name, does, { capture: true }));
    this.measure();
  }

  // The picture and its document

  /**
   * Show a picture {id, width, height, name}. image: of it, of any size; doc: what was done to it, by default nothing.
   */
  open(picture, image, doc = null) {
    this.tools.cancel();
    this.tools.selected = null;
    this.asking.forget();
    this.preview.reset(image);
    this.image = image;
    [this.shown, this.share, this.hasty, this.running, this.cross] = [null, null, null, null, null];
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
    this.moveOn();
  }

  /** Another document is the current one because somebody wanted it. */
  moveOn() {
    this.restless = true;
    this.hasty = null;
    this.preview.linger = null;
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

  /** Show a quick result in place of the picture, until something is done to the document. */
  quick(image) {
    this.hasty = image;
    this.redraw();
  }

  /**
   * Show picture and result beside each other, with a line at a share (0..1) of the view; null: the result alone.
   * other: in place of the picture.
   */
  compare(share, other = this.other) {
    this.share = share === null ? null : Math.min(1, Math.max(0, share));
    this.other = share === null ? null : other;
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

  /** Do what a button does, by its data-action. */
  act(action, value) {
    this.commands.act(action, value);
  }

  /** Whether there is a document that can be changed now. */
  get changeable() {
    return Boolean(this.doc.picture) && this.enabled && !this.running;
  }

  get spaced() {
    return this.commands.spaced;
  }

  get controlled() {
    return this.commands.controlled;
  }

  /** Whether the tool has a brush. */
  get sized() {
    const { tool } = this.tools;
    return tool === "brush" || tool === "eraser" || (tool === "pick" && this.pickMode !== "object");
  }

  /** The last place of the pointer on the canvas, or null. */
  get pointer() {
    return this.hand.at;
  }

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
    this.root.classList.toggle("dragtext_narrow", width < NARROW);
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

  /** Everything that follows from the state. another: whether the document is another one. */
  changed(another = false) {
    this.tools.settle();
    const { doc } = this;
    this.toolbar.show(stateOf(this));
    this.welcome.hidden = Boolean(doc.picture);
    this.canvas.classList.toggle("dragtext_blank", !doc.picture);
    if (another) {
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
    const { tools, doc, preview } = this;
    this.canvas.dataset.cursor = cursorOf(this);
    this.zoomed.textContent = doc.picture ? `${Math.round(this.view.scale * this.ratio * 100)} %` : "";
    draw(this.context, sceneOf(this));
    if (doc.picture) preview.prepare(tools.coming ?? tools.doc, tools.dragging || Boolean(tools.coming));
  }
}
