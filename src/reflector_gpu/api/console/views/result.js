// The result: the transcript.

import { byId, clock, element, showView } from "../dom.js";
import { textOf } from "../transcript.js";
import { nameOf } from "./work.js";

/**
 * @param {import("../transcript.js").Transcript} transcript
 * @param {File | string} source
 */
export function openResult(transcript, source) {
  const title = typeof source === "string" ? nameOf(source) : source.name;
  const rows = transcript.rows.map((row) =>
    element(
      "li",
      { className: "row" },
      element("span", { className: "time" }, clock(row.start)),
      element("p", { className: "text" }, row.speaker ? `${transcript.names[row.speaker]}: ` : "", textOf(row)),
    ),
  );
  const list = element("ol", { className: "rows" }, ...rows);
  const nothing = element("p", { className: "lead" }, "Nobody was heard to speak.");
  byId("result").replaceChildren(element("h1", { id: "result-title" }, title), rows.length ? list : nothing);
  showView("result");
}
