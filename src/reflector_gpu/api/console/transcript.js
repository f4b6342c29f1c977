// A transcript: rows of words with times, and how one is gathered from the events of a stream.

/**
 * @typedef {object} Word
 * @property {string} text with the space before it, if there is one
 * @property {number} start
 * @property {number} end
 * @property {number} [probability] absent where a person has typed it
 *
 * @typedef {object} Row what one speaker says in one go
 * @property {number} id
 * @property {string} speaker empty where speakers were not told apart
 * @property {number} start
 * @property {number} end
 * @property {readonly Word[]} words
 * @property {string} [translation]
 *
 * @typedef {object} Transcript
 * @property {readonly Row[]} rows
 * @property {Readonly<Record<string, string>>} names of the speakers, by what the server calls them
 * @property {string} language
 * @property {number} duration
 * @property {string} [translatedTo] the language of the translations, if there are any
 */

let lastId = 0;

/**
 * A row of these words.
 * @param {readonly Word[]} words at least one
 * @param {string} [speaker]
 * @param {string} [translation]
 * @returns {Row}
 */
export function row(words, speaker = "", translation = undefined) {
  lastId += 1;
  const [first, last] = [words[0], words[words.length - 1]];
  return { id: lastId, speaker, start: first.start, end: last.end, words, translation };
}

/**
 * The text of a row, without the space before it.
 * @param {Row} of
 */
export function textOf(of) {
  return of.words.map((word) => word.text).join("").trimStart();
}

/**
 * The names of those who speak in these rows: those known, and letters for the others.
 * @param {readonly Row[]} rows
 * @param {Readonly<Record<string, string>>} known
 * @returns {Record<string, string>}
 */
export function named(rows, known = {}) {
  const found = { ...known };
  for (const { speaker } of rows) {
    if (speaker && !(speaker in found)) found[speaker] = speaker.length > 1 ? speaker : `Speaker ${speaker}`;
  }
  return found;
}

/** Gathers the events of a stream. */
export class Gathering {
  /** @param {string} [translatedTo] the language that was asked for */
  constructor(translatedTo = "") {
    this.translatedTo = translatedTo;
    /** @type {string[]} the translation of each segment */
    this.translations = [];
    /** @type {Word[][]} the words of each segment, by its number */
    this.segments = [];
    /** @type {{number: number, start: number, speaker: string, translation?: string}[]} */
    this.monologues = [];
    this.language = "";
    this.duration = 0;
    this.end = 0;
  }

  /** @param {any} event */
  add(event) {
    if (event.type === "transcript.text.delta") {
      this.segments.push(spaced(event.delta, event));
      this.end = event.end;
    } else if (event.type === "transcript.text.segment") {
      const number = Number(event.id.split("_")[1]);
      const { start, speaker, translation } = event;
      this.monologues.push({ number, start, speaker, translation });
    } else if (event.type === "transcript.text.done") {
      this.language = event.languages?.[0]?.code ?? "";
      this.duration = event.usage?.seconds ?? this.end;
      this.translations = (event.segments ?? []).map((/** @type {any} */ segment) => segment.translation);
    }
  }

  /** @returns {Transcript} */
  get transcript() {
    const rows = this.segments.flatMap((words, number) => {
      const spoken = this.monologues.filter((monologue) => monologue.number === number);
      return rowsOf(words, spoken, this.translations[number]);
    });
    const { language, duration, translatedTo } = this;
    return { rows, names: named(rows), language, duration, translatedTo };
  }
}

/**
 * The rows of a segment: one for each of those who speak in it.
 * @param {Word[]} words
 * @param {{start: number, speaker: string, translation?: string}[]} monologues in the order of time
 * @param {string | undefined} translation of the segment
 */
function rowsOf(words, monologues, translation) {
  if (!words.length) return [];
  if (monologues.length < 2) return [row(words, monologues[0]?.speaker, translation)];
  return monologues.flatMap(({ start, speaker, translation }, index) => {
    const until = monologues[index + 1]?.start ?? Infinity;
    const from = index ? start : -Infinity;
    const own = words.filter((word) => word.start >= from && word.start < until);
    return own.length ? [row(own, speaker, translation)] : [];
  });
}

/**
 * The words of an event, which are bare, with the spaces that the text has between them.
 * @param {string} text
 * @param {{words?: any[], start: number, end: number}} event
 * @returns {Word[]}
 */
export function spaced(text, event) {
  const bare = event.words?.length ? event.words : [{ word: text.trim(), start: event.start, end: event.end }];
  let position = 0;
  return bare.map(({ word, start, end, probability }) => {
    const found = text.indexOf(word, position);
    const begin = found < 0 ? position : found;
    const space = /\s/.test(text.slice(position, begin)) ? " " : "";
    position = begin + word.length;
    return { text: space + word, start, end, probability };
  });
}
