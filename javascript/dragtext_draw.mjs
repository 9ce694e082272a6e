// Drawing the stage anew from one scene: picture, layers, drags, what the pointer is about to do. No work at import.

import { isPin } from "./dragtext_document.mjs";
import { toScreen } from "./dragtext_geometry.mjs";

/** Colours that stand out on any picture, in either theme. region, mask: [red, green, blue]. */
export const COLOURS = {
  handle: "#f4512c",
  target: "#1687e0",
  pin: "#7c4dff",
  light: "#ffffff",
  dark: "rgba(12, 16, 24, 0.82)",
  region: [255, 170, 20],
  mask: [22, 135, 224],
};
const SHARP = 3; // pixels of the screen per pixel of the picture from which on pixels are shown as squares

/**
 * Draw a scene. context: of a canvas whose pixels are those of the screen; scene: {size, ratio, view, picture, image,
 * over: {image, share} | null, tints: [{canvas, opacity}], drags, running: [[x, y]] | null, selected, hover, pending,
 * path, radius, brush: {at, radius, add} | null, cross: {at, pressed} | null, moving}.
 */
export function draw(context, scene) {
  const { size, ratio, view, picture } = scene;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, size.width, size.height);
  if (!picture) return;
  const box = [view.x, view.y, picture.width * view.scale, picture.height * view.scale];
  context.imageSmoothingEnabled = view.scale * ratio < SHARP;
  context.imageSmoothingQuality = scene.moving ? "low" : "high"; // which takes twice as long
  drawPicture(context, scene, box);
  for (const { canvas, opacity } of scene.tints) {
    context.globalAlpha = opacity;
    context.drawImage(canvas, ...box);
  }
  context.globalAlpha = 1;
  context.imageSmoothingEnabled = true;
  scene.drags.forEach((drag, index) => drawDrag(context, scene, drag, index));
  if (scene.path) drawPath(context, scene);
  if (scene.brush) drawBrush(context, scene.brush, view);
  if (scene.cross) drawCross(context, scene.cross);
}

function drawPicture(context, { image, over, size, ratio }, box) {
  context.fillStyle = checks(context, ratio);
  context.fillRect(...box);
  if (image) context.drawImage(image, ...box);
  if (!over) return;
  const [left, right] = [Math.max(0, box[0]), Math.min(size.width, box[0] + box[2])];
  const at = left + (right - left) * over.share;
  context.save();
  context.beginPath();
  context.rect(at, 0, size.width, size.height);
  context.clip();
  context.fillRect(...box);
  context.drawImage(over.image, ...box);
  context.restore();
  const [top, bottom] = [Math.max(0, box[1]), Math.min(size.height, box[1] + box[3])];
  line(
    context,
    [
      [at, top],
      [at, bottom],
    ],
    "rgba(0, 0, 0, 0.45)",
    4,
  );
  line(
    context,
    [
      [at, top],
      [at, bottom],
    ],
    COLOURS.light,
    2,
  );
  const middle = (top + bottom) / 2;
  disc(context, [at, middle], 15, COLOURS.light, "rgba(0, 0, 0, 0.35)", 1.5);
  for (const side of [-1, 1]) {
    const tip = at + side * 9;
    line(
      context,
      [
        [tip - side * 4.5, middle - 4.5],
        [tip, middle],
        [tip - side * 4.5, middle + 4.5],
      ],
      "#222a36",
      2,
    );
  }
}

/** The pattern that shows through what is transparent. */
function checks(context, ratio) {
  const side = Math.round(8 * ratio);
  const tile = Object.assign(document.createElement("canvas"), { width: 2 * side, height: 2 * side });
  const on = tile.getContext("2d");
  on.fillStyle = "#c9ccd2";
  on.fillRect(0, 0, 2 * side, 2 * side);
  on.fillStyle = "#e8eaee";
  on.fillRect(0, 0, side, side);
  on.fillRect(side, side, side, side);
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix([1 / ratio, 0, 0, 1 / ratio, 0, 0]));
  return pattern;
}

function line(context, points, colour, width, dash = []) {
  context.beginPath();
  points.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.setLineDash(dash);
  context.lineWidth = width;
  context.lineCap = "round";
  context.lineJoin = "round";
  context.strokeStyle = colour;
  context.stroke();
  context.setLineDash([]);
}

function disc(context, [x, y], radius, fill, edge, width) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  if (fill) {
    context.fillStyle = fill;
    context.fill();
  }
  if (edge) {
    context.lineWidth = width;
    context.strokeStyle = edge;
    context.stroke();
  }
}

function drawDrag(context, scene, drag, index) {
  const { view, running, selected, hover, pending } = scene;
  const from = toScreen(view, running?.[index] ?? drag.source);
  const to = toScreen(view, drag.target);
  const last = index === scene.drags.length - 1;
  const marked = (part) => [selected, hover].some((mark) => mark?.index === index && mark.part === part);
  context.globalAlpha = pending && last ? 0.9 : 1;
  if (isPin(drag) && !(pending && last)) {
    halo(context, from, marked("source") || marked("target"), COLOURS.pin);
    drawPin(context, from, index + 1);
  } else {
    const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
    if (running) line(context, [toScreen(view, drag.source), from], "rgba(255, 255, 255, 0.75)", 1.5, [3, 4]);
    if (length > 14) drawShaft(context, from, to, length, marked("shaft"));
    halo(context, to, marked("target"), COLOURS.target);
    if (length > 3) drawTarget(context, to);
    halo(context, from, marked("source"), COLOURS.handle);
    drawHandle(context, from, index + 1);
  }
  context.globalAlpha = 1;
}

function halo(context, at, marked, colour) {
  if (!marked) return;
  context.globalAlpha *= 0.35;
  disc(context, at, 17, colour);
  context.globalAlpha = 1;
  disc(context, at, 17, null, COLOURS.light, 1.5);
}

function drawShaft(context, from, to, length, marked) {
  const [dx, dy] = [(to[0] - from[0]) / length, (to[1] - from[1]) / length];
  const start = [from[0] + dx * 10, from[1] + dy * 10];
  const tip = [to[0] - dx * 10, to[1] - dy * 10];
  const neck = [tip[0] - dx * 8, tip[1] - dy * 8];
  const width = marked ? 5 : 3.4;
  const head = [
    [tip[0], tip[1]],
    [neck[0] - dy * 6.5 - dx * 3, neck[1] + dx * 6.5 - dy * 3],
    [neck[0], neck[1]],
    [neck[0] + dy * 6.5 - dx * 3, neck[1] - dx * 6.5 - dy * 3],
  ];
  const whole = length > 30;
  line(context, [start, whole ? neck : tip], COLOURS.dark, width + 2.6);
  if (whole) line(context, [...head, head[0]], COLOURS.dark, 3);
  const blend = context.createLinearGradient(...from, ...to);
  blend.addColorStop(0, COLOURS.handle);
  blend.addColorStop(1, COLOURS.target);
  line(context, [start, whole ? neck : tip], COLOURS.light, width + 1.2);
  line(context, [start, whole ? neck : tip], blend, width);
  if (!whole) return;
  context.beginPath();
  head.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  context.fillStyle = COLOURS.target;
  context.strokeStyle = COLOURS.light;
  context.lineWidth = 1.2;
  context.stroke();
  context.fill();
}

function drawTarget(context, at) {
  disc(context, at, 8.5, "rgba(255, 255, 255, 0.35)", COLOURS.dark, 6);
  disc(context, at, 8.5, null, COLOURS.light, 4.4);
  disc(context, at, 8.5, null, COLOURS.target, 2.6);
  disc(context, at, 2.6, COLOURS.target, COLOURS.light, 1.2);
}

function drawHandle(context, at, number) {
  disc(context, at, 10, COLOURS.handle, COLOURS.dark, 4);
  disc(context, at, 10, COLOURS.handle, COLOURS.light, 2);
  label(context, at, number);
}

function drawPin(context, [x, y], number) {
  context.beginPath();
  context.moveTo(x, y - 12);
  context.lineTo(x + 12, y);
  context.lineTo(x, y + 12);
  context.lineTo(x - 12, y);
  context.closePath();
  context.lineJoin = "round";
  for (const [colour, width] of [
    [COLOURS.dark, 5],
    [COLOURS.light, 3],
  ]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  }
  context.fillStyle = COLOURS.pin;
  context.fill();
  label(context, [x, y], number);
}

function label(context, [x, y], number) {
  context.font = `600 ${number > 9 ? 10 : 12}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = COLOURS.light;
  context.fillText(String(number), x, y + 0.5);
}

function drawPath(context, { path, view, radius }) {
  const points = path.points.map((point) => toScreen(view, point));
  const colour = path.add ? COLOURS.light : "#ff8080";
  if (path.kind === "scribble") {
    context.globalAlpha = 0.55;
    line(context, [...points, points.at(-1)], path.add ? "#2fbf71" : "#e5484d", Math.max(3, 2 * radius * view.scale));
    context.globalAlpha = 1;
    return;
  }
  let shape = points;
  if (path.kind === "rectangle") {
    const [[x0, y0], [x1, y1]] = [points[0], points.at(-1)];
    shape = [
      [x0, y0],
      [x1, y0],
      [x1, y1],
      [x0, y1],
    ];
  }
  line(context, [...shape, shape[0]], COLOURS.dark, 3.5);
  line(context, [...shape, shape[0]], colour, 1.5, [6, 5]);
}

function drawBrush(context, { at, radius, add }, view) {
  const wide = Math.max(1.5, radius * view.scale);
  disc(context, at, wide, null, "rgba(0, 0, 0, 0.6)", 3);
  disc(context, at, wide, null, COLOURS.light, 1.4);
  const [x, y] = at;
  const arm = Math.min(5, wide / 2);
  if (arm < 2.5) return;
  const lines =
    add === null
      ? []
      : [
          [
            [x - arm, y],
            [x + arm, y],
          ],
        ];
  if (add)
    lines.push([
      [x, y - arm],
      [x, y + arm],
    ]);
  for (const ends of lines) line(context, ends, "rgba(0, 0, 0, 0.6)", 3);
  for (const ends of lines) line(context, ends, COLOURS.light, 1.4);
}

function drawCross(context, { at: [x, y], pressed }) {
  const arms = [
    [-1, 0],
    [1, 0],
    [0, -1],
    [0, 1],
  ];
  for (const [colour, width] of [
    [COLOURS.dark, 4],
    [pressed ? COLOURS.handle : COLOURS.light, 2],
  ]) {
    for (const [dx, dy] of arms)
      line(
        context,
        [
          [x + dx * 5, y + dy * 5],
          [x + dx * 15, y + dy * 15],
        ],
        colour,
        width,
      );
    disc(context, [x, y], 1.5, colour);
  }
}
