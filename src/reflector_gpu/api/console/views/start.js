// The start: a file that is dropped or chosen, or an address, and the options.

import { byId, showFailure } from "../dom.js";
import { openProgram } from "./program.js";

/**
 * @param {(source: File | string, options: import("../stream.js").Options) => void} run
 * @param {(options: import("../stream.js").Options) => void} record
 * @param {(transcript: File) => void} reopen
 * @param {(source: File | string, options: import("../stream.js").Options) => Promise<void>} submit
 * @returns {(file: File) => void} chooses a file
 */
export function openStart(run, record, reopen, submit) {
  const [drop, file, url, go] = ["drop", "file", "url", "go"].map(byId);
  const later = byId("later");
  /** @type {File | null} */
  let chosen = null;

  const show = () => {
    byId("chosen").textContent = chosen ? chosen.name : "Drop a recording here, or";
    byId("choose").textContent = chosen ? "Choose another" : "Choose a file";
    drop.classList.toggle("has-file", Boolean(chosen));
    go.disabled = later.disabled = !chosen && !url.value.trim();
    showLines();
  };
  const showLines = openProgram(() => ({ file: chosen?.name ?? "meeting.mp3", url: url.value.trim(), options: options() }));
  const take = (/** @type {File | undefined} */ given) => {
    if (!given) return;
    showFailure(byId("failure"));
    if (given.name.endsWith(".json")) {
      reopen(given);
      return;
    }
    chosen = given;
    url.value = "";
    show();
    go.focus();
  };

  byId("choose").onclick = () => file.click();
  file.onchange = () => {
    take(file.files[0]);
    file.value = ""; // else choosing the same file again would be no change
  };
  url.oninput = () => {
    chosen = null;
    show();
  };
  openDrop(drop, take);
  byId("start-form").onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    showFailure(byId("failure"));
    run(chosen ?? url.value.trim(), options());
  };
  later.onclick = async () => {
    showFailure(byId("failure"));
    const source = chosen ?? url.value.trim();
    chosen = null;
    url.value = "";
    show();
    try {
      await submit(source, options());
    } catch (error) {
      if (typeof source !== "string") take(source); // it can be tried again
      showFailure(byId("failure"), /** @type {Error} */ (error).message);
    }
  };
  byId("record").onclick = () => {
    showFailure(byId("failure"));
    record(options());
  };
  return take;
}

/** @returns {import("../stream.js").Options} what is chosen */
function options() {
  const [model, language, speakers, translation] = ["model", "language", "speakers", "translation"].map(
    (id) => byId(id).value,
  );
  return { model, language, speakers, translation };
}

/**
 * Take what is dropped anywhere on the page.
 * @param {HTMLElement} place where to show that it may be dropped
 * @param {(file: File | undefined) => void} take
 */
function openDrop(place, take) {
  const hidden = () => byId("start").hidden;
  window.addEventListener("dragover", (event) => {
    event.preventDefault();
    if (!hidden()) place.classList.add("over");
  });
  for (const name of ["dragleave", "drop"]) {
    window.addEventListener(name, () => place.classList.remove("over"));
  }
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    if (!hidden()) take(event.dataTransfer?.files[0]);
  });
}
