// The editor of a transcript.

import { byId, save, showView } from "../dom.js";
import { FORMATS, inTranslation } from "../formats.js";
import { Marks } from "./marks.js";
import { Player } from "./player.js";
import { Rows } from "./rows.js";
import { openPanel, openSearch } from "./search.js";
import { Session } from "./session.js";
import { chooseSpeaker, openSpeakers } from "./speakers.js";

/** @type {Session | undefined} what is open */
let open;

/**
 * @param {import("../transcript.js").Transcript} transcript
 * @param {File | string | null} source the recording, if it is there
 * @param {string} title
 */
export function openEditor(transcript, source, title) {
  const session = new Session(transcript);
  const marks = new Marks();
  const player = new Player(source, transcript.duration);
  open = session;
  byId("result-title").textContent = title;
  byId("nothing").hidden = transcript.rows.length > 0;
  byId("rows").replaceChildren();
  byId("rows").classList.toggle("translated", Boolean(transcript.translatedTo));
  byId("which").hidden = !transcript.translatedTo;
  byId("which").value = "text";
  const rows = new Rows(byId("rows"), session, marks, player, (row, button) => chooseSpeaker(session, row, button));
  openSpeakers(byId("voices"), session);
  openSearch(session, marks, rows);
  openHistory(session);
  openDownloads(session, title);
  openKeys(session, player);
  lightWhatIsHeard(session, marks, rows, player);
  byId("recording").onchange = () => player.load(byId("recording").files[0] ?? null);
  byId("attach").onclick = () => byId("recording").click();
  showView("result");
}

/** @param {Session} session */
function openHistory(session) {
  const [undo, redo] = ["undo", "redo"].map(byId);
  const show = () => {
    undo.disabled = !session.canUndo;
    redo.disabled = !session.canRedo;
  };
  undo.onclick = () => session.undo();
  redo.onclick = () => session.redo();
  session.onChange(show);
  show();
}

/**
 * @param {Session} session
 * @param {string} title
 */
function openDownloads(session, title) {
  const name = title.replace(/\.\w{1,5}$/, "") || "transcript";
  for (const [ending, { type, write }] of Object.entries(FORMATS)) {
    byId(`save-${ending}`).onclick = () => {
      const translated = ending !== "json" && byId("which").value === "translation";
      const body = write(translated ? inTranslation(session.transcript) : session.transcript);
      save(body, type, `${name}${translated ? `.${session.transcript.translatedTo}` : ""}.${ending}`);
      session.saved = session.transcript;
    };
  }
}

/**
 * @param {Session} session
 * @param {Player} player
 */
function openKeys(session, player) {
  document.onkeydown = (event) => {
    if (byId("result").hidden || event.defaultPrevented) return;
    const command = event.ctrlKey || event.metaKey;
    const target = /** @type {HTMLElement} */ (event.target);
    const letter = command && !event.altKey ? event.key.toLowerCase() : "";
    if (target.matches("input") && letter !== "f" && event.key !== "Escape") return; // fields have their own
    if (letter === "f") openPanel(true);
    else if (letter === "z" && event.shiftKey) session.redo();
    else if (letter === "z") session.undo();
    else if (letter === "y") session.redo();
    else if (event.key === "Escape" && !target.closest("[popover]")) player.toggle();
    else return;
    event.preventDefault();
  };
}

/**
 * Light the word that is heard, and keep it in view while the recording plays.
 * @param {Session} session
 * @param {Marks} marks
 * @param {Rows} rows
 * @param {Player} player
 */
function lightWhatIsHeard(session, marks, rows, player) {
  let last = -1;
  player.onTime((seconds) => {
    const all = session.transcript.rows;
    const row = all[lastBefore(all, seconds)];
    if (!row) return marks.light(-1, 0);
    marks.light(row.id, lastBefore(row.words, seconds));
    if (row.id !== last && !player.audio.paused && byId("follow").checked) rows.reveal(row.id);
    last = row.id;
  });
}

/**
 * The index of the last that has begun by then; -1 if none has.
 * @param {readonly {start: number}[]} sorted
 * @param {number} seconds
 */
function lastBefore(sorted, seconds) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle].start <= seconds + 0.005) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

window.addEventListener("beforeunload", (event) => {
  if (open && open.transcript !== open.saved) event.preventDefault();
});
