// The Drag tab's life: the canvas, the form beside it, the running edit and its results, and what gradio's events ask.
// gradio calls `window.dragtext.NAME(values)` first; what it returns is what the server's action gets.

import { Stage } from "./dragtext_canvas.mjs";
import { addDescribers } from "./dragtext_describe.mjs";
import { copy, find, make, pause, settled } from "./dragtext_dom.mjs";
import { deserialise, hasWay, serialise } from "./dragtext_document.mjs";
import { asDocument, pairs, uploaded, withLayersWritten } from "./dragtext_exchange.mjs";
import { address, ask, call, pageId, send } from "./dragtext_http.mjs";
import { fillExamples, Opener } from "./dragtext_open.mjs";
import { Quick, setQuick, wantsQuick } from "./dragtext_quick.mjs";
import { Results } from "./dragtext_results.mjs";
import { outcomeText, Run } from "./dragtext_run.mjs";
import { offer } from "./dragtext_send.mjs";
import { Form } from "./dragtext_settings.mjs";
import { showTab } from "./dragtext_tab.mjs";
import { pageLanguage, words } from "./dragtext_words.mjs";

const KEPT = "dragtext_document"; // the unsent document, for a reload

/** gradio writes "en" into every page, whoever reads it; then the browser knows better. */
function language() {
  const written = document.documentElement.lang;
  return pageLanguage(written === "en" ? { documentElement: { lang: "" } } : document);
}

class Page {
  constructor() {
    this.ready = new Promise((resolve) => (this.isReady = resolve));
    this.language = language();
    this.say = words(this.language);
  }

  /** Once gradio has drawn the tab. */
  async begin() {
    while (!find("stage") || !find("settings") || !find("given")) await pause(100);
    const { say } = this;
    const tell = (...told) => this.tell(...told);
    const places = ["run", "results"].map((name) => make("div", { id: `dragtext_${name}` }));
    find("outcome").append(...places);
    this.form = new Form({ say, language: this.language, tell, picture: () => this.opener?.picture?.id ?? "" });
    this.stage = new Stage(find("stage"), {
      say,
      server: this.server(),
      onChange: (doc) => this.changed(doc),
      onOpen: (files) => this.opener.files(files),
      onRest: (doc) => this.quick.rest(doc),
      onBusy: () => this.quick.cancel(),
      onHide: () => this.results.hide(),
      onCompare: (share) => this.results.divide(share),
    });
    const { stage } = this;
    this.opener = new Opener({
      say,
      stage,
      tell,
      fill: (told) => this.form.fill(told),
      opened: () => this.opened(),
    });
    this.run = new Run(places[0], {
      say,
      stage,
      tell,
      active: (on) => find("interrupt").classList.toggle("dragtext_idle", !on),
      done: (state) => this.ended(state),
    });
    find("interrupt").classList.add("dragtext_idle");
    this.results = new Results(places[1], {
      say,
      stage,
      tell,
      reopen: (id) => this.reopen(id),
      onward: (blob, name) => this.opener.file(blob, name, { keep: true }),
      shown: () => find("collect")?.click(),
      current: () => this.opener.picture?.id ?? "",
      image: () => this.opener.image,
    });
    this.quick = new Quick({
      stage,
      form: this.form,
      busy: () => this.run.active,
      shown: () => tell(say("quick_shown")),
      off: () => {
        this.quickBox.checked = false;
        tell(say("quick_off"));
      },
    });
    this.addQuickSwitch();
    addDescribers(find("describe"), {
      say,
      tell,
      picture: () => this.opener.picture?.id ?? "",
      prompt: () => find("prompt").querySelector("textarea").value,
      put: (prompt) => this.form.fill({ prompt }),
    });
    this.keep = settled((doc) => this.keepDocument(doc), 300);
    this.recommend = settled((doc) => this.form.recommend(hasWay(doc) ? pairs(doc) : null), 600);
    addEventListener("pagehide", () => this.keepDocument(stage.document));
    find("tab").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("drag").click();
    });
    await Promise.all([this.form.begin().then(() => this.resume()), this.examples()]);
    this.isReady();
  }

  examples() {
    const root = find("stage").querySelector(".dragtext_examples");
    return fillExamples(root, { say: this.say, open: (name) => this.opener.example(name) });
  }

  /** The line of the page. offer: {text, act} of a button at its end. */
  tell(text, bad = false, offer = null) {
    const line = find("status")?.querySelector("p");
    if (!line) return;
    line.textContent = text;
    if (offer) line.append(" ", make("button", { type: "button", text: offer.text, onclick: offer.act }));
    line.classList.toggle("dragtext_bad", bad);
  }

  addQuickSwitch() {
    this.quickBox = make("input", {
      type: "checkbox",
      id: "dragtext_quick",
      onchange: () => setQuick(this.quickBox.checked),
    });
    this.quickBox.checked = wantsQuick();
    find("settings").append(
      make(
        "label",
        { class: "dragtext_switch", title: this.say("quick_help") },
        this.quickBox,
        make("span", { text: this.say("quick") }),
      ),
    );
  }

  /** What the canvas asks the server, about the picture that is on it. */
  server() {
    const of = (what) => (told) => send(`pictures/${encodeURIComponent(this.opener.picture.id)}/${what}`, told);
    const written = (what) => async (told) => of(what)(await withLayersWritten(told));
    return { pick: of("region"), maskFor: written("mask"), start: written("start") };
  }

  // The document.

  changed(doc) {
    this.quick.cancel();
    this.results.hide();
    this.keep(doc);
    this.recommend(doc);
  }

  opened() {
    this.quick.cancel();
    this.results.hide();
    this.keep(this.stage.document);
    this.form.expect();
  }

  keepDocument(doc) {
    if (!doc?.picture) return;
    try {
      sessionStorage.setItem(KEPT, serialise(doc));
    } catch {
      sessionStorage.removeItem(KEPT); // too large; the server knows what was sent
    }
  }

  /** After a reload: the document as it was, the results, and the edit that runs. */
  async resume() {
    const jobs = await this.results.refresh().catch(() => []);
    const latest = jobs.filter(isEdit).at(-1);
    const now = running(jobs);
    const kept = deserialise(sessionStorage.getItem(KEPT) ?? "");
    const opened = kept?.picture && (await this.attempt(() => this.opener.known(kept.picture, kept)));
    if (!opened && latest) await this.attempt(() => this.reopen(latest.id));
    if (now) this.run.follow(now.id);
  }

  async attempt(action) {
    try {
      await action();
      return true;
    } catch {
      return false; // forgotten by the server: then there is nothing to go on with
    }
  }

  /** The picture and the document of an edit, as it was sent. */
  async reopen(id) {
    const told = await ask(`edits/${encodeURIComponent(id)}/document`);
    await this.opener.known(told.picture, await asDocument(told, told.picture));
    await this.form.fill({ prompt: told.prompt, settings: told.settings });
  }

  async ended(state) {
    const jobs = await this.results.refresh().catch(() => []);
    const next = running(jobs);
    if (state.state === "gone") return;
    this.tell(outcomeText(state, this.say), state.state === "failed");
    const here = state.picture === this.opener.picture?.id;
    if (state.state === "done" && here && !next) {
      await this.results.attempt(() => this.results.select(state.id));
    }
    this.form.expect();
    if (next) this.run.follow(next.id);
  }
}

/** The edit that this page waits for: the one that came last. */
function running(jobs) {
  return jobs.filter((job) => isEdit(job) && ["queued", "running"].includes(job.state)).at(-1);
}

const isEdit = (job) => job.kind === "edit" && !job.quick;

/** What gradio's events call. */
function actionsOf(page) {
  return {
    // page, problem, document, prompt, ...settings
    submit: async (values) => {
      const given = [...values];
      given[0] = pageId();
      given[1] = "";
      try {
        page.quick.cancel();
        page.results.hide();
        const doc = page.stage.document;
        if (!doc.picture) throw new Error(page.say("no_picture"));
        if (!doc.drags.length) throw new Error(page.say("no_drags"));
        page.tell(page.say("sending"));
        page.run.active = true;
        given[2] = JSON.stringify(await uploaded(doc));
      } catch (error) {
        given[1] = error.message;
      }
      return given;
    },
    follow: ([id]) => {
      if (id) page.run.follow(id);
      else page.run.active = false; // refused
      return [];
    },
    current: () => [pageId(), page.run.id],
    shown: () => [pageId(), page.results.id],
    given: (values) => {
      page.form.hear(values);
      return [];
    },
    fill: () => ["", page.form.wanted ?? ""],
    filled: () => {
      page.form.filled();
      return [];
    },
    use: ([, , text]) => [pageId(), "", text],
    taken: ([told]) => {
      if (told) page.opener.attempt(() => page.opener.take(JSON.parse(told).request));
      return [];
    },
    report: async () => {
      try {
        await copy(await (await call("report")).text());
        page.tell(page.say("copied_report"));
      } catch (error) {
        page.tell(error.message, true);
      }
      return [];
    },
    /** The canvas, for whoever extends the tab. */
    stage: () => page.stage,
    /** Of a route of ours. */
    address,
    /** Open a picture of another tab, and show ours. */
    openUrl: async (url, name = "") => {
      await page.ready;
      showTab(find("tab"));
      await page.opener.url(url, name);
    },
  };
}

if (!window.dragtext) {
  const page = new Page();
  window.dragtext = actionsOf(page);
  page.begin();
  offer(page.say);
}
