// Our routes, as the page calls them. No work at import: a host loads every file of this folder as a module.

const ID = /^[A-Za-z0-9]{16,64}$/;

/** Which page this is: the same after a reload, another one in another tab. */
export function pageId(storage = sessionStorage) {
  const known = storage.getItem("dragtext_page");
  if (known && ID.test(known)) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const made = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  storage.setItem("dragtext_page", made);
  return made;
}

/** The address of a route, also where the page does not lie at the root. */
export function address(path, place = location) {
  return `${place.origin}${place.pathname.replace(/\/+$/, "")}/dragtext/internal/${path}`;
}

/** What the server answered instead of what was asked. status: 0 where it did not answer at all. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Call a route. Throws Refused with the server's sentence. */
export async function call(path, { method = "GET", body = undefined, type = undefined, signal = undefined } = {}) {
  const headers = { "X-DragText": pageId() };
  if (type) headers["Content-Type"] = type;
  let answer;
  try {
    answer = await fetch(address(path), { method, body, headers, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer; is it still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, told.detail || `The server answered ${answer.status}.`);
}

/** What a route says, in JSON. */
export async function ask(path) {
  return (await call(path)).json();
}

/** Send JSON, get JSON. */
export async function send(path, data, method = "POST") {
  const answer = await call(path, { method, body: JSON.stringify(data), type: "application/json" });
  return answer.json();
}

/** Upload a picture file; what the server knows of it: id, width, height, and what the file carries. */
export async function upload(file) {
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream"; // the server looks into it
  return (await call("pictures", { method: "POST", body: file, type })).json();
}

/** A picture of a route, to be drawn. */
export async function pictureOf(path) {
  return createImageBitmap(await (await call(path)).blob());
}
