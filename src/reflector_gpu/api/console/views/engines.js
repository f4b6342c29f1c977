// What the server works on: its workers, what waits for them, and the models that they run.

import { byId, clock, element } from "../dom.js";
import { readMetrics } from "../metrics.js";
import { loadModels } from "../models.js";

const EVERY = 3000; // milliseconds between looks, while somebody looks
const NONE = "–";

/** Keep the figures up to date for as long as they are to be seen. */
export function openEngines() {
  const details = byId("engines");
  let timer = 0;
  const look = async () => {
    clearTimeout(timer);
    if (!details.open) return;
    if (!document.hidden && !byId("start").hidden) {
      await loadModels().catch(() => {}); // the next look may succeed
      await show();
    }
    timer = setTimeout(look, EVERY);
  };
  details.ontoggle = look;
}

async function show() {
  let metrics = null;
  try {
    metrics = await readMetrics();
  } catch {
    // This key may not see them, or the server is away: no figure is better than an old one.
  }
  const figures = metrics ? figuresOf(metrics) : [];
  byId("figures").hidden = !metrics;
  byId("figures").replaceChildren(
    ...figures.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
  for (const line of byId("model-rows").children) {
    const [workers, waiting] = line.querySelectorAll("[data-figure]");
    const model = line.dataset.model;
    workers.textContent = metrics && isLoaded(metrics, model) ? workersOf(metrics, [model]) : NONE;
    waiting.textContent = metrics?.sum("reflector_chunks_waiting", { model }) ?? NONE;
  }
}

/**
 * Whether a model has workers, or should have: one that nobody uses leaves the memory.
 * @param {import("../metrics.js").Metrics} metrics
 * @param {string} model
 */
function isLoaded(metrics, model) {
  const idle = metrics.sum("reflector_model_state", { model, state: "idle" });
  return metrics.sum("reflector_workers", { model }) !== null && !idle;
}

/**
 * How many workers of these models are ready, of how many.
 * @param {import("../metrics.js").Metrics} metrics
 * @param {string[]} models
 */
function workersOf(metrics, models) {
  const sum = (/** @type {string} */ name) =>
    models.reduce((all, model) => all + (metrics.sum(name, { model }) ?? 0), 0);
  return `${sum("reflector_workers_ready")} of ${sum("reflector_workers")}`;
}

/**
 * The figures of the whole server.
 * @param {import("../metrics.js").Metrics} metrics
 * @returns {[string, string][]}
 */
function figuresOf(metrics) {
  const sum = (/** @type {string} */ name, labels = {}) => metrics.sum(`reflector_${name}`, labels) ?? 0;
  const loaded = metrics.values("reflector_workers", "model").filter((model) => isLoaded(metrics, model));
  /** @type {[string, string][]} */
  const found = [
    ["Workers ready", workersOf(metrics, loaded)],
    ["Requests running", String(sum("requests_running"))],
    ["Audio still to do", clock(sum("backlog_seconds"))],
    ["Pieces waiting", String(sum("chunks_waiting"))],
  ];
  if (metrics.sum("reflector_jobs") !== null) {
    found.push(["Jobs waiting", String(sum("jobs", { status: "queued" }))]);
    found.push(["Jobs running", String(sum("jobs", { status: "running" }))]);
  }
  found.push(["Live sessions", String(sum("realtime_sessions"))]);
  const memory = sum("gpu_memory_bytes");
  if (memory) found.push(["GPU memory", `${gigabytes(sum("gpu_memory_used_bytes"))} of ${gigabytes(memory)} GB`]);
  return found;
}

/** @param {number} bytes */
function gigabytes(bytes) {
  return (bytes / 1e9).toFixed(1);
}
