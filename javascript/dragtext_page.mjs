// The Drag tab's life: what the buttons hand to the server, and the job that this page follows.
// gradio's events call `window.dragtext.NAME(values)` first; what it returns is what the server's action gets.

import { call, pageId, Refused, upload } from "./dragtext_http.mjs";
import { follow } from "./dragtext_follow.mjs";

const JOB = "dragtext_job"; // the job that is followed, or was last
const SHOWN = "dragtext_shown"; // the job whose picture the result box shows

const find = (id) => document.getElementById(`dragtext_${id}`);
const kept = (name) => sessionStorage.getItem(name) || "";
const keep = (name, value) => sessionStorage.setItem(name, value);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

let turn = 0; // grows with every job that is followed, so that the one before lets go
let drawn = ""; // what the picture of the state shows

function say(text, bad = false) {
  const line = find("status")?.querySelector("p");
  if (!line) return;
  line.textContent = text;
  line.classList.toggle("dragtext_bad", bad);
}

async function draw(state) {
  const wanted = `${state.id} ${state.preview_version} ${JSON.stringify(state.points)} ${state.state}`;
  const picture = find("state_picture");
  if (state.kind !== "edit" || wanted === drawn || !picture) return;
  try {
    const file = await (await call(`edits/${state.id}/standing`)).blob();
    if (picture.src.startsWith("blob:")) URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(file);
    picture.hidden = false;
    drawn = wanted;
  } catch (error) {
    if (!(error instanceof Refused)) throw error; // what failed without a result has no picture any more
  }
}

async function followJob(id) {
  if (!id) return;
  const mine = ++turn;
  keep(JOB, id);
  const last = await follow({
    ask: async () => (await call(`edits/${encodeURIComponent(id)}`)).json(),
    show: async (state) => {
      say(state.text, state.state === "failed");
      await draw(state);
    },
    trouble: (message, status) => {
      if (status === 404) sessionStorage.removeItem(JOB);
      say(status === 404 ? "This edit is not known any more; drag again." : message, true);
    },
    wait: pause,
    current: () => mine === turn,
    hidden: () => document.hidden,
  });
  if (mine !== turn || !last) return;
  if (last.state === "done") keep(SHOWN, id);
  find("collect")?.click();
}

/** Upload the pictures first: what gradio would send goes through none of its decoders, and only once. */
async function withPictures(values, boxes, places, problemAt) {
  const given = [...values];
  for (const box of boxes) given[box] = null;
  try {
    for (const [number, box] of boxes.entries()) given[places[number]] = await upload(values[box]);
    given[problemAt] = "";
  } catch (error) {
    given[problemAt] = error.message;
  }
  return given;
}

const actions = {
  // picture, mask, page, problem, picture_id, mask_id, prompt, ...
  submit: async (values) => {
    say("Sending the picture.");
    const given = await withPictures(values, [0, 1], [4, 5], 3);
    given[2] = pageId();
    return given;
  },
  // picture, page, problem, picture_id, text
  use: async (values) => {
    const needed = !String(values[4] || "").trim();
    const given = await withPictures(values, needed ? [0] : [], [3], 2);
    given[0] = null;
    given[1] = pageId();
    return given;
  },
  // page, problem, shown, v
  render: (values) => [pageId(), "", kept(SHOWN), values[3]],
  latest: () => [pageId()],
  current: () => [pageId(), kept(JOB)],
  shown: () => [pageId(), kept(SHOWN)],
  follow: (values) => {
    followJob(values[0]);
    return [];
  },
  report: async () => {
    try {
      await copy(await (await call("report")).text());
      say("The facts for a bug report are in the clipboard.");
    } catch (error) {
      say(error.message, true);
    }
    return [];
  },
};

/** The clipboard's own interface exists on secure pages only, and a WebUI in the network is none. */
async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("The browser does not let the page use the clipboard; run dragtext info instead.");
}

/** A reloaded page goes on with the job that it followed, and shows what it had. */
async function resume() {
  while (!find("status")) await pause(300);
  if (kept(JOB)) await followJob(kept(JOB));
}

if (!window.dragtext) {
  window.dragtext = actions;
  resume();
}
