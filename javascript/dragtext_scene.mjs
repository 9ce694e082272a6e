// What there is to see on a stage: the scene that dragtext_draw.mjs draws, the buttons, the form of the pointer. No work at
// import.

import { toScreen } from "./dragtext_geometry.mjs";

const FAINT = 0.5; // of the layer that is not painted

/** The scene of a Stage. */
export function sceneOf(stage) {
  const { tools, running, shown, share, originally, view } = stage;
  const doc = tools.doc;
  const calm = Boolean(originally || running || shown); // nothing is being made
  const warped = calm ? null : stage.preview.picture(doc, tools.dragging);
  const quick = calm || tools.gesture ? null : stage.hasty;
  let image = warped || stage.image;
  let over = null;
  if (quick) image = quick;
  if (!originally) {
    if (running?.image) image = running.image;
    else if (shown && share === null) image = shown;
    else if (shown && !running) {
      image = stage.other ?? image;
      over = { image: shown, share };
    }
  }
  const hidden = originally || (shown && !running && (share !== null || !stage.pointer));
  return {
    size: stage.size,
    ratio: stage.ratio,
    view,
    picture: stage.doc.picture,
    moving: Boolean(tools.gesture || stage.hand.pulling || stage.pointers?.pressed),
    image,
    over,
    tints: calm || warped || quick ? [] : tinted(stage, doc),
    drags: hidden ? [] : doc.drags,
    running: running?.points ?? null,
    selected: running ? null : tools.selected,
    hover: running ? null : stage.hand.over,
    pending: tools.gesture?.kind === "pending",
    path: tools.path,
    radius: stage.radius,
    brush: brushOf(stage, calm),
    cross: stage.cross && !calm ? { at: toScreen(view, stage.cross), pressed: Boolean(tools.gesture) } : null,
  };
}

function brushOf(stage, calm) {
  if (!stage.pointer || !stage.sized || calm || !stage.enabled || stage.spaced) return null;
  const { tool } = stage.tools;
  const adds = tool === "pick" ? stage.pickMode === "plus" : tool === "brush";
  return { at: stage.pointer, radius: stage.radius, add: adds !== stage.hand.erases };
}

/** The layers' pictures, the one that is painted on top; what the server found to move, where nobody said it. */
function tinted(stage, doc) {
  const { tints, opacity } = stage;
  const found = doc.region ? null : stage.preview.found(doc);
  const all = found ? [{ canvas: tints.found.of(found), opacity: opacity * FAINT }] : [];
  for (const name of stage.layer === "mask" ? ["region", "mask"] : ["mask", "region"]) {
    const share = opacity * (name === stage.layer ? 1 : FAINT);
    if (doc[name]) all.push({ canvas: tints[name].of(doc[name]), opacity: share });
  }
  return all;
}

/** What the buttons tell. */
export function stateOf(stage) {
  const { tools, history, doc, layer } = stage;
  return {
    tool: tools.tool,
    layer,
    pickMode: stage.pickMode,
    canUndo: history.canUndo || Boolean(tools.gesture),
    canRedo: history.canRedo,
    chosen: Boolean(tools.selected),
    hasPicture: Boolean(doc.picture),
    hasDrags: doc.drags.length > 0,
    hasLayer: Boolean(doc[layer]),
    maskAuto: doc.maskAuto,
    preview: stage.preview.wanted,
    diameter: stage.diameter,
    largest: stage.largest,
    sized: stage.sized,
    opacity: stage.opacity,
    enabled: stage.enabled && !stage.running,
    help: !stage.helpPage.hidden,
  };
}

/** The name of the pointer's form, for the style. */
export function cursorOf(stage) {
  const { gesture, tool } = stage.tools;
  if (!stage.doc.picture) return "default";
  if (stage.hand.pulling || stage.pointers?.panning || gesture?.kind === "pan") return "grabbing";
  if (stage.spaced) return "grab";
  if (stage.hand.atLine(stage.pointer)) return "slide";
  if (!stage.changeable || stage.share !== null) return "grab";
  if (gesture?.kind === "end" || gesture?.kind === "shift") return "grabbing";
  if (stage.hand.over && !(stage.hand.over.part === "shaft" && tool === "drag")) return "grab";
  if (stage.sized) return "brush";
  return tool === "move" ? "default" : "crosshair";
}
