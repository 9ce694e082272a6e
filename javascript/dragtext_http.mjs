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
export async function call(path, { method = "GET", body = undefined, type = undefined } = {}) {
  const headers = { "X-DragText": pageId() };
  if (type) headers["Content-Type"] = type;
  let answer;
  try {
    answer = await fetch(address(path), { method, body, headers, cache: "no-store" });
  } catch {
    throw new Refused(0, "The server does not answer; is it still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, told.detail || `The server answered ${answer.status}.`);
}

/** Upload what a gradio picture box holds; the id, or "" for an empty box. */
export async function upload(value) {
  const source = sourceOf(value);
  if (!source) return "";
  let file;
  try {
    file = await (await fetch(source)).blob();
  } catch {
    throw new Refused(0, "The picture in the box cannot be read; put it there again.");
  }
  const answer = await call("pictures", { method: "POST", body: file, type: file.type || "application/octet-stream" });
  return (await answer.json()).id;
}

/** gradio 3 holds a picture as a data address or a named file, gradio 4 as an object with an address. */
export function sourceOf(value) {
  if (!value) return "";
  if (typeof value === "string") return value;
  return value.url || value.data || (value.name ? `file=${value.name}` : value.path ? `file=${value.path}` : "");
}
