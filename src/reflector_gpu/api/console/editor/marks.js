// What is marked in the text: the word that is heard, doubtful words, and what was searched for.
//
// Marks are ranges (the CSS Custom Highlight API), so the text stays plain text that can be edited.

import { offsets } from "../words.js";

const DOUBTFUL = 0.6; // words that the recogniser holds less likely are marked

/**
 * @typedef {import("../transcript.js").Row} Row
 * @typedef {{id: number, begin: number, end: number}} Match
 */

export class Marks {
  /** @type {Map<number, {row: Row, text: HTMLElement}>} the rows on the screen */
  #shown = new Map();
  /** @type {readonly Match[]} */
  #matches = [];
  /** @type {Match | undefined} */
  #match;
  #due = 0;

  /**
   * @param {Row} row
   * @param {HTMLElement} text
   */
  show(row, text) {
    this.#shown.set(row.id, { row, text });
    this.refresh();
  }

  /**
   * A row has changed; it may be out of sight.
   * @param {Row} row
   * @param {HTMLElement} text
   */
  change(row, text) {
    if (this.#shown.has(row.id)) this.show(row, text);
  }

  /** @param {number} id */
  hide(id) {
    if (this.#shown.delete(id)) this.refresh();
  }

  /**
   * @param {readonly Match[]} matches
   * @param {Match} [current]
   */
  find(matches, current) {
    this.#matches = matches;
    this.#match = current;
    this.refresh();
  }

  /**
   * Light one word.
   * @param {number} id of its row
   * @param {number} index
   */
  light(id, index) {
    const shown = this.#shown.get(id);
    const spot = shown && offsets(shown.row, shown.text.textContent ?? "")[index];
    set("heard", shown && spot ? [range(shown.text, ...spot)] : []);
  }

  /** Mark what is on the screen anew, before it is painted the next time. */
  refresh() {
    this.#due ||= requestAnimationFrame(() => {
      this.#due = 0;
      const shown = [...this.#shown.values()];
      set("doubtful", shown.flatMap(doubts));
      const found = this.#matches.filter(({ id }) => this.#shown.has(id));
      const ranges = found.map(({ id, begin, end }) => range(this.#text(id), begin, end));
      set("found", ranges);
      const match = this.#match && this.#shown.has(this.#match.id) ? this.#match : undefined;
      set("chosen", match ? [range(this.#text(match.id), match.begin, match.end)] : []);
    });
  }

  /** @param {number} id */
  #text(id) {
    return /** @type {{text: HTMLElement}} */ (this.#shown.get(id)).text;
  }
}

/** @param {{row: Row, text: HTMLElement}} shown */
function doubts({ row, text }) {
  const spots = offsets(row, text.textContent ?? "");
  return row.words.flatMap(({ probability }, index) =>
    probability !== undefined && probability < DOUBTFUL ? [range(text, ...spots[index])] : [],
  );
}

/**
 * @param {HTMLElement} text
 * @param {number} begin
 * @param {number} end
 */
function range(text, begin, end) {
  if (text.childNodes.length > 1) text.normalize();
  const made = new Range();
  const node = text.firstChild;
  if (!(node instanceof Text)) return made;
  made.setStart(node, Math.min(begin, node.length));
  made.setEnd(node, Math.min(end, node.length));
  return made;
}

/**
 * @param {string} name of the ::highlight() in the style sheet
 * @param {Range[]} ranges
 */
function set(name, ranges) {
  CSS.highlights?.set(name, new Highlight(...ranges));
}
