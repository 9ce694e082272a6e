// Opening a picture: dropped, pasted, chosen, an example, another tab's result, or a PNG that carries a whole request.
// No work at import.

import { make } from "./dragtext_dom.mjs";
import { asDocument } from "./dragtext_exchange.mjs";
import { address, ask, call, pageId, pictureOf, Refused, upload } from "./dragtext_http.mjs";

const SIDE = 2048; // pixels of the picture as the canvas draws it
const REQUESTS = [".json", ".pkl", ".pickle"]; // files with a request and no picture

/** Opens pictures on the canvas. One at a time: a newer one wins. */
export class Opener {
  /**
   * tell(text, bad, offer): the line of the page, with a button where there is an offer ({text, act}); fill({prompt,
   * settings}): into the form; opened(picture, image): it is on the canvas now.
   */
  constructor({ say, stage, tell, fill, opened }) {
    Object.assign(this, { say, stage, tell, fill, opened, turn: 0 });
    this.picture = null;
    this.image = null;
  }

  /** Files that somebody dropped, pasted or chose; the first that can be used counts. */
  async files(files) {
    const [file] = files;
    if (!file) return;
    const isRequest = REQUESTS.some((end) => (file.name ?? "").toLowerCase().endsWith(end));
    await this.attempt(() => (isRequest ? this.request(file) : this.file(file, file.name)));
  }

  /** A picture from an address, for example another tab's result. */
  async url(url, name = "") {
    await this.attempt(async () => {
      let blob;
      try {
        const own = new URL(url, location.href).href.startsWith(address(""));
        const answer = await fetch(url, own ? { headers: { "X-DragText": pageId() } } : {});
        if (!answer.ok) throw new Error(String(answer.status));
        blob = await answer.blob();
      } catch {
        throw new Refused(0, this.say("open_unreadable"));
      }
      await this.file(blob, name || url.split(/[?#]/)[0].split("/").pop());
    });
  }

  async example(name) {
    await this.attempt(async () => {
      const blob = await (await call(`examples/${encodeURIComponent(name)}`)).blob();
      await this.file(blob, name);
    });
  }

  async attempt(action) {
    try {
      await action();
    } catch (error) {
      this.tell(error.message, true);
    }
  }

  /**
   * A picture file; one of a result brings the picture back that it was made from, where the server still has it.
   * keep: what the form says stays, and what the file carries is left aside (a result dragged on).
   */
  async file(blob, name, { keep = false } = {}) {
    const mine = ++this.turn;
    this.tell(this.say("opening"));
    const told = await upload(blob);
    const request = keep ? null : told.request;
    const original = request && told.original && told.original.id !== told.id;
    const { id, width, height } = original ? told.original : told;
    const picture = { id, width, height, name: name || "" };
    const image = await pictureOf(`pictures/${id}/view?side=${SIDE}`);
    if (mine !== this.turn) return;
    const doc = request ? await asDocument(request, picture) : null;
    if (mine !== this.turn) return;
    const first = !this.picture;
    this.show(picture, image, doc);
    if (request) await this.fill({ prompt: request.prompt ?? "", settings: request.settings ?? {} });
    // What was said of another picture does not fit; what was written before there was any does.
    else if (!keep && (told.prompt || !first)) await this.fill({ prompt: told.prompt ?? "" });
    if (!request) return this.tell(told.note || this.say("opened"));
    const restored = this.say("restored", { drags: doc.drags.length });
    const lying = original ? this.say("restored_original") : told.original ? "" : this.say("restored_result");
    const whole = [restored, lying, told.note].filter(Boolean).join(" ");
    const instead = { text: this.say("open_result"), act: () => this.attempt(() => this.file(blob, name, { keep: true })) };
    return this.tell(whole, false, original ? instead : null);
  }

  /** Drags, layers and settings from a file without a picture, onto the picture that is there. */
  async request(file) {
    if (!this.picture) throw new Error(this.say("request_first"));
    const answer = await call("requests", { method: "POST", body: file, type: "application/octet-stream" });
    const { request } = await answer.json();
    await this.take(request);
  }

  /** A request onto the picture that is there. */
  async take(request) {
    if (!this.picture) throw new Error(this.say("request_first"));
    const doc = await asDocument(request, this.picture);
    const fits = doc.drags.every(({ source, target }) => [source, target].every((point) => this.holds(point)));
    const same = [doc.region, doc.mask].every((layer) => !layer || this.isOfThisShape(layer));
    if (!fits || !same) throw new Error(this.say("request_other"));
    this.stage.replace(doc, "did_restore");
    await this.fill({ prompt: request.prompt || undefined, settings: request.settings ?? {} });
    this.tell(this.say("restored", { drags: doc.drags.length }));
  }

  holds([x, y]) {
    return x >= 0 && y >= 0 && x <= this.picture.width && y <= this.picture.height;
  }

  isOfThisShape(layer) {
    return Math.abs(layer.width / layer.height - this.picture.width / this.picture.height) < 0.02;
  }

  /** A document that this page or the server kept: its picture must still be there. Throws Refused. */
  async known(picture, doc) {
    const mine = ++this.turn;
    const image = await pictureOf(`pictures/${encodeURIComponent(picture.id)}/view?side=${SIDE}`);
    if (mine === this.turn) this.show(picture, image, doc);
  }

  show(picture, image, doc) {
    this.picture = picture;
    this.image = image;
    this.stage.open(picture, image, doc ?? undefined);
    this.opened(picture, image);
  }
}

/** Cards of the examples, shown while there is no picture. */
export async function fillExamples(root, { say, open }) {
  let examples = [];
  try {
    examples = await ask("examples");
  } catch {
    return; // the canvas itself says how to open a picture
  }
  if (!examples.length) return;
  root.replaceChildren(make("p", { text: say("examples") }), make("div", { class: "dragtext_example_row" }));
  for (const { name, title } of examples) {
    const picture = make("img", { alt: "", loading: "lazy" });
    const card = make(
      "button",
      { type: "button", class: "dragtext_example", "data-example": name, onclick: () => open(name) },
      picture,
      make("span", { text: title }),
    );
    root.lastChild.append(card);
    showPicture(picture, `examples/${encodeURIComponent(name)}`);
  }
}

/** A picture that needs our header to be asked for. */
async function showPicture(element, path) {
  try {
    element.src = URL.createObjectURL(await (await call(path)).blob());
    element.onload = () => URL.revokeObjectURL(element.src);
  } catch {
    element.remove();
  }
}
