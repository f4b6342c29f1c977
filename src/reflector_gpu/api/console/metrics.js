// The server's own figures, as Prometheus reads them.

import { text } from "./api.js";

const LINE = /^(\w+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/**
 * @typedef {object} Sample
 * @property {string} name
 * @property {Record<string, string>} labels
 * @property {number} value
 */

/** What the server counts and measures now. */
export async function readMetrics() {
  return new Metrics((await text("metrics")).split("\n").flatMap(sample));
}

export class Metrics {
  /** @param {Sample[]} samples */
  constructor(samples) {
    this.samples = samples;
  }

  /**
   * The sum of all series of a name that have these labels; null if there is none.
   * @param {string} name
   * @param {Record<string, string>} [labels]
   */
  sum(name, labels = {}) {
    const wanted = Object.entries(labels);
    const found = this.samples.filter(
      (one) => one.name === name && wanted.every(([label, value]) => one.labels[label] === value),
    );
    return found.length ? found.reduce((sum, one) => sum + one.value, 0) : null;
  }

  /**
   * What a label says in the series of a name.
   * @param {string} name
   * @param {string} label
   */
  values(name, label) {
    return [...new Set(this.samples.filter((one) => one.name === name).map((one) => one.labels[label]))];
  }
}

/**
 * @param {string} line
 * @returns {Sample[]} none for a comment
 */
function sample(line) {
  const found = LINE.exec(line);
  if (!found) return [];
  const labels = [...(found[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, unescaped(value)]);
  return [{ name: found[1], labels: Object.fromEntries(labels), value: Number(found[3]) }];
}

/** @param {string} value */
function unescaped(value) {
  return value.replace(/\\(.)/g, (_, letter) => (letter === "n" ? "\n" : letter));
}
