// The work: how far it is, and the words as they are recognised.

import { byId, clock, element, showView } from "../dom.js";
import { transcribe } from "../stream.js";
import { Gathering } from "../transcript.js";

/**
 * Transcribe while the page shows it.
 * @param {File | string} source
 * @param {import("../stream.js").Options} options
 * @param {string} heard what the captions have said, to be read until there is better
 * @returns {Promise<import("../transcript.js").Transcript>}
 */
export async function work(source, options, heard) {
  const [words, stage, progress] = ["words", "stage", "progress"].map(byId);
  const gathering = new Gathering(options.translation);
  const abort = new AbortController();
  const name = typeof source === "string" ? nameOf(source) : source.name;
  byId("work-title").textContent = name;
  words.replaceChildren(heard);
  words.classList.toggle("heard", Boolean(heard));
  stage.textContent = "Sending the recording";
  progress.removeAttribute("value");
  byId("cancel").onclick = () => abort.abort();
  showView("work");

  let duration = 0;
  lengthOf(source).then((seconds) => (duration = seconds));
  const listener = {
    sent(/** @type {number} */ share) {
      if (share < 1) progress.value = share;
      else if (!gathering.end) {
        progress.removeAttribute("value");
        stage.textContent = "Listening";
      }
    },
    event(/** @type {any} */ event) {
      gathering.add(event);
      if (event.type !== "transcript.text.delta") return;
      if (words.classList.contains("heard")) {
        words.classList.remove("heard");
        words.replaceChildren();
      }
      words.append(element("span", {}, event.delta));
      if (duration) progress.value = Math.min(event.end / duration, 1);
      const known = duration ? ` of ${clock(duration)}` : "";
      stage.textContent = `Heard ${clock(event.end)}${known}`;
    },
  };
  await transcribe(source, options, listener, abort.signal);
  return gathering.transcript;
}

/**
 * The last part of an address, or all of it.
 * @param {string} url
 */
export function nameOf(url) {
  try {
    return decodeURIComponent(new URL(url).pathname.split("/").pop() || url);
  } catch {
    return url;
  }
}

/**
 * How long the recording is, as far as the browser can tell; 0 if it cannot.
 * @param {File | string} source
 * @returns {Promise<number>}
 */
function lengthOf(source) {
  return new Promise((resolve) => {
    const url = typeof source === "string" ? source : URL.createObjectURL(source);
    const audio = new Audio();
    const answer = () => {
      if (typeof source !== "string") URL.revokeObjectURL(url);
      resolve(Number.isFinite(audio.duration) ? audio.duration : 0);
    };
    audio.preload = "metadata";
    audio.onloadedmetadata = answer;
    audio.onerror = answer;
    audio.src = url;
  });
}
