// Pictures from the host's other tabs to the Drag tab and back. No work at import: the page's script calls `offer`.
// Hosts have no common way for this, but their pages have: file inputs, and in Forge's canvas two text boxes.

const OWN = "dragtext_send_button";
const TRIES = 100; // of 100 ms, since a host draws what it is given when it has the time

/** Where pictures come from: [id of a row of buttons or of a button in it, id of what shows the picture]. */
const SOURCES = [
  ["image_buttons_txt2img", "txt2img_gallery"],
  ["image_buttons_img2img", "img2img_gallery"],
  ["image_buttons_extras", "extras_gallery"],
  ["extras_tab", "pnginfo_image"],
];

/** Where pictures go: the box, the function of the host's own that shows its tab, and where its prompt is. */
const TARGETS = {
  img2img: { box: "img2img_image", show: "switch_to_img2img", prompt: "img2img_prompt" },
  inpaint: { box: "img2maskimg", show: "switch_to_inpaint", prompt: "img2img_prompt" },
  extras: { box: "extras_image", show: "switch_to_extras", prompt: "" },
};
// A sketch box of gradio 3 takes no mask from outside; the tab beside it has a box for the mask.
const UPLOADED_MASK = { box: "img_inpaint_base", mask: "img_inpaint_mask", tab: 4, prompt: "img2img_prompt" };

/** The prompt in an infotext: what stands before the line of `Key: value` pairs. */
export function promptOf(infotext) {
  const lines = String(infotext || "").split("\n");
  const end = lines.findIndex((line) => /^(Negative prompt|Steps): /.test(line));
  return lines.slice(0, end < 0 ? lines.length : end).join("\n").trim();
}

/** A picture's name as it is in its address, without what hosts put behind it. */
export function nameOf(address) {
  const path = String(address).split(/[?#]/)[0];
  if (!path || path.startsWith("data:") || path.startsWith("blob:")) return "picture.png";
  const last = path.split("/").pop();
  try {
    return decodeURIComponent(last) || "picture.png";
  } catch {
    return last; // a file may have a percent sign in its name
  }
}

/** The address of the picture that a gallery or picture box shows: the chosen one, else the large one, else the first. */
export function shownPicture(box) {
  for (const place of [".thumbnail-item.selected img", ".preview img", "img"]) {
    const address = box?.querySelector(place)?.src;
    if (address) return address;
  }
  return "";
}

/** Put a "Send to DragText" button beside the host's send-to buttons, once; returns how many there are.
 * open: called with the picture's address and name; say: the texts. */
function addButtons(page, open, say) {
  let count = 0;
  for (const [place, source] of SOURCES) {
    const found = page.getElementById(place);
    const row = found?.tagName === "BUTTON" ? found.parentElement : found;
    if (!row) continue;
    count += 1;
    if (row.querySelector(`.${OWN}`)) continue;
    const sibling = [...row.querySelectorAll("button")].pop();
    const button = page.createElement("button");
    button.className = `${sibling?.className ?? ""} ${OWN}`;
    const small = sibling?.classList.contains("tool");
    button.textContent = small ? "✥" : say("send_here");
    button.title = say("send_here_help");
    button.setAttribute("aria-label", say("send_here"));
    button.addEventListener("click", (event) => {
      event.preventDefault();
      const address = shownPicture(page.getElementById(source));
      if (address) open(address, nameOf(address));
    });
    (sibling?.parentElement ?? row).append(button);
  }
  return count;
}

/** Which of the targets this page has, so that no button is offered that goes nowhere. */
export function targetsOf(page) {
  return Object.keys(TARGETS).filter((name) => page.getElementById(TARGETS[name].box));
}

/** Put a picture into another tab and show that tab. mask: what may change (white), or null. infotext: for its prompt.
 * Throws an Error with one sentence. */
export async function sendTo(target, picture, mask, infotext, { window: view = window, say = String } = {}) {
  const page = view.document;
  const wanted = TARGETS[target];
  if (!wanted || !page.getElementById(wanted.box)) throw new Error(say("send_nowhere", { target }));
  const masked = target === "inpaint" && mask;
  const canvas = canvasOf(page, wanted.box);
  const place = masked && !canvas ? UPLOADED_MASK : wanted;
  if (masked && !canvas && !page.getElementById(place.mask)) throw new Error(say("send_no_mask"));
  if (place.tab === undefined) view[place.show]?.();
  else view.switch_to_img2img_tab?.(place.tab);
  if (canvas) {
    await paint(view, canvas, picture, say);
    if (target !== "inpaint") return write(view, place, infotext);
    type(view, canvas.foreground, await drawing(view, mask ?? picture, mask ? bright : nowhere));
  } else {
    await upload(view, page.getElementById(place.box), picture, "picture", say);
    if (masked) await upload(view, page.getElementById(place.mask), mask, "mask", say);
  }
  return write(view, place, infotext);
}

function write(view, place, infotext) {
  const prompt = promptOf(infotext);
  const box = place.prompt && view.document.getElementById(place.prompt)?.querySelector("textarea");
  if (prompt && box) type(view, box, prompt);
}

/** Forge's canvas in a box, or null. Its two text boxes carry pictures as data addresses, and it looks at them. */
function canvasOf(page, box) {
  const container = page.getElementById(box)?.querySelector('[id^="container_uuid_"]');
  const id = container?.id.slice("container_".length);
  const text = (layer) => id && page.querySelector(`#${id}.logical_image_${layer} textarea`);
  const [background, foreground] = [text("background"), text("foreground")];
  if (!background || !foreground) return null;
  return { background, foreground, image: page.getElementById(`image_${id}`) };
}

async function paint(view, canvas, picture, say) {
  const address = await dataAddress(view, picture);
  const before = canvas.image?.src;
  type(view, canvas.background, address);
  const shown = () => canvas.image?.complete && (canvas.image.src === address || canvas.image.src !== before);
  if (!(await until(view, shown))) throw new Error(say("send_not_taken"));
  await pause(view, 500); // the canvas empties its drawing after it has drawn the new picture
}

/** Put a file into a gradio picture box, in place of what it holds. */
async function upload(view, box, file, name, say) {
  const input = () => box.querySelector('input[type="file"]');
  for (let tries = 0; !input() && tries < 3; tries += 1) {
    clearButton(box)?.click();
    await until(view, input, 10);
  }
  const found = input();
  if (!found) throw new Error(say("send_not_taken"));
  const parcel = new view.DataTransfer();
  parcel.items.add(new view.File([file], `dragtext_${name}.png`, { type: file.type || "image/png" }));
  found.files = parcel.files;
  found.dispatchEvent(new view.Event("change", { bubbles: true }));
  if (!(await until(view, () => box.querySelector("img, canvas")))) throw new Error(say("send_not_taken"));
}

/** The button that empties a picture box. Its label is translated with the page, so the place decides where needed. */
function clearButton(box) {
  const labelled = [...box.querySelectorAll("button")].find((button) =>
    /^(clear|remove image)$/i.test(button.getAttribute("aria-label") || button.title || ""),
  );
  return labelled ?? [...box.querySelectorAll(".icon-buttons button, .icon-button-wrapper button, button")].pop();
}

/** As if somebody had typed it: gradio reads `target` of the event. */
function type(view, box, text) {
  box.value = text;
  const event = new view.Event("input", { bubbles: true });
  Object.defineProperty(event, "target", { value: box });
  box.dispatchEvent(event);
}

async function dataAddress(view, file) {
  const png = file.type === "image/png" ? file : await redrawn(view, file);
  return new Promise((resolve, reject) => {
    const reader = new view.FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(png);
  });
}

async function redrawn(view, file, change = null) {
  const image = await view.createImageBitmap(file);
  const canvas = view.document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  if (change) {
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
    change(pixels.data);
    context.putImageData(pixels, 0, 0);
  }
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** A drawing as Forge's canvas has it, of the size of a picture: opaque black where the picture may change. */
async function drawing(view, picture, where) {
  return dataAddress(view, await redrawn(view, picture, (bytes) => painted(bytes, where)));
}

const nowhere = () => false;
const bright = (bytes, place) => bytes[place] > 127 && bytes[place + 3] > 127;

/** Turn RGBA bytes into black paint; where(bytes, place of a pixel) says where there is any. */
export function painted(bytes, where = bright) {
  for (let place = 0; place < bytes.length; place += 4) {
    const paint = where(bytes, place);
    bytes.fill(0, place, place + 3);
    bytes[place + 3] = paint ? 255 : 0;
  }
}

const pause = (view, milliseconds) => new Promise((resolve) => view.setTimeout(resolve, milliseconds));

async function until(view, found, tries = TRIES) {
  for (let count = 0; count < tries; count += 1) {
    if (found()) return true;
    await pause(view, 100);
  }
  return Boolean(found());
}

/** As soon as the host has drawn its page: add the buttons, and offer `sendTo` as `window.dragtext_send` where there is
 * a tab to send to. What is pressed opens by `window.dragtext.openUrl`. say: the texts. */
export async function offer(say, view = window) {
  await until(view, () => view.document.getElementById("dragtext_tab"), 3000);
  const open = (address, name) => view.dragtext?.openUrl?.(address, name);
  // The other tabs come with ours, and a slow page may be a moment later.
  for (let round = 0; round < 10; round += 1) {
    const count = addButtons(view.document, open, say);
    if (!view.dragtext_send && targetsOf(view.document).length) {
      view.dragtext_send = {
        to: (target, picture, mask, infotext) => sendTo(target, picture, mask, infotext, { window: view, say }),
        targets: () => targetsOf(view.document),
      };
    }
    if (count === SOURCES.length) return;
    await pause(view, 1000);
  }
}
