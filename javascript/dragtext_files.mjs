// Pictures that come into the stage: chosen, dropped or pasted. No work at import.

import { make } from "./dragtext_dom.mjs";
import { takesText } from "./dragtext_keys.mjs";

/** The hidden field behind the button that opens a file. */
export function fileField(opened) {
  const hidden = { hidden: true, "aria-hidden": "true", tabindex: -1 };
  const field = make("input", { type: "file", accept: "image/*", ...hidden });
  field.addEventListener("change", () => {
    if (field.files.length) opened([...field.files]);
    field.value = "";
  });
  return field;
}

/**
 * Listen for what is dropped on the stage, and pasted while it is looked at. on(target, name, does): add a listener.
 */
export function receive(stage, on) {
  const { frame } = stage;
  const { onOpen } = stage.calls;
  on(document, "paste", (event) => {
    const wanted = stage.root.offsetParent !== null && stage.enabled && !takesText(document.activeElement);
    if (!wanted || (stage.doc.picture && !stage.commands.attended)) return;
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (!files.length) return;
    event.preventDefault();
    event.stopPropagation(); // hosts put what is pasted into the first picture box that they find
    onOpen(files);
  });
  const dropping = async (event) => {
    const types = [...(event.dataTransfer?.types ?? [])];
    if (!stage.enabled || !types.some((type) => type === "Files" || type === "text/uri-list")) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.type === "dragleave" && frame.contains(event.relatedTarget)) return;
    frame.classList.toggle("dragtext_dropping", event.type === "dragenter" || event.type === "dragover");
    if (event.type !== "drop") return;
    try {
      const files = await filesOf(event.dataTransfer);
      if (files.length) onOpen(files);
    } catch (error) {
      stage.failed(error);
    }
  };
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) on(frame, name, dropping);
}

/** The pictures that something dropped holds: files, else what its address leads to. */
async function filesOf(transfer) {
  const files = [...transfer.files];
  if (files.length) return files;
  const lines = transfer.getData("text/uri-list").split(/\r?\n/);
  const address = lines.find((line) => line && !line.startsWith("#"));
  if (!address) return [];
  const blob = await (await fetch(address)).blob();
  const name = decodeURIComponent(address.split("/").at(-1).split("?")[0]) || "picture";
  return [new File([blob], name, { type: blob.type })];
}
