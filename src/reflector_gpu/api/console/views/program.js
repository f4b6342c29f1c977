// The part of the start that shows the same request as a program's lines.

import { byId } from "../dom.js";
import { LANGUAGES } from "../snippets.js";

/**
 * @param {() => import("../snippets.js").Wish} wish what the form says
 * @returns {() => void} brings the lines up to date
 */
export function openProgram(wish) {
  let language = "curl";
  const show = () => {
    byId("lines").textContent = LANGUAGES[language](wish());
    for (const name of Object.keys(LANGUAGES)) byId(`in-${name}`).setAttribute("aria-pressed", String(name === language));
  };
  for (const name of Object.keys(LANGUAGES)) {
    byId(`in-${name}`).onclick = () => {
      language = name;
      show();
    };
  }
  byId("copy").hidden = !navigator.clipboard; // browsers give it to pages behind https alone
  byId("copy").onclick = async () => {
    await navigator.clipboard.writeText(byId("lines").textContent);
    byId("copied").textContent = "Copied";
    setTimeout(() => (byId("copied").textContent = ""), 2000);
  };
  byId("start-form").addEventListener("change", show);
  byId("start-form").addEventListener("input", show);
  show();
  return show;
}
