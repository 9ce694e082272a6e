// The stage with a server that is made up: what moves is a disc around what was asked for, the ground is one colour.

import { Stage } from "/javascript/dragtext_canvas.mjs";
import { emptyLayer, layerToPngBlob, rectangle, stroke, union, without } from "/javascript/dragtext_layer.mjs";
import { words } from "/javascript/dragtext_words.mjs";

const query = new URLSearchParams(location.search);
document.body.classList.toggle("dark", query.has("dark"));
document.documentElement.lang = query.get("lang") ?? "en";

export function painted(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  const ground = context.createLinearGradient(0, 0, 0, height);
  ground.addColorStop(0, "#8fb8d8");
  ground.addColorStop(0.62, "#dfe8e0");
  ground.addColorStop(0.63, "#7d9a5c");
  ground.addColorStop(1, "#4f6b3a");
  context.fillStyle = ground;
  context.fillRect(0, 0, width, height);
  const unit = Math.min(width, height);
  context.fillStyle = "#b23a2e";
  context.beginPath();
  context.ellipse(width * 0.4, height * 0.55, unit * 0.16, unit * 0.2, 0, 0, 7);
  context.fill();
  context.fillStyle = "#f5d9b0";
  for (const [x, y] of [[0.35, 0.48], [0.45, 0.48], [0.4, 0.62]]) {
    context.beginPath();
    context.arc(width * x, height * y, unit * 0.035, 0, 7);
    context.fill();
  }
  return canvas;
}

const asUri = (blob) =>
  new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(blob);
  });
const png = async (layer) => asUri(await layerToPngBlob(layer));

let picture = null;
const blob = () => {
  const unit = Math.min(picture.width, picture.height);
  return [picture.width * 0.4, picture.height * 0.55, unit * 0.2];
};
const calls = { pick: [], maskFor: [], start: [], changed: 0, opened: [], rested: [], hidden: 0, busy: 0 };
const server = {
  async pick(asked) {
    calls.pick.push(asked);
    const [x, y, radius] = blob();
    let layer = asked.box ? rectangle(emptyLayer(picture), asked.box) : emptyLayer(picture);
    for (const point of asked.handles ?? []) {
      const near = Math.hypot(point[0] - x, point[1] - y) < radius;
      layer = stroke(layer, [near ? [x, y] : point], near ? radius : radius / 3);
    }
    for (const { points, radius: wide } of asked.plus ?? []) layer = stroke(layer, points, wide);
    for (const { points, radius: wide } of asked.minus ?? []) layer = stroke(layer, points, wide, false);
    if (query.has("refuse")) throw new Error("the server said no");
    return { region: await png(layer), note: "Found it." };
  },
  async maskFor({ drags, region }) {
    calls.maskFor.push(drags);
    let layer = region;
    for (const { source, target } of drags) layer = stroke(layer, [source, target], 30);
    return { mask: await png(layer) };
  },
  async start({ drags, region, mask }) {
    calls.start.push({ drags, region: Boolean(region), mask: Boolean(mask) });
    const [x, y, radius] = blob();
    const half = () => rectangle(emptyLayer(picture), [0.1, 0.1, 0.8, 0.8].map((share) => share * picture.width));
    const layer = region ?? (query.has("large") ? half() : stroke(emptyLayer(picture), [[x, y]], radius));
    const scale = Math.min(1, 1024 / Math.max(picture.width, picture.height));
    const ground = Object.assign(document.createElement("canvas"), {
      width: Math.round(picture.width * scale),
      height: Math.round(picture.height * scale),
    });
    const context = ground.getContext("2d");
    context.drawImage(painted(picture.width, picture.height), 0, 0, ground.width, ground.height);
    context.fillStyle = "#b9c4a4";
    context.beginPath();
    context.arc(x * scale, y * scale, (radius + 6) * scale, 0, 7);
    context.fill();
    const root = query.has("bend") ? await png(rectangle(emptyLayer(picture), [x - radius, y + radius * 0.8, x + radius, y + radius])) : null;
    return {
      source: "found",
      moves: [{ region: await png(layer), drags: drags.map((_, index) => index), root }],
      background: ground.toDataURL("image/jpeg", 0.9),
    };
  },
};

const stage = new Stage(document.getElementById("stage"), {
  say: words(),
  server,
  onChange: () => calls.changed++,
  onOpen: (files) => calls.opened.push(...files.map((file) => file.name)),
  onRest: (doc) => calls.rested.push(doc.drags.length),
  onHide: () => calls.hidden++,
  onBusy: () => calls.busy++,
});

window.harness = {
  stage,
  calls,
  painted,
  open(width, height) {
    picture = { id: `${width}x${height}`, width, height, name: "painted.png" };
    const small = Math.min(1, 2048 / Math.max(width, height));
    stage.open(picture, painted(Math.round(width * small), Math.round(height * small)));
  },
  /** Where a point of the picture is on the page. */
  at([x, y]) {
    const box = stage.canvas.getBoundingClientRect();
    const { view } = stage;
    return [box.left + view.x + (x + 0.5) * view.scale, box.top + view.y + (y + 0.5) * view.scale];
  },
  layers: { emptyLayer, rectangle, stroke, union, without },
};
if (query.has("size")) window.harness.open(...query.get("size").split("x").map(Number));
