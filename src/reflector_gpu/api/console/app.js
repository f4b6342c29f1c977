// Opens the page: the key, the models, and the way from a recording to its transcript.

import { json, keepKey, key } from "./api.js";
import { byId, showFailure, showView } from "./dom.js";
import { openEditor } from "./editor/editor.js";
import { fromJson } from "./formats.js";
import { loadModels } from "./models.js";
import { openEngines } from "./views/engines.js";
import { openJobs } from "./views/jobs.js";
import { live } from "./views/live.js";
import { nameOf, work } from "./views/work.js";
import { openStart } from "./views/start.js";
import { openUsage } from "./views/usage.js";

const MODELS_EVERY = 15_000; // milliseconds

/** Ask for a key until the server takes it. */
function askForKey() {
  const dialog = byId("key-dialog");
  return new Promise((resolve) => {
    byId("key-form").onsubmit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      keepKey(byId("key").value.trim());
      try {
        await json("v1/models");
      } catch (error) {
        showFailure(byId("key-failure"), /** @type {Error} */ (error).message);
        byId("key").select();
        return;
      }
      dialog.close();
      byId("key").value = "";
      showFailure(byId("key-failure"));
      resolve(undefined);
    };
    if (!dialog.open) dialog.showModal();
  });
}

/** Load the models; ask for the key if the server wants one. */
async function connect() {
  try {
    await loadModels();
  } catch (error) {
    if (/** @type {any} */ (error).status !== 401) {
      showFailure(byId("failure"), /** @type {Error} */ (error).message);
      return;
    }
    await askForKey();
    await connect();
  }
  byId("change-key").hidden = !key();
  if (keepsJobs) jobs.look();
  byId("start-form").dispatchEvent(new Event("change")); // whether a key belongs into the lines
}

/**
 * Transcribe, and open the result. What fails is told on the start view.
 * @param {File | string} source
 * @param {import("./stream.js").Options} options
 * @param {string} [heard] what captions have said of it
 */
async function run(source, options, heard = "") {
  try {
    const title = typeof source === "string" ? nameOf(source) : source.name;
    openEditor(await work(source, options, heard), source, title);
  } catch (error) {
    showView("start");
    const { name, message, status } = /** @type {any} */ (error);
    if (status === 401) {
      await askForKey();
      await run(source, options, heard);
    } else if (name !== "AbortError") {
      showFailure(byId("failure"), message);
    }
  }
}

/**
 * Record the microphone, and transcribe what it heard.
 * @param {import("./stream.js").Options} options
 */
async function record(options) {
  try {
    const recorded = await live(options);
    if (!recorded) return showView("start");
    choose(recorded.recording); // it is still there if it cannot be transcribed now
    await run(recorded.recording, options, recorded.heard);
  } catch (error) {
    showView("start");
    showFailure(byId("failure"), /** @type {Error} */ (error).message);
  }
}

/**
 * Open a transcript that was saved.
 * @param {File} file
 */
async function reopen(file) {
  try {
    openEditor(fromJson(await file.text()), null, file.name);
  } catch (error) {
    showFailure(byId("failure"), `${file.name} is not a transcript. ${/** @type {Error} */ (error).message}`);
  }
}

byId("change-key").onclick = async () => {
  await askForKey();
  await connect();
};
byId("key-dialog").oncancel = (/** @type {Event} */ event) => key() || event.preventDefault();
const keepsJobs = document.body.dataset.jobs === "yes";
const jobs = openJobs(openEditor);
const choose = openStart(run, record, reopen, jobs.submit);
openUsage();
openEngines();
connect();
setInterval(() => !document.hidden && !byId("start").hidden && loadModels().catch(() => {}), MODELS_EVERY);
