// Who speaks: their names, which can be changed, and whose a row is.

import { byId, element } from "../dom.js";

/**
 * Show the speakers in `panel`, and keep it up to date.
 * @param {HTMLElement} panel
 * @param {import("./session.js").Session} session
 */
export function openSpeakers(panel, session) {
  const note = element("p", { className: "hint", role: "status" });
  const render = () => {
    const { names } = session.transcript;
    const voices = Object.keys(names);
    if (panel.querySelectorAll("input").length !== voices.length) {
      panel.replaceChildren(...voices.map((voice, index) => field(session, voice, index)), adder(session), note);
    }
    panel.querySelectorAll("input").forEach((input, index) => {
      const name = names[voices[index]];
      input.placeholder = name;
      if (input.value !== name && input !== document.activeElement) input.value = name;
    });
    const all = Object.values(names);
    const twice = all.find((name, index) => all.indexOf(name) < index);
    note.textContent = twice === undefined ? "" : `Two speakers are called ${twice}.`;
  };
  session.onChange(render);
  render();
}

/**
 * The field of a name. A speaker whose name is deleted keeps the one from before.
 * @param {import("./session.js").Session} session
 * @param {string} voice
 * @param {number} index
 */
function field(session, voice, index) {
  let before = "";
  const current = () => session.transcript.names[voice];
  const rename = () => {
    const name = input.value.trim() || before;
    const { transcript } = session;
    if (name === current()) return;
    session.change({ ...transcript, names: { ...transcript.names, [voice]: name } }, `name ${voice}`);
  };
  const input = element("input", {
    "aria-label": `Name of speaker ${index + 1}`,
    focus: () => (before = current()),
    input: rename,
    blur: () => (input.value = current() ?? ""),
    size: 12,
    autocomplete: "off",
  });
  const made = element("div", { className: "voice" }, input);
  made.dataset.voice = String(index % 8);
  return made;
}

/** @param {import("./session.js").Session} session */
function adder(session) {
  return element("button", { type: "button", className: "quiet", click: () => add(session) }, "Add a speaker");
}

/**
 * Add a speaker, to whom a row may be given at once.
 * @param {import("./session.js").Session} session
 * @param {number} [id]
 */
function add(session, id) {
  const { rows, names } = session.transcript;
  let number = Object.keys(names).length + 1;
  while (`new ${number}` in names || Object.values(names).includes(`Speaker ${number}`)) number += 1;
  const voice = `new ${number}`;
  session.change({
    ...session.transcript,
    names: { ...names, [voice]: `Speaker ${number}` },
    rows: rows.map((row) => (row.id === id ? { ...row, speaker: voice } : row)),
  });
}

/**
 * Let somebody choose whose a row is.
 * @param {import("./session.js").Session} session
 * @param {import("../transcript.js").Row} row
 * @param {HTMLElement} button where the menu opens
 */
export function chooseSpeaker(session, row, button) {
  const menu = byId("speaker-menu");
  const { names } = session.transcript;
  const pick = (/** @type {() => void} */ act) => () => {
    menu.hidePopover();
    act();
    button.focus();
  };
  const choices = Object.keys(names).map((voice, index) => {
    const chosen = pick(() => session.replace(row.id, 1, [{ ...row, speaker: voice }]));
    const made = element("button", { type: "button", className: "quiet", click: chosen }, names[voice] || "—");
    made.dataset.voice = String(index % 8);
    if (voice === row.speaker) made.setAttribute("aria-current", "true");
    return made;
  });
  const another = pick(() => add(session, row.id));
  menu.replaceChildren(...choices, element("button", { type: "button", className: "quiet", click: another }, "Somebody else"));
  menu.showPopover();
  const box = button.getBoundingClientRect();
  menu.style.left = `${Math.min(box.left, innerWidth - menu.offsetWidth - 8)}px`;
  menu.style.top = `${Math.min(box.bottom + 4, innerHeight - menu.offsetHeight - 8)}px`;
  menu.querySelector("button")?.focus();
}
