// The list of jobs: how far each is, and what can be done with it.

import { address, authorization, json, text, told } from "../api.js";
import { byId, clock, element, save, showFailure } from "../dom.js";
import { fromJson } from "../formats.js";
import { ended, submit } from "../jobs.js";
import { nameOf } from "./work.js";

const EVERY = 2000; // milliseconds between looks, while a job is worked on
const PAGE = 8;
const RESULT = "format=verbose_json&timestamp_granularities=word&timestamp_granularities=segment";

/**
 * @typedef {{item: HTMLElement, state: HTMLElement, progress: HTMLProgressElement, open: HTMLElement, save: HTMLElement, cancel: HTMLElement, remove: HTMLElement}} Shown
 * @typedef {(transcript: import("../transcript.js").Transcript, source: File | string | null, title: string) => void} OpenEditor
 */

/**
 * @param {OpenEditor} openEditor
 * @returns {{look: () => Promise<void>, submit: (source: File | string, options: import("../stream.js").Options) => Promise<void>}}
 */
export function openJobs(openEditor) {
  const list = new JobList(openEditor);
  byId("more-jobs").onclick = () => list.more();
  return { look: () => list.look(), submit: (source, options) => list.submit(source, options) };
}

class JobList {
  /** @type {Map<string, Shown>} */
  #shown = new Map();
  /** @type {Map<string, File | string>} the recordings that were submitted here, to play them */
  #sources = new Map();
  #limit = PAGE;
  #timer = 0;

  /** @param {OpenEditor} openEditor */
  constructor(openEditor) {
    this.openEditor = openEditor;
  }

  more() {
    this.#limit += PAGE;
    return this.look();
  }

  /** Bring the list up to date, and again for as long as a job is worked on. */
  async look() {
    clearTimeout(this.#timer);
    let working = true; // what fails now may pass
    if (!document.hidden && !byId("start").hidden) {
      try {
        const { data, has_more: more } = await json(`v1/jobs?limit=${this.#limit}`);
        this.#show(data);
        byId("later").hidden = false;
        byId("more-jobs").hidden = !more;
        showFailure(byId("jobs-failure"));
        working = data.some((/** @type {any} */ job) => !ended(job));
      } catch (error) {
        const { message, status } = /** @type {any} */ (error);
        if (status === 401) return; // the key is asked for
        if (status === 403) return this.#close();
        showFailure(byId("jobs-failure"), message);
      }
    }
    clearTimeout(this.#timer);
    if (working) this.#timer = setTimeout(() => this.look(), EVERY);
  }

  /**
   * @param {File | string} source
   * @param {import("../stream.js").Options} options
   */
  async submit(source, options) {
    const name = typeof source === "string" ? nameOf(source) : source.name;
    const waiting = this.#made(name, "");
    byId("jobs").hidden = false;
    byId("job-rows").prepend(waiting.item);
    try {
      const job = await submit(source, options, (share) => {
        waiting.state.textContent = share < 1 ? "Sending" : "Handing over";
        waiting.progress.value = share;
      });
      this.#sources.set(job.id, source);
    } finally {
      waiting.item.remove();
      byId("jobs").hidden = !this.#shown.size;
    }
    await this.look();
  }

  /** Offer no jobs: the key is not for them. */
  #close() {
    this.#show([]);
    byId("later").hidden = true;
  }

  /** @param {any[]} jobs */
  #show(jobs) {
    const rows = byId("job-rows");
    byId("jobs").hidden = !jobs.length;
    const ids = new Set(jobs.map((job) => job.id));
    for (const [id, { item }] of this.#shown) {
      if (ids.has(id)) continue;
      item.remove();
      this.#shown.delete(id);
    }
    /** @type {HTMLElement | null} */
    let last = null;
    for (const job of jobs) {
      const shown = this.#shown.get(job.id) ?? this.#made(job.filename || job.id, job.id);
      this.#shown.set(job.id, shown);
      if (!shown.item.parentElement) last ? last.after(shown.item) : rows.prepend(shown.item);
      last = shown.item;
      update(shown, job);
    }
  }

  /**
   * @param {string} name
   * @param {string} id
   * @returns {Shown}
   */
  #made(name, id) {
    const button = (/** @type {string} */ text, /** @type {() => Promise<void>} */ does) =>
      element("button", { type: "button", className: "quiet", "aria-label": `${text} ${name}`, hidden: true, click: () => tried(does) }, text);
    const state = element("span", { className: "state" });
    const progress = element("progress", { max: 1, value: 0, "aria-label": `Progress of ${name}` });
    const open = button("Open", () => this.#open(id, name));
    const save = button("Save", () => saveTurns(id, name));
    const cancel = button("Cancel", () => this.#cancel(id));
    const remove = button("Remove", () => this.#remove(id, name));
    const head = element("p", { className: "job-line" }, element("b", {}, name), state, element("span", {}, open, save, cancel, remove));
    const item = element("li", {}, head, progress);
    item.dataset.job = id;
    return { item, state, progress, open, save, cancel, remove };
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  async #open(id, name) {
    const result = await text(`v1/jobs/${id}/result?${RESULT}&partial=true`); // the list says how far it came
    this.openEditor(fromJson(result), this.#sources.get(id) ?? null, name);
  }

  /** @param {string} id */
  async #cancel(id) {
    await json(`v1/jobs/${id}/cancel`, {});
    await this.look();
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  async #remove(id, name) {
    const kept = this.#shown.get(id)?.item.dataset.status === "completed";
    if (kept && !confirm(`Remove the result of ${name} from the server? Nobody can open it again.`)) return;
    const answer = await fetch(address(`v1/jobs/${id}`), { method: "DELETE", headers: authorization() });
    if (!answer.ok) throw told(answer.status, await answer.text());
    await this.look();
  }
}

/**
 * Save who speaks when, which has no words for the editor.
 * @param {string} id
 * @param {string} name
 */
async function saveTurns(id, name) {
  save(await text(`v1/jobs/${id}/result?format=rttm`), "text/plain", `${name.replace(/\.\w{1,5}$/, "")}.rttm`);
}

/**
 * Do what a button says; what fails is told in the list.
 * @param {() => Promise<void>} does
 */
async function tried(does) {
  showFailure(byId("jobs-failure"));
  try {
    await does();
  } catch (error) {
    showFailure(byId("jobs-failure"), /** @type {Error} */ (error).message);
  }
}

/**
 * @param {Shown} shown
 * @param {any} job
 */
function update({ item, state, progress, open, save, cancel, remove }, job) {
  const said = job.kind === "diarization" ? `Speakers only: ${stateOf(job)}` : stateOf(job);
  if (state.textContent !== said) state.textContent = said;
  item.dataset.status = job.status;
  const completed = job.status === "completed";
  open.hidden = !ended(job) || job.kind === "diarization" || !(completed || job.progress.audio_seconds);
  save.hidden = !completed || job.kind !== "diarization";
  cancel.hidden = ended(job);
  remove.hidden = !ended(job);
  progress.hidden = ended(job);
  if (job.progress.percent === null) progress.removeAttribute("value");
  else progress.value = job.progress.percent / 100;
}

/**
 * How a job is, in words.
 * @param {any} job
 */
function stateOf({ status, error, progress, finished_at: finished }) {
  const { percent, seconds_left: left, duration } = progress;
  if (status === "queued") return "Waiting";
  if (status === "running") {
    const rest = left === null ? "" : `, about ${clock(left)} left`;
    return percent === null ? "Starting" : `${Math.floor(percent)} %${rest}`;
  }
  if (status === "failed") return error?.message ?? "Failed";
  if (status === "cancelled") return percent ? `Cancelled at ${Math.floor(percent)} %` : "Cancelled";
  const when = new Date(finished * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return duration === null ? when : `${clock(duration)}, ${when}`;
}
