// The strip of results: a card each, newest first. No work at import.

import { make } from "./dragtext_dom.mjs";
import { pathOf } from "./dragtext_exports.mjs";
import { pictureOf } from "./dragtext_http.mjs";
import { outcomeText } from "./dragtext_run.mjs";

const SIDE = 144; // pixels of a card's picture

export class Cards {
  /** open(id), against(id), remove(id): what the buttons of a card do. */
  constructor(root, { say, open, against, remove }) {
    Object.assign(this, { root, say, open, against, remove });
    this.pictures = new Map();
  }

  /** jobs: results, oldest first; chosen, other: ids of the one that is looked at and of what it is compared with. */
  draw(jobs, chosen, other) {
    const edits = jobs.filter((job) => job.kind === "edit").map((job) => job.id);
    for (const id of this.pictures.keys()) if (!jobs.some((job) => job.id === id)) this.pictures.delete(id);
    const cards = jobs.map((job) => this.card(job, edits.indexOf(job.edit) + 1, { chosen, other }));
    this.root.hidden = cards.length === 0;
    this.root.replaceChildren(...cards.reverse());
  }

  card(job, number, { chosen, other }) {
    const { say } = this;
    const name = job.kind === "render" ? say("card_render", { number, v: job.v[0] }) : say("card_edit", { number });
    const small = (kind, text, key, action, more = {}) =>
      make("button", {
        type: "button",
        class: `dragtext_card_${kind}`,
        text,
        title: say(key),
        "aria-label": `${say(key)}: ${name}`,
        onclick: () => action(job.id),
        ...more,
      });
    const open = make(
      "button",
      {
        type: "button",
        class: "dragtext_card_open",
        title: outcomeText(job, say),
        "aria-label": name,
        onclick: () => this.open(job.id),
      },
      this.picture(job.id),
      make("span", { text: name }),
    );
    const classes = ["dragtext_card", job.id === chosen && "dragtext_chosen", job.id === other && "dragtext_other"];
    return make(
      "div",
      { class: classes.filter(Boolean).join(" "), role: "listitem", "data-job": job.id },
      open,
      small("against", "◐", "card_against", this.against, { "aria-pressed": String(job.id === other) }),
      small("delete", "×", "do_delete_help", this.remove),
    );
  }

  picture(id) {
    if (!this.pictures.has(id)) {
      const canvas = make("canvas", { width: SIDE, height: SIDE });
      this.pictures.set(id, canvas);
      this.paint(id, canvas);
    }
    return this.pictures.get(id);
  }

  async paint(id, canvas) {
    try {
      const picture = await pictureOf(pathOf(id, "/image"));
      const scale = Math.max(SIDE / picture.width, SIDE / picture.height);
      const [width, height] = [picture.width * scale, picture.height * scale];
      canvas.getContext("2d").drawImage(picture, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
      picture.close();
    } catch {
      this.pictures.delete(id); // it is asked for again with the next drawing
    }
  }
}
