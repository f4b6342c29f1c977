// The waveform of the recording, drawn by wavesurfer.js (BSD-3).

import { byId } from "../dom.js";
import WaveSurfer from "../vendor/wavesurfer.esm.js";

const LONGEST = 30 * 60; // seconds; a browser decodes all of it at once, into a gigabyte at 45 minutes
const RATE = 8000; // samples a second, enough for a picture
const BARS = 1200;

/**
 * Draw the recording, if it is not too long. The page works without the picture.
 *
 * Its room is kept from the start, so that nothing below it moves when it comes.
 * @param {File} file
 * @param {import("./player.js").Player} player
 * @returns {() => void} takes it away, or lets it never come
 */
export function drawWaveform(file, player) {
  if (player.duration > LONGEST) return () => {};
  const gone = new AbortController();
  const place = byId("waveform");
  place.hidden = false;
  gone.signal.addEventListener("abort", () => (place.hidden = true));
  peaksOf(file).then(
    (peaks) => gone.signal.aborted || draw(place, peaks, player, gone.signal),
    () => gone.abort(), // the browser plays it and cannot decode it at once: there is no picture then
  );
  return () => gone.abort();
}

/**
 * @param {HTMLElement} place
 * @param {Float32Array} peaks
 * @param {import("./player.js").Player} player
 * @param {AbortSignal} gone
 */
function draw(place, peaks, player, gone) {
  const wave = WaveSurfer.create({
    container: place,
    media: player.audio,
    url: player.audio.src,
    peaks: [peaks],
    duration: player.duration,
    height: 56,
    barWidth: 2,
    barGap: 1,
    barRadius: 2,
    cursorWidth: 1,
    dragToSeek: true,
    normalize: true,
    cspNonce: byId("base-style").nonce,
    ...colours(),
  });
  wave.once("ready", () => wave.setTime(player.audio.currentTime));
  gone.addEventListener("abort", () => wave.destroy());
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", () => wave.setOptions(colours()), { signal: gone });
}

/** The colours of the page, which follow light and dark. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  const [line, accent] = ["--wave", "--accent"].map((name) => style.getPropertyValue(name).trim());
  return { waveColor: line, progressColor: accent, cursorColor: accent };
}

/**
 * The loudest sample of each of many stretches.
 * @param {File} file
 */
async function peaksOf(file) {
  const decoder = new OfflineAudioContext(1, 1, RATE);
  const samples = (await decoder.decodeAudioData(await file.arrayBuffer())).getChannelData(0);
  const length = Math.max(1, Math.ceil(samples.length / BARS));
  const peaks = new Float32Array(Math.ceil(samples.length / length));
  for (let at = 0; at < samples.length; at += 1) {
    const place = Math.floor(at / length);
    peaks[place] = Math.max(peaks[place], Math.abs(samples[at]));
  }
  return peaks;
}
