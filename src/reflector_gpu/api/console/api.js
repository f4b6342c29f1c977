// The server's API: where it is, the key for it, and its errors.

const KEY = "reflector-key";

/** An error that the server told, or that kept us from reaching it. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The key in this tab; empty if there is none. */
export function key() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** @param {string} value */
export function keepKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

/**
 * The address of a route, also under a proxy's own path.
 * @param {string} route
 */
export function address(route) {
  return new URL(route, document.baseURI);
}

/** @returns {Record<string, string>} */
export function authorization() {
  return key() ? { Authorization: `Bearer ${key()}` } : {};
}

/**
 * What the server says in the body of an error.
 * @param {number} status
 * @param {string} body
 * @param {string | null} [retryAfter]
 */
export function told(status, body, retryAfter = null) {
  let message = "";
  try {
    message = JSON.parse(body).error.message;
  } catch {
    message = `The server answered with status ${status}.`;
  }
  if (retryAfter) message += ` Try again in ${retryAfter} s.`;
  return new ApiError(status, message);
}

export function unreachable() {
  return new ApiError(0, "The server cannot be reached. Is it still running?");
}

/**
 * The JSON that a route answers.
 * @param {string} route
 * @param {object} [body] sent by POST, if given
 * @returns {Promise<any>}
 */
export async function json(route, body) {
  return JSON.parse(await text(route, body));
}

/**
 * The text that a route answers.
 * @param {string} route
 * @param {object} [body] sent by POST, if given
 */
export async function text(route, body) {
  const sent = body && { method: "POST", body: JSON.stringify(body) };
  const headers = { ...authorization(), ...(body && { "Content-Type": "application/json" }) };
  let answer;
  try {
    answer = await fetch(address(route), { ...sent, headers });
  } catch {
    throw unreachable();
  }
  const said = await answer.text();
  if (!answer.ok) throw told(answer.status, said, answer.headers.get("Retry-After"));
  return said;
}
