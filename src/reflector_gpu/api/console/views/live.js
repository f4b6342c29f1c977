// The microphone: a recording, with captions while it runs.

import { byId, clock, element, showFailure, showView } from "../dom.js";
import { openCaptions } from "../microphone/captions.js";
import { openMicrophone } from "../microphone/microphone.js";

/**
 * Record until somebody ends it.
 * @param {import("../stream.js").Options} options
 * @returns {Promise<{recording: File, heard: string} | null>} also what the captions said; null if
 *   it is not wanted
 */
export async function live(options) {
  /** @type {import("../microphone/captions.js").Captions | null} */
  let captions = null;
  const microphone = await openMicrophone((samples) => {
    showLevel(samples);
    captions?.send(samples);
  });
  byId("captions").replaceChildren();
  showFailure(byId("live-failure"));
  showView("live");
  const began = Date.now();
  const show = () => (byId("elapsed").textContent = clock((Date.now() - began) / 1000));
  const timer = setInterval(show, 500);
  show();
  const failed = (/** @type {string} */ message) => showFailure(byId("live-failure"), message);
  let over = false;
  if (microphone.rate) {
    openCaptions(microphone.rate, options, { turn: showTurn, failed }).then(
      (opened) => (over ? opened.close() : (captions = opened)),
      (error) => failed(error.message),
    );
  } else failed("This browser gives no samples that captions could be made of. The recording goes on.");

  const wanted = await new Promise((resolve) => {
    byId("finish").onclick = () => resolve(true);
    byId("discard").onclick = () => resolve(false);
  });
  over = true;
  clearInterval(timer);
  const opened = /** @type {import("../microphone/captions.js").Captions | null} */ (captions);
  if (!wanted) {
    opened?.close();
    microphone.discard();
    return null;
  }
  const recording = await microphone.stop();
  byId("elapsed").textContent = "Writing the last words";
  await opened?.finish();
  const turns = [...byId("captions").children].map((line) => line.textContent);
  return { recording, heard: turns.join(" ") };
}

/**
 * Show what was said in a turn so far.
 * @param {string} id
 * @param {string} text
 * @param {boolean} final
 */
function showTurn(id, text, final) {
  const place = byId("captions");
  let line = place.querySelector(`[data-turn="${CSS.escape(id)}"]`);
  if (!line) {
    line = element("p", {});
    line.dataset.turn = id;
    place.append(line);
  }
  line.textContent = text;
  line.classList.toggle("final", final);
  line.scrollIntoView({ block: "nearest" });
}

/** @param {Int16Array} samples */
function showLevel(samples) {
  const loudest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  const level = Math.min(1, Math.sqrt(loudest / 32767) * 1.2);
  byId("level").style.setProperty("--level", level.toFixed(2));
}
