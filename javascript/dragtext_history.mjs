// What was done, one document after another. No work at import.

const MOST = 300; // documents; their layers share what they have in common

/** A list of documents with a place in it. Every push is one action that undo takes back. */
export class History {
  constructor(doc) {
    this.reset(doc);
  }

  /** Forget everything before. */
  reset(doc) {
    this.entries = [{ doc, label: "" }];
    this.place = 0;
  }

  get current() {
    return this.entries[this.place].doc;
  }

  get canUndo() {
    return this.place > 0;
  }

  get canRedo() {
    return this.place + 1 < this.entries.length;
  }

  /** Another document after this one; what was undone is forgotten. label: what was done. */
  push(doc, label) {
    this.entries.splice(this.place + 1, Infinity, { doc, label });
    if (this.entries.length > MOST) this.entries.shift();
    this.place = this.entries.length - 1;
  }

  /** Put something in the place of the current document that nobody did, such as a mask that follows. */
  amend(doc) {
    this.entries[this.place] = { ...this.entries[this.place], doc };
  }

  /** Step back. Returns the label of what was undone, or null where there was nothing. */
  undo() {
    if (!this.canUndo) return null;
    return this.entries[this.place--].label;
  }

  /** Step forth. Returns the label of what was done again, or null. */
  redo() {
    if (!this.canRedo) return null;
    return this.entries[++this.place].label;
  }
}
