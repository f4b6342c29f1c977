// Small helpers for elements.

/**
 * The element with this id, which the page has.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no #${id}`);
  return found;
}

/**
 * A new element. Functions among the properties listen to the event of that name; `style` sets
 * custom properties one by one, which a strict policy allows.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {(Node | string)[]} children
 * @returns {any}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (name === "style") for (const [key, to] of Object.entries(value)) made.style.setProperty(key, String(to));
    else if (name in made && name !== "list") /** @type {any} */ (made)[name] = value;
    else made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

/**
 * Show one view of the page, and put the focus where its content begins.
 * @param {string} id
 */
export function showView(id) {
  for (const section of document.querySelectorAll("main > section")) {
    section.toggleAttribute("hidden", section.id !== id);
  }
  byId("anew").hidden = id !== "result";
  byId("main").focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

/**
 * Show a failure in its box, or hide the box if there is none.
 * @param {HTMLElement} box
 * @param {string} [message]
 */
export function showFailure(box, message = "") {
  box.textContent = message;
  box.hidden = !message;
  if (message) box.scrollIntoView({ block: "nearest" });
}

/**
 * Seconds as people write them: 1:02:03.
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = String(rest).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/**
 * Have the browser save a file.
 * @param {string} body
 * @param {string} type
 * @param {string} name
 */
export function save(body, type, name) {
  const url = URL.createObjectURL(new Blob([body], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
