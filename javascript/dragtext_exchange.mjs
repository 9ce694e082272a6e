// The canvas's document as the server takes it, and a request as the canvas takes it. No work at import.

import { dataUri } from "./dragtext_dom.mjs";
import { newDocument } from "./dragtext_document.mjs";
import { upload } from "./dragtext_http.mjs";
import { isEmpty, layerFromPng, layerToPngBlob, union } from "./dragtext_layer.mjs";

/** The drags as [[handle, target], ...]. */
export function pairs(doc) {
  return doc.drags.map(({ source, target }) => [[...source], [...target]]);
}

const kept = (layer) => (layer && !isEmpty(layer) ? layer : null);

/** A layer as a data: address, or null where nothing is on. */
const written = async (layer) => (kept(layer) ? dataUri(await layerToPngBlob(layer)) : null);

/** What goes along as a mask: only what somebody painted, since the server makes the one that follows by itself. */
function layersOf(doc) {
  return { region: kept(doc.region), mask: doc.maskAuto ? null : kept(doc.mask) };
}

/** The document with its layers uploaded: {picture, drags, mask, region}, the last two ids or null. */
export async function uploaded(doc) {
  const { region, mask } = layersOf(doc);
  const sent = async (layer) => (layer ? (await upload(await layerToPngBlob(layer))).id : null);
  return { picture: doc.picture?.id ?? "", drags: pairs(doc), mask: await sent(mask), region: await sent(region) };
}

/** A question of the canvas as the server takes it: its layers as data: addresses. */
export async function withLayersWritten(told) {
  const { region = null, mask = null, ...more } = told;
  const given = { region: await written(region), mask: await written(mask) };
  return { ...more, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value)) };
}

/** The document as a request has it: {drags, mask, region}, the last two data: addresses or null. */
export async function asRequest(doc) {
  const { region, mask } = layersOf(doc);
  return { drags: pairs(doc), mask: await written(mask), region: await written(region) };
}

/** A request's drags and layers on a picture of the canvas. */
export async function asDocument(request, picture) {
  const drags = (request.drags ?? []).map((drag) => {
    const [source, target] = Array.isArray(drag) ? drag : [drag.source, drag.target];
    return { source: [...source], target: [...target] };
  });
  const regions = [request.region ?? []].flat();
  let region = null;
  for (const one of regions) {
    const layer = await layerFromPng(one);
    region = region ? union(region, layer) : layer;
  }
  const mask = request.mask ? await layerFromPng(request.mask) : null;
  return newDocument(picture, { drags, region, mask, maskAuto: !mask });
}
