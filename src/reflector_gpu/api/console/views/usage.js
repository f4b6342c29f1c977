// What the key has used, day by day.

import { json } from "../api.js";
import { byId, clock, element, showFailure } from "../dom.js";

/** Fill the table whenever somebody opens it. */
export function openUsage() {
  const usage = byId("usage");
  usage.hidden = document.body.dataset.jobs !== "yes";
  usage.ontoggle = () => usage.open && load();
}

async function load() {
  try {
    const { data } = await json("v1/usage");
    const lines = data.map((/** @type {any} */ { date, requests, audio_seconds: audio }) =>
      element("tr", {}, element("th", { scope: "row" }, date), element("td", {}, requests.toLocaleString()), element("td", {}, clock(audio))),
    );
    byId("usage-rows").replaceChildren(...lines.reverse());
    byId("usage-table").hidden = !data.length;
    byId("no-usage").hidden = Boolean(data.length);
    showFailure(byId("usage-failure"));
  } catch (error) {
    showFailure(byId("usage-failure"), /** @type {Error} */ (error).message);
  }
}
