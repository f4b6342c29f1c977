// Changes of a row's text that keep the times of its words. Everything here is pure.

import { row, textOf } from "./transcript.js";

/**
 * @typedef {import("./transcript.js").Word} Word
 * @typedef {import("./transcript.js").Row} Row
 */

/**
 * Where each word of a row stands in `text`, as pairs of offsets without the space before it.
 * @param {Row} of
 * @param {string} text
 * @returns {[number, number][]}
 */
export function offsets(of, text = textOf(of)) {
  let position = 0;
  return of.words.map((word) => {
    const bare = word.text.trim();
    const found = text.indexOf(bare, position);
    const begin = found < 0 ? position : found;
    position = begin + bare.length;
    return [begin, position];
  });
}

/**
 * The index of the word at an offset of the text, or of the one before it.
 * @param {Row} of
 * @param {number} offset
 */
export function wordAt(of, offset) {
  const starts = offsets(of);
  const after = starts.findIndex(([begin]) => begin > offset);
  return Math.max(0, (after < 0 ? starts.length : after) - 1);
}

/**
 * The row after somebody has made `text` of its text.
 *
 * Words outside of the change keep their times. Those within it share the time of what they
 * replace, and have no probability: a person has looked at them.
 * @param {Row} of
 * @param {string} text
 * @returns {Row}
 */
export function edited(of, text) {
  const old = textOf(of);
  const written = text.replace(/\s/g, " ");
  if (old === written) return of;
  const prefix = shared(old, written);
  const suffix = Math.min(sharedEnd(old, written), old.length - prefix, written.length - prefix);
  const spots = offsets(of);
  let left = spots.filter(([, end]) => end <= prefix).length;
  let right = spots.filter(([begin]) => begin >= old.length - suffix).length;
  right = Math.min(right, of.words.length - left);

  const leftEnd = () => (left ? spots[left - 1][1] : 0);
  const rightBegin = () => (right ? written.length - (old.length - spots[spots.length - right][0]) : written.length);
  // What is typed at the very end or begin of a word belongs to it.
  let middle = written.slice(leftEnd(), rightBegin());
  const glued = left < of.words.length && !/^\s/.test(of.words[left].text);
  if (left && (middle ? /^\S/.test(middle) : right && !glued)) left -= 1;
  middle = written.slice(leftEnd(), rightBegin());
  if (right && /\S$/.test(middle)) right -= 1;
  middle = written.slice(leftEnd(), rightBegin());

  const before = of.words.slice(0, left);
  const replaced = of.words.slice(left, of.words.length - right);
  const after = of.words.slice(of.words.length - right);
  const start = replaced[0]?.start ?? before.at(-1)?.end ?? of.start;
  const end = replaced.at(-1)?.end ?? after[0]?.start ?? of.end;
  const between = timed(middle.match(/\s*\S+/g) ?? [], replaced, start, end);
  if (after.length && /\s$/.test(middle)) after[0] = { ...after[0], text: ` ${after[0].text.trim()}` };
  const words = [...before, ...between, ...after];
  const lead = /^\s/.test(of.words[0]?.text ?? " ") ? " " : "";
  if (words.length) words[0] = { ...words[0], text: lead + words[0].text.trim() };
  return { ...of, words };
}

/**
 * Words made of these pieces of text. As many as before keep their times one by one; others share
 * the time by their length.
 * @param {string[]} pieces
 * @param {readonly Word[]} replaced
 * @param {number} start
 * @param {number} end
 * @returns {Word[]}
 */
function timed(pieces, replaced, start, end) {
  const texts = pieces.map((piece) => (/^\s/.test(piece) ? " " : "") + piece.trim());
  if (texts.length === replaced.length) {
    return texts.map((text, index) => {
      const word = replaced[index];
      return text === word.text ? word : { text, start: word.start, end: word.end };
    });
  }
  const total = texts.join("").length;
  let position = 0;
  const at = () => rounded(start + (Math.max(0, end - start) * position) / total);
  return texts.map((text) => {
    const begin = at();
    position += text.length;
    return { text, start: begin, end: at() };
  });
}

/** @param {number} seconds */
function rounded(seconds) {
  return Math.round(seconds * 100) / 100;
}

/**
 * How many characters two texts share from their begin.
 * @param {string} one
 * @param {string} other
 */
function shared(one, other) {
  let count = 0;
  while (count < one.length && one[count] === other[count]) count += 1;
  return count;
}

/**
 * How many characters two texts share up to their end.
 * @param {string} one
 * @param {string} other
 */
function sharedEnd(one, other) {
  let count = 0;
  while (count < one.length && one.at(-1 - count) === other.at(-1 - count)) count += 1;
  return count;
}

/**
 * Two rows made of one, cut between words; one row where there is nothing to cut. The translation
 * stays with the first, because nobody knows where it would be cut.
 * @param {Row} of
 * @param {number} offset where to cut the text
 * @returns {Row[]}
 */
export function cut(of, offset) {
  const first = offsets(of).filter(([, end]) => end <= offset).length;
  if (first === 0 || first === of.words.length) return [of];
  const end = of.words[first - 1].end;
  return [{ ...of, words: of.words.slice(0, first), end }, row(of.words.slice(first), of.speaker)];
}

/**
 * One row made of two.
 * @param {Row} one
 * @param {Row} other
 * @returns {Row}
 */
export function joined(one, other) {
  const translations = [one.translation, other.translation].filter(Boolean);
  const translation = translations.length ? translations.join(" ") : undefined;
  return { ...one, words: [...one.words, ...other.words], end: Math.max(one.end, other.end), translation };
}
