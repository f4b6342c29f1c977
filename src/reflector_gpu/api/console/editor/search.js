// Search and replace.

import { byId } from "../dom.js";
import { textOf } from "../transcript.js";
import { edited } from "../words.js";

/**
 * @typedef {import("./marks.js").Match} Match
 */

/**
 * @param {import("./session.js").Session} session
 * @param {import("./marks.js").Marks} marks
 * @param {import("./rows.js").Rows} rows
 */
export function openSearch(session, marks, rows) {
  const [query, other, count] = ["query", "replacement", "matches"].map(byId);
  /** @type {Match[]} */
  let matches = [];
  let current = 0;
  let done = ""; // what the last change has replaced, until somebody searches again

  const look = () => {
    matches = matchesOf(session.transcript.rows, query.value);
    current = Math.min(current, Math.max(0, matches.length - 1));
    show();
  };
  const show = () => {
    marks.find(matches, matches[current]);
    const found = matches.length ? `${current + 1} of ${matches.length}` : "Not found";
    count.textContent = done || (query.value && found);
    for (const id of ["next", "previous", "replace", "replace-all"]) byId(id).disabled = !matches.length;
  };
  const go = (/** @type {number} */ step) => {
    if (!matches.length) return;
    done = "";
    current = (current + step + matches.length) % matches.length;
    rows.reveal(matches[current].id);
    show();
  };

  const button = byId("open-search");
  button.onclick = () => openPanel(byId("search-panel").hidden);
  openPanel(false);
  query.oninput = () => {
    done = "";
    current = 0;
    look();
    if (matches.length) rows.reveal(matches[0].id);
  };
  query.onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
  };
  byId("search-panel").onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    openPanel(false);
    button.focus();
  };
  byId("next").onclick = () => go(1);
  byId("previous").onclick = () => go(-1);
  const replaceThose = (/** @type {Match[]} */ chosen) => {
    replace(session, chosen, other.value);
    done = `${chosen.length} replaced`;
    show();
    if (matches.length) rows.reveal(matches[current].id);
    else query.focus(); // the buttons cannot be used now, and lose the focus
  };
  byId("replace").onclick = () => replaceThose([matches[current]]);
  byId("replace-all").onclick = () => replaceThose(matches);
  session.onChange(() => {
    done = "";
    look();
  });
  look();
}

/**
 * Show the fields, or hide them and forget what was searched for.
 * @param {boolean} open
 */
export function openPanel(open) {
  const query = byId("query");
  byId("search-panel").hidden = !open;
  byId("open-search").setAttribute("aria-expanded", String(open));
  if (open) query.focus();
  else if (query.value) {
    query.value = "";
    query.dispatchEvent(new Event("input"));
  }
}

/**
 * Where the query stands, however it is written.
 * @param {readonly import("../transcript.js").Row[]} rows
 * @param {string} query
 * @returns {Match[]}
 */
function matchesOf(rows, query) {
  if (!query) return [];
  const pattern = new RegExp(query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "giu");
  return rows.flatMap((row) =>
    [...textOf(row).matchAll(pattern)].map((match) => ({
      id: row.id,
      begin: match.index,
      end: match.index + match[0].length,
    })),
  );
}

/**
 * Write something else in place of the matches, in one step of the history.
 * @param {import("./session.js").Session} session
 * @param {Match[]} matches
 * @param {string} text
 */
function replace(session, matches, text) {
  /** @type {Map<number, Match[]>} */
  const byRow = new Map();
  for (const match of matches) byRow.set(match.id, [...(byRow.get(match.id) ?? []), match]);
  const rows = session.transcript.rows.map((row) =>
    (byRow.get(row.id) ?? []).reduceRight((one, { begin, end }) => {
      const before = textOf(one);
      return edited(one, before.slice(0, begin) + text + before.slice(end));
    }, row),
  );
  session.change({ ...session.transcript, rows });
}
