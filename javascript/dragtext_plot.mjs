// Curves as SVG: how far the handles still have to go, and the loss, over the steps. No work at import.

const SPACE = "http://www.w3.org/2000/svg";
const WIDTH = 320;

/** The points of a curve in a box, largest value at the top: "x,y x,y ...". steps: how wide the whole box is. */
export function curvePoints(values, width, height, steps = values.length) {
  const known = values.map((value, step) => [step, value]).filter(([, value]) => Number.isFinite(value));
  const most = Math.max(...known.map(([, value]) => value), 1e-9);
  const across = Math.max(steps - 1, 1);
  return known
    .map(([step, value]) => `${((step / across) * width).toFixed(1)},${((1 - value / most) * height).toFixed(1)}`)
    .join(" ");
}

/** Draw curves into an element: [{name, values, unit}]. Each has its own scale, which its legend tells. */
export function drawCurves(place, curves, { height = 72, steps = undefined } = {}) {
  const shown = curves.filter(({ values }) => values.some(Number.isFinite));
  place.replaceChildren();
  place.hidden = shown.length === 0;
  if (!shown.length) return;
  const picture = shape("svg", { viewBox: `0 -4 ${WIDTH} ${height + 8}`, preserveAspectRatio: "none", role: "img" });
  picture.append(shape("line", { x1: 0, x2: WIDTH, y1: height, y2: height, class: "dragtext_axis" }));
  const legend = document.createElement("div");
  legend.className = "dragtext_legend";
  for (const [number, { name, values, unit = "" }] of shown.entries()) {
    const finite = values.filter(Number.isFinite);
    const points = curvePoints(values, WIDTH, height, steps ?? values.length);
    picture.append(shape("polyline", { points, class: `dragtext_curve dragtext_curve_${number}` }));
    const entry = document.createElement("span");
    entry.className = `dragtext_curve_${number}`;
    entry.textContent = `${name}: ${brief(finite[0])} → ${brief(finite.at(-1))}${unit}`;
    legend.append(entry);
  }
  picture.setAttribute("aria-label", legend.textContent);
  place.append(picture, legend);
}

/** Three digits that matter. */
export function brief(value) {
  if (!Number.isFinite(value)) return "";
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return String(Number(value.toPrecision(3)));
}

function shape(name, given) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
  return made;
}
