// The transcript that is edited, and its history.

/**
 * @typedef {import("../transcript.js").Transcript} Transcript
 * @typedef {import("../transcript.js").Row} Row
 */

const PAUSE = 1500; // milliseconds after which typing on is a step of its own

export class Session {
  /** @type {Transcript[]} */
  #past = [];
  /** @type {Transcript[]} */
  #future = [];
  /** @type {Set<() => void>} */
  #listeners = new Set();
  #step = { key: "", at: 0 };

  /** @param {Transcript} transcript */
  constructor(transcript) {
    this.transcript = transcript;
    this.saved = transcript;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /** @param {() => void} listener is called after every change */
  onChange(listener) {
    this.#listeners.add(listener);
  }

  /** @param {number} id */
  row(id) {
    return this.transcript.rows.find((row) => row.id === id);
  }

  /**
   * Go on with another transcript.
   * @param {Transcript} next
   * @param {string} [key] changes with the same one, shortly after each other, are one step
   */
  change(next, key = "") {
    const now = performance.now();
    const same = key && key === this.#step.key && now - this.#step.at < PAUSE;
    if (!same) this.#past.push(this.transcript);
    this.#step = { key, at: now };
    this.#future = [];
    this.#show(next);
  }

  /**
   * Put other rows in the place of some.
   * @param {number} id of the first row to replace
   * @param {number} count
   * @param {Row[]} rows
   * @param {string} [key]
   */
  replace(id, count, rows, key) {
    const all = [...this.transcript.rows];
    all.splice(all.findIndex((row) => row.id === id), count, ...rows);
    this.change({ ...this.transcript, rows: all }, key);
  }

  undo() {
    const last = this.#past.pop();
    if (!last) return;
    this.#future.push(this.transcript);
    this.#step = { key: "", at: 0 };
    this.#show(last);
  }

  redo() {
    const next = this.#future.pop();
    if (!next) return;
    this.#past.push(this.transcript);
    this.#step = { key: "", at: 0 };
    this.#show(next);
  }

  /** @param {Transcript} transcript */
  #show(transcript) {
    this.transcript = transcript;
    for (const listener of this.#listeners) listener();
  }
}
