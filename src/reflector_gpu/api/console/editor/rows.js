// The rows of the transcript on the page. Each has its time, its speaker and its text.
//
// They stand in blocks. Those that are out of sight are not laid out, which is what keeps hours of
// talk as quick as minutes; it costs less by the block than by the row.

import { clock, element } from "../dom.js";
import { textOf } from "../transcript.js";
import { cut, edited, joined, wordAt } from "../words.js";

/**
 * @typedef {import("../transcript.js").Row} Row
 * @typedef {{row: Row, item: HTMLElement, text: HTMLElement, who: HTMLElement, other: HTMLElement | null}} Shown
 */

const BLOCK = 40; // rows

export class Rows {
  /** @type {Map<number, Shown>} */
  #shown = new Map();
  /** @type {Set<Element>} the blocks on the screen */
  #visible = new Set();

  /**
   * @param {HTMLElement} list
   * @param {import("./session.js").Session} session
   * @param {import("./marks.js").Marks} marks
   * @param {{seek: (seconds: number) => void, play: () => void}} player
   * @param {(row: Row, button: HTMLElement) => void} chooseSpeaker
   */
  constructor(list, session, marks, player, chooseSpeaker) {
    this.list = list;
    this.session = session;
    this.marks = marks;
    this.player = player;
    this.chooseSpeaker = chooseSpeaker;
    this.observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: "200px" });
    list.addEventListener("input", (event) => this.#typed(/** @type {HTMLElement} */ (event.target)));
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("click", (event) => this.#clicked(/** @type {HTMLElement} */ (event.target)));
    session.onChange(() => this.render());
    this.render();
  }

  /** Bring the page up to date. Rows that are the same stay untouched. */
  render() {
    const { rows, names } = this.session.transcript;
    const voices = Object.keys(names);
    const kept = new Set(rows.map((row) => row.id));
    for (const [id, { item }] of this.#shown) {
      if (!kept.has(id)) this.#remove(id, item);
    }
    /** @type {HTMLElement | null} */
    let last = null;
    let before = "";
    for (const row of rows) {
      const shown = this.#shown.get(row.id) ?? this.#made(row);
      if (!shown.item.parentElement) this.#place(shown, last);
      last = shown.item;
      if (shown.row !== row) {
        shown.row = row;
        if (shown.text.textContent !== textOf(row)) shown.text.textContent = textOf(row);
        showTranslation(shown);
        this.marks.change(row, shown.text);
      }
      showSpeaker(shown, names, voices, before);
      before = row.speaker;
    }
  }

  /**
   * @param {number} id
   * @param {HTMLElement} item
   */
  #remove(id, item) {
    const block = item.parentElement;
    this.marks.hide(id);
    this.#shown.delete(id);
    item.remove();
    if (block?.childElementCount) return;
    this.#visible.delete(/** @type {Element} */ (block));
    block?.remove();
  }

  /**
   * Put a row after another, into a block that has room.
   * @param {Shown} shown
   * @param {HTMLElement | null} last
   */
  #place(shown, last) {
    let block = last ? last.parentElement : this.list.firstElementChild;
    const full = block && last === block.lastElementChild && block.childElementCount >= BLOCK;
    if (!block || full) {
      const made = element("div", { className: "block" });
      if (block) block.after(made);
      else this.list.append(made);
      this.observer.observe(made);
      made.append(shown.item);
      block = made;
    } else if (last) last.after(shown.item);
    else block.prepend(shown.item);
    if (block && this.#visible.has(block)) this.marks.show(shown.row, shown.text);
  }

  /**
   * Bring a row into view.
   * @param {number} id
   */
  reveal(id) {
    const item = this.#shown.get(id)?.item;
    const box = item?.getBoundingClientRect();
    if (item && box && (box.top < 180 || box.bottom > innerHeight - 40)) item.scrollIntoView({ block: "center" });
  }

  /**
   * @param {Row} row
   * @returns {Shown}
   */
  #made(row) {
    const who = element("button", { type: "button", className: "speaker" });
    const text = element(
      "p",
      {
        className: "text",
        contenteditable: "plaintext-only",
        role: "textbox",
        "aria-multiline": "true",
        "aria-label": `Text at ${clock(row.start)}`,
        lang: this.session.transcript.language,
      },
      textOf(row),
    );
    const time = element("button", { type: "button", className: "time", "aria-label": `Play from ${clock(row.start)}` });
    time.textContent = clock(row.start);
    const item = element("div", { className: "row", role: "listitem" }, time, element("div", {}, who, text));
    item.dataset.id = String(row.id);
    const other = this.session.transcript.translatedTo ? this.#beside(row) : null;
    if (other) item.append(other);
    const shown = { row, item, text, who, other };
    this.#shown.set(row.id, shown);
    return shown;
  }

  /**
   * The translation of a row, which can be edited like its text.
   * @param {Row} row
   */
  #beside(row) {
    return element(
      "p",
      {
        className: "translation",
        contenteditable: "plaintext-only",
        role: "textbox",
        "aria-multiline": "true",
        "aria-label": `Translation at ${clock(row.start)}`,
        lang: this.session.transcript.translatedTo,
      },
      row.translation ?? "",
    );
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #seen(entries) {
    for (const { target: block, isIntersecting } of entries) {
      if (isIntersecting) this.#visible.add(block);
      else this.#visible.delete(block);
      for (const item of block.children) {
        const shown = this.#of(/** @type {HTMLElement} */ (item));
        if (!shown) continue;
        if (isIntersecting) this.marks.show(shown.row, shown.text);
        else this.marks.hide(shown.row.id);
      }
    }
  }

  /**
   * What is shown of the row that an element belongs to.
   * @param {HTMLElement} target
   */
  #of(target) {
    const item = /** @type {HTMLElement | null} */ (target.closest(".row"));
    return item ? this.#shown.get(Number(item.dataset.id)) : undefined;
  }

  /** @param {HTMLElement} target */
  #typed(target) {
    const shown = this.#of(target);
    if (!shown) return;
    if (target === shown.other) {
      shown.row = { ...shown.row, translation: target.textContent ?? "" };
      this.session.replace(shown.row.id, 1, [shown.row], `translation ${shown.row.id}`);
      return;
    }
    const row = edited(shown.row, shown.text.textContent ?? "");
    shown.row = row; // what is typed stands there already, and must not move under the caret
    this.marks.change(row, shown.text);
    this.session.replace(row.id, 1, [row], `text ${row.id}`);
  }

  /** @param {HTMLElement} target */
  #clicked(target) {
    const shown = this.#of(target);
    if (!shown) return;
    if (target === shown.who) this.chooseSpeaker(shown.row, shown.who);
    else if (target.classList.contains("time")) {
      this.player.seek(shown.row.start);
      this.player.play();
    } else if (shown.text.contains(target) && getSelection()?.isCollapsed) this.#seek(shown);
  }

  /** @param {Shown} shown */
  #seek({ row, text }) {
    const word = row.words[wordAt(row, caret(text))];
    this.player.seek(word ? word.start : row.start);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const shown = this.#of(/** @type {HTMLElement} */ (event.target));
    if (!shown || event.target !== shown.text || event.isComposing) return;
    if (event.key === "Enter") {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) {
        this.#seek(shown);
        this.player.play();
      } else this.#cut(shown);
    } else if (event.key === "Backspace" && getSelection()?.isCollapsed && caret(shown.text) === 0) {
      event.preventDefault();
      this.#join(shown);
    }
  }

  /** @param {Shown} shown */
  #cut({ row, text }) {
    const rows = cut(row, caret(text));
    if (rows.length < 2) return;
    this.session.replace(row.id, 1, rows);
    this.focus(rows[1].id, 0);
  }

  /** @param {Shown} shown */
  #join({ row }) {
    const { rows } = this.session.transcript;
    const before = rows[rows.findIndex((other) => other.id === row.id) - 1];
    if (!before) return;
    const length = textOf(before).length;
    this.session.replace(before.id, 2, [joined(before, row)]);
    this.focus(before.id, length);
  }

  /**
   * Put the caret into a row.
   * @param {number} id
   * @param {number} offset
   */
  focus(id, offset) {
    const text = this.#shown.get(id)?.text;
    text?.focus();
    if (text?.firstChild) getSelection()?.collapse(text.firstChild, offset);
  }
}

/**
 * Where the caret is in a text.
 * @param {HTMLElement} text
 */
function caret(text) {
  const selection = getSelection();
  if (!selection?.anchorNode || !text.contains(selection.anchorNode)) return 0;
  const range = new Range();
  range.selectNodeContents(text);
  range.setEnd(selection.anchorNode, selection.anchorOffset);
  return range.toString().length;
}

/** @param {Shown} shown */
function showTranslation({ row, other }) {
  const text = row.translation ?? "";
  if (other && other.textContent !== text) other.textContent = text;
}

/**
 * @param {Shown} shown
 * @param {Readonly<Record<string, string>>} names
 * @param {string[]} voices
 * @param {string} before who speaks in the row above
 */
function showSpeaker({ row, item, who }, names, voices, before) {
  const name = names[row.speaker] ?? "Nobody named";
  if (who.textContent !== name) who.textContent = name;
  who.hidden = !voices.length;
  item.dataset.voice = row.speaker ? String(voices.indexOf(row.speaker) % 8) : "";
  item.classList.toggle("same", row.speaker === before);
}
