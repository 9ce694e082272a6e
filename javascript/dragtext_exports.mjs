// What becomes of a result outside the page: files, the clipboard, the host's other tabs. No work at import.

import { copy, fileName, save } from "./dragtext_dom.mjs";
import { ask, call } from "./dragtext_http.mjs";

export const TARGETS = ["img2img", "inpaint", "extras"];
const SHORT = 8; // letters of an id in a file's name

/** Below an edit's address. */
export const pathOf = (id, rest = "") => `edits/${encodeURIComponent(id)}${rest}`;

/** A result as a PNG that carries its request. */
export async function fileOf(id) {
  return (await call(pathOf(id, "/image"))).blob();
}

export async function savePicture(id) {
  save(await fileOf(id), `dragtext-${id.slice(0, SHORT)}.png`);
}

/** The way of an edit as "gif" or "mp4". */
export async function saveFilm(edit, format) {
  const answer = await call(pathOf(edit, `/animation?format=${format}`));
  save(await answer.blob(), fileName(answer, `dragtext-${edit.slice(0, SHORT)}.${format}`));
}

/** The program that makes a result again into the clipboard, and the picture that it reads as a file; its name. */
export async function copySnippet(id) {
  await copy(await (await call(pathOf(id, "/snippet"))).text());
  const { picture } = await ask(pathOf(id, "/document"));
  const answer = await call(`pictures/${encodeURIComponent(picture.id)}/file`);
  const name = fileName(answer, "picture.png");
  save(await answer.blob(), name);
  return name;
}

export async function copyRequest(edit) {
  const { request } = await ask(pathOf(edit, "/result"));
  await copy(JSON.stringify(request, null, 2));
}

/** An edit's drags and mask as "dragbench" or "drag100" keeps them. */
export async function saveBenchmark(edit, format) {
  const { picture, prompt, drags, mask, settings } = await ask(pathOf(edit, "/document"));
  const body = JSON.stringify({ format, picture: picture.id, prompt, drags, mask, settings });
  const answer = await call("export", { method: "POST", body, type: "application/json" });
  save(await answer.blob(), fileName(answer, `${format}.zip`));
}

/** A result, with what may change in it, into another tab of the host. */
export async function sendTo(target, id) {
  const { mask } = await ask(pathOf(id, "/document"));
  const painted = mask ? await (await fetch(mask)).blob() : null;
  const { infotext } = await ask(pathOf(id, "/result"));
  await window.dragtext_send.to(target, await fileOf(id), painted, infotext);
}
