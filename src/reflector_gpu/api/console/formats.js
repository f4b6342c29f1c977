// The files that are made of an edited transcript, and the reading of one that was saved.

import { named, row, textOf } from "./transcript.js";

/**
 * @typedef {import("./transcript.js").Transcript} Transcript
 * @typedef {import("./transcript.js").Row} Row
 * @typedef {import("./transcript.js").Word} Word
 */

const LINE = 42; // characters of a line of subtitles
const CUE = { characters: 2 * LINE, seconds: 7 };

/** @type {Record<string, {type: string, write: (transcript: Transcript) => string}>} */
export const FORMATS = {
  txt: { type: "text/plain", write: txt },
  srt: { type: "application/x-subrip", write: srt },
  vtt: { type: "text/vtt", write: vtt },
  json: { type: "application/json", write: json },
};

/**
 * A paragraph for each of those who speak in turn.
 * @param {Transcript} transcript
 */
function txt({ rows, names }) {
  /** @type {string[]} */
  const paragraphs = [];
  let speaker = "";
  for (const one of rows.filter((each) => each.words.length)) {
    const name = one.speaker && one.speaker !== speaker ? `${names[one.speaker]}: ` : "";
    if (name || !paragraphs.length || !one.speaker) paragraphs.push(name + textOf(one));
    else paragraphs[paragraphs.length - 1] += ` ${textOf(one)}`;
    speaker = one.speaker;
  }
  return `${paragraphs.join("\n\n")}\n`;
}

/** @param {Transcript} transcript */
function srt(transcript) {
  const cues = cuesOf(transcript).map(({ start, end, text, name }, index) => {
    const times = `${time(start, ",")} --> ${time(end, ",")}`;
    return `${index + 1}\n${times}\n${wrapped(name ? `${name}: ${text}` : text)}\n`;
  });
  return cues.join("\n");
}

/** @param {Transcript} transcript */
function vtt(transcript) {
  const cues = cuesOf(transcript).map(({ start, end, text, speaker }) => {
    const voice = speaker ? `<v ${escaped(transcript.names[speaker])}>` : "";
    return `${time(start, ".")} --> ${time(end, ".")}\n${voice}${escaped(wrapped(text))}\n`;
  });
  return `WEBVTT\n\n${cues.join("\n")}`;
}

/** @param {Transcript} transcript */
function json({ rows, names, language, duration, translatedTo }) {
  const segments = rows.map((one, id) => ({
    id,
    start: one.start,
    end: one.end,
    text: textOf(one),
    speaker: one.speaker ? names[one.speaker] : undefined,
    translation: one.translation,
    words: one.words.map((word) => ({
      word: word.text,
      start: word.start,
      end: word.end,
      probability: word.probability,
    })),
  }));
  const text = segments.map((segment) => segment.text).join(" ");
  return JSON.stringify({ text, language, translated_to: translatedTo || undefined, duration, segments }, null, 1);
}

/**
 * The transcript in a file of JSON: one saved here, or the API's `verbose_json` or `diarized_json`.
 * @param {string} file
 * @returns {Transcript}
 */
export function fromJson(file) {
  const told = JSON.parse(file);
  if (!Array.isArray(told.segments)) throw new Error("The file has no segments.");
  const segments = Array.isArray(told.words) ? withWords(told.segments, told.words) : told.segments;
  const rows = segments.flatMap(rowsOf);
  const duration = told.duration ?? rows.at(-1)?.end ?? 0;
  const translatedTo = told.translated_to ?? (rows.some((/** @type {Row} */ one) => one.translation) ? "und" : "");
  return { rows, names: named(rows), language: told.language ?? "", duration, translatedTo };
}

/**
 * The segments of `verbose_json`, each with its words, which stand beside them there.
 * @param {any[]} segments
 * @param {any[]} words
 */
function withWords(segments, words) {
  let next = 0;
  return segments.map((segment, index) => {
    const until = segments[index + 1]?.start ?? Infinity;
    const first = next;
    while (next < words.length && words[next].start < until) next += 1;
    return { ...segment, words: words.slice(first, next) };
  });
}

/**
 * The rows of a segment: one for each of those who speak in it.
 * @param {any} segment
 * @returns {Row[]}
 */
function rowsOf(segment) {
  const words = wordsOf(segment);
  const whose = (/** @type {number} */ index) => segment.words?.[index]?.speaker ?? segment.speaker ?? "";
  /** @type {Row[]} */
  const rows = [];
  for (let first = 0, index = 1; index <= words.length; index += 1) {
    if (index < words.length && whose(index) === whose(first)) continue;
    rows.push(row(words.slice(first, index), whose(first), rows.length ? undefined : segment.translation));
    first = index;
  }
  return rows;
}

/**
 * The transcript in the language that it was translated to. Words share the time of their row.
 * @param {Transcript} transcript
 * @returns {Transcript}
 */
export function inTranslation(transcript) {
  const rows = transcript.rows.flatMap(({ start, end, speaker, translation }) => {
    const words = wordsOf({ text: translation ?? "", start, end, words: undefined });
    return words.length ? [row(words, speaker)] : [];
  });
  return { ...transcript, rows, language: transcript.translatedTo ?? "", translatedTo: "" };
}

/**
 * @param {any} segment
 * @returns {Word[]}
 */
function wordsOf({ text, words, start, end }) {
  if (Array.isArray(words) && words.length) {
    const bare = words.every(({ word }) => !/^\s/.test(word));
    return words.map((word) => ({
      text: bare ? ` ${word.word}` : word.word,
      start: Number(word.start),
      end: Number(word.end),
      probability: word.probability,
    }));
  }
  const pieces = String(text).trim().split(/\s+/).filter(Boolean);
  const each = (end - start) / pieces.length;
  return pieces.map((piece, index) => ({
    text: ` ${piece}`,
    start: start + each * index,
    end: start + each * (index + 1),
  }));
}

/**
 * Pieces of the rows that are short enough to be read on a screen. `name` is that of the speaker
 * where another begins.
 * @param {Transcript} transcript
 */
function cuesOf({ rows, names }) {
  let before = "";
  return rows.flatMap((one) =>
    piecesOf(one.words).map((words) => {
      const name = one.speaker && one.speaker !== before ? names[one.speaker] : "";
      before = one.speaker;
      const text = words.map((word) => word.text).join("").trim();
      return { start: words[0].start, end: words[words.length - 1].end, text, name, speaker: one.speaker };
    }),
  );
}

/**
 * @param {readonly Word[]} words
 * @returns {Word[][]}
 */
function piecesOf(words) {
  /** @type {Word[][]} */
  const pieces = [];
  let length = 0;
  for (const word of words) {
    const piece = pieces[pieces.length - 1];
    const full = piece && (length + word.text.length > CUE.characters || word.end - piece[0].start > CUE.seconds);
    if (!piece || full) {
      pieces.push([word]);
      length = word.text.length;
    } else {
      piece.push(word);
      length += word.text.length;
    }
  }
  return pieces;
}

/**
 * A text on two lines of about the same length, if it is too long for one.
 * @param {string} text
 */
function wrapped(text) {
  if (text.length <= LINE) return text;
  const middle = text.length / 2;
  const spaces = [...text.matchAll(/ /g)].map((match) => match.index);
  if (!spaces.length) return text;
  const best = spaces.reduce((one, other) => (Math.abs(other - middle) < Math.abs(one - middle) ? other : one));
  return `${text.slice(0, best)}\n${text.slice(best + 1)}`;
}

/**
 * @param {number} seconds
 * @param {string} point
 */
function time(seconds, point) {
  const all = Math.round(seconds * 1000);
  const parts = [Math.floor(all / 3_600_000), Math.floor(all / 60_000) % 60, Math.floor(all / 1000) % 60];
  const clock = parts.map((part) => String(part).padStart(2, "0")).join(":");
  return clock + point + String(all % 1000).padStart(3, "0");
}

/** @param {string} text */
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
