// The settings' names and help in words. English help comes from the list of settings itself, and so do the names of
// those that only experts meet. No work at import.

const LABELS = {
  method: "Method",
  text: "Adjust the text too (DragText)",
  strength: "How deep it may change",
  steps: "Most steps",
  identity: "How the picture is learnt first",
  crop: "Work on a part only",
  resolution: "Working size, pixels squared",
  memory: "Memory",
  seed: "Seed",
};

// name: [label, help]
export const GERMAN = {
  method: ["Verfahren", "das Grundverfahren"],
  text: ["Auch den Text anpassen (DragText)", "die Texteinbettung zusammen mit dem Bild optimieren"],
  gradients: [
    "Gradienten",
    "was die Optimierer sehen: eine gemeinsame Rückrechnung, die zwei Verluste des Artikels, der veröffentlichte Code " +
      "samt Resten, oder der von DragText selbst",
  ],
  start: [
    "Anfang",
    "wo der Inhalt beginnt: im Bild, wie es ist; mit schon verschobenen Bildpunkten; mit verschobenen Zellen seines " +
      "invertierten Latents, starr oder mit einem Feld, das von den Griffen aus abfällt",
  ],
  start_noise: [
    "Rauschen am Anfang",
    "Anteil frischen Rauschens, wo der Anfang etwas aufdeckt, damit das Modell es neu malt",
  ],
  repaint: [
    "Neu malen",
    "was das Modell nach einem verschobenen Anfang malt: alles, was sich ändern darf, oder nur das Aufgedeckte " +
      "und seine Nähte",
  ],
  resolution: [
    "Arbeitsgröße, Bildpunkte im Quadrat",
    "auf etwa so vielen Bildpunkten arbeiten, gleich wie groß das Bild ist; sonst in seiner Größe, oder in der des " +
      "Modells bei Ausschnitten und über einem Megapixel",
  ],
  crop: [
    "Nur an einem Ausschnitt arbeiten",
    "auto: nur einen Kasten um Züge und Maske bearbeiten und wieder einsetzen",
  ],
  composite: [
    "Außen bleibt alles",
    "mit einer Maske jedes Byte außerhalb zurückgeben, wie es war; aus ist das veröffentlichte Verhalten",
  ],
  seam: [
    "Breite der Naht",
    "Bildpunkte innerhalb der Maske, über die eine Bearbeitung einblendet, bis zu doppelt so viele, wo sie vergrößert wird",
  ],
  steps: ["Höchstens so viele Schritte", "die meisten Schritte der Ziehschleife"],
  lr: ["Schrittweite des Bildes", "Adams Schrittweite für das Latent"],
  text_lr: ["Schrittweite des Textes", "Adams Schrittweite für die Texteinbettung"],
  text_weight: ["Gewicht des Textes", "Gewicht des L1-Glieds, das die Bedeutung des Textes hält"],
  mask_weight: ["Gewicht der Maske", "Gewicht des Glieds, das hält, was außerhalb der Maske liegt"],
  hold_background: [
    "Hintergrund festhalten",
    "nach jedem Schritt bekommt das Latent außerhalb der Maske zurück, was das ungezogene Bild dort hat (DragFlow); " +
      "neben dem Glied der Maske oder, mit Gewicht 0, an seiner Stelle",
  ],
  strength: ["Wie tief es sich ändern darf", "wie weit das Bild invertiert wird, als Anteil der Schritte"],
  inference_steps: ["Zeichenschritte", "DDIM-Schritte eines ganzen Bildes"],
  guidance: [
    "Führung",
    "Maß der klassifikatorfreien Führung beim Invertieren, Ziehen und Zeichnen; 1 ist keine, wie veröffentlicht",
  ],
  guidance_schedule: [
    "Verlauf der Führung",
    "dieselbe Führung bei jedem Rauschen, oder von keiner am sauberen Bild an steigend (SDE-Drag)",
  ],
  feature_guidance: [
    "Führung der Merkmale",
    "Maß der Führung der Merkmale, die gezogen werden (die von DragDiffusion für erzeugte Bilder); 1 ist keine",
  ],
  negative_prompt: ["Negativer Prompt", "wovon die Führung wegführt; ohne sie wird er nicht gelesen"],
  feature_block: ["Merkmalsstufe", "Stufe des Decoders, deren Merkmale gezogen werden, von grob nach fein; die letzte ist 4"],
  supervision_radius: ["Radius des Zugs", "halbe Breite des gezogenen Fensters, in Bildpunkten des Merkmalsgitters"],
  tracking_radius: [
    "Radius der Suche",
    "halbe Breite des Suchfensters der Punkte, in Bildpunkten des Merkmalsgitters",
  ],
  displacement: ["Weg je Zug", "wie weit auf einmal gezogen wird, in Bildpunkten des Merkmalsgitters"],
  reach_distance: ["Angekommen ab", "so nahe am Ziel ist ein Punkt angekommen, in Bildpunkten des Merkmalsgitters"],
  expected_loss: ["Gesuchter Verlust", "Unterschied der Merkmale, den FreeDrags Liniensuche sucht"],
  inner_steps: ["Innere Schritte", "höchstens so viele Schritte je Runde von FreeDrag"],
  drag_levels: [
    "Stufen von GoodDrag",
    "Zeitschritte, auf denen GoodDrag zieht; sonst so viele, wie die Schritte brauchen",
  ],
  tracks_per_level: ["Suchen je Stufe", "Punktsuchen je Zeitschritt von GoodDrag"],
  steps_per_track: ["Schritte je Suche", "Schritte je Punktsuche von GoodDrag"],
  patience: ["Geduld", "so viele Suchen ohne Bewegung, dann hört GoodDrag auf"],
  shared_attention: [
    "Geteilte Aufmerksamkeit",
    "das bearbeitete Bild sieht beim Zeichnen die Schlüssel und Werte des Originals",
  ],
  shared_attention_stages: ["Stufen geteilter Aufmerksamkeit", "so viele der letzten Decoderstufen teilen sie"],
  shared_attention_start: ["Beginn geteilter Aufmerksamkeit", "Zeichenschritt, ab dem sie geteilt wird"],
  identity: [
    "Wie das Bild zuerst gelernt wird",
    "wie das Identitäts-LoRA das Bild lernt: none gar nicht; quick kommt mit höchstens einem Vierzehntel der Arbeit " +
      "ebenso weit wie die veröffentlichten, mit weniger und größeren Schritten an je einer Kopie und bei dem Rauschen, " +
      "das die Bearbeitung durchläuft; published tut, was die Autoren des Verfahrens taten, 70 bis 200 Schritte an vier " +
      "Kopien bei allem Rauschen",
  ],
  lora_steps: ["Lernschritte des LoRA", "Schritte des Identitäts-LoRA; 0 schaltet es aus"],
  lora_lr: ["Schrittweite des LoRA", "AdamWs Schrittweite für das Identitäts-LoRA"],
  lora_rank: ["Rang des LoRA", "Rang des Identitäts-LoRA"],
  lora_batch: ["Stapel des LoRA", "verrauschte Kopien je Lernschritt des LoRA"],
  capture: [
    "Schritt aufzeichnen",
    "auf CUDA den Weg eines Schritts durch das U-Net und zurück einmal aufzeichnen und abspielen, damit eine schnelle " +
      "Karte nicht auf Python wartet; nicht für DragNoise, mit Führung oder anderen Gradienten als joint",
  ],
  memory: [
    "Speicher",
    "wie eine Bearbeitung mit dem Speicher auskommt, der da ist: auto nimmt, was an Sparmaßnahmen nötig ist, full keine, " +
      "lean alle; die letzten beiden werden nie abgelehnt",
  ],
  seed: ["Startwert", "alles Zufälligen: Rauschen des LoRA, Rauschen am Anfang, Füllung eines Anfangs aus Zellen"],
};

const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** What a setting is called. */
export function settingLabel(info, language) {
  if (language === "de" && GERMAN[info.name]) return GERMAN[info.name][0];
  return LABELS[info.name] ?? info.label;
}

/** What a setting does, as a sentence. */
export function settingHelp(info, language) {
  const text = language === "de" && GERMAN[info.name] ? GERMAN[info.name][1] : info.description;
  return `${capital(text)}.`;
}
