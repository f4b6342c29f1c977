// The models of the server: what the form offers, and what the page's head says of them.

import { json } from "./api.js";
import { byId, element } from "./dom.js";

const STATES = {
  ready: "ready",
  idle: "on demand",
  loading: "loading",
  downloading: "downloading",
  failed: "failed",
  "not loaded": "on demand",
};

/** The alias of what the default is anyway, and the recogniser that hears nothing. */
const UNOFFERED = ["whisper-1", "scripted"];

/** Languages of Whisper's for which Chromium has no name. */
const UNNAMED = { ba: "Bashkir", bo: "Tibetan" };

/** @type {any[]} */
let recognisers = [];
let targetsAsked = false;

/** Ask for the models, and fill the form with them. */
export async function loadModels() {
  const { data } = await json("v1/models");
  recognisers = data.filter((/** @type {any} */ card) => card.type === "recogniser");
  offerModels();
  offerLanguages();
  const translators = data.some((/** @type {any} */ card) => card.type === "translator" && card.state !== "failed");
  if (translators && !targetsAsked) await offerTranslations();
  showState();
  showLines(data.filter((/** @type {any} */ { means }) => !means));
}

/** Offer the models. A list that somebody chooses from is left alone, unless it has changed. */
function offerModels() {
  const select = byId("model");
  const cards = recognisers.filter((card) => card.default || !UNOFFERED.includes(card.id));
  cards.sort((one, other) => one.id.localeCompare(other.id)); // their order follows their states
  const known = [...select.options].slice(1).map((option) => option.value);
  if (known.join() === cards.map((card) => card.id).join()) return;
  const chosen = select.value;
  const options = cards.map((card) => element("option", { value: card.id, title: card.description }, card.id));
  select.replaceChildren(select.options[0], ...options);
  select.value = cards.some((card) => card.id === chosen) ? chosen : "";
  select.onchange = offerLanguages;
}

/**
 * Show the models as lines of a table. What `views/engines.js` knows of one stays in its line.
 * @param {any[]} cards
 */
function showLines(cards) {
  const table = byId("model-rows");
  const known = new Map([...table.children].map((line) => [line.dataset.model, line]));
  const lines = cards.map((card) => known.get(card.id) ?? line(card));
  lines.forEach((one, place) => (one.querySelector(".state").textContent = stateOf(cards[place].state)));
  table.replaceChildren(...lines);
}

/** @param {any} card */
function line({ id, description, licence }) {
  const name = element("th", { scope: "row" }, id, element("small", {}, `${description}. ${licence}`));
  const figures = ["workers", "waiting"].map((figure) => element("td", { "data-figure": figure }, "–"));
  const made = element("tr", {}, name, element("td", { className: "state" }), ...figures);
  made.dataset.model = id;
  return made;
}

/** @param {string} state */
function stateOf(state) {
  return /** @type {Record<string, string>} */ (STATES)[state] ?? state;
}

/** Offer the languages that the chosen model knows. */
function offerLanguages() {
  const select = byId("language");
  const chosen = select.value;
  const model = recognisers.find((card) => card.id === byId("model").value);
  const codes = model ? model.languages : recognisers.flatMap((card) => card.languages);
  offer(select, codes, chosen);
}

/** Offer the languages that a transcript can be translated to, of which there may be hundreds. */
async function offerTranslations() {
  targetsAsked = true;
  try {
    const { data } = await json("v1/translation/languages");
    const select = byId("translation");
    offer(select, data.flatMap((/** @type {any} */ card) => card.targets), select.value);
    byId("translate").hidden = select.options.length < 2;
  } catch {
    targetsAsked = false; // the next look at the models may find a translator that works
  }
}

/**
 * Fill a list with languages, below what it offers first.
 * @param {HTMLSelectElement} select
 * @param {string[]} codes
 * @param {string} chosen
 */
function offer(select, codes, chosen) {
  const names = new Intl.DisplayNames(["en"], { type: "language" });
  const known = [...new Set(codes)].map((code) => ({ code, name: nameOf(names, code) }));
  known.sort((one, other) => one.name.localeCompare(other.name));
  const shown = [...select.options].slice(1).map((option) => option.value);
  if (shown.join() === known.map(({ code }) => code).join()) return;
  select.replaceChildren(
    select.options[0],
    ...known.map(({ code, name }) => element("option", { value: code }, name)),
  );
  select.value = known.some(({ code }) => code === chosen) ? chosen : "";
}

/**
 * @param {Intl.DisplayNames} names
 * @param {string} code
 */
function nameOf(names, code) {
  try {
    const name = names.of(code) ?? code;
    return name === code ? (UNNAMED[/** @type {keyof typeof UNNAMED} */ (code)] ?? code) : name;
  } catch {
    return code;
  }
}

/** Say which model answers if none is chosen, and how it is. */
function showState() {
  const model = recognisers.find((card) => card.default);
  const line = byId("engine");
  if (!model) {
    delete line.dataset.state;
    line.title = "";
    line.textContent = recognisers.length ? "Default model not installed" : "No model to recognise speech";
    return;
  }
  line.dataset.state = model.state;
  line.title = model.description;
  line.replaceChildren(element("b", {}, model.id), ` ${stateOf(model.state)}`);
}
