// A transcription as it is told: server-sent events, and how much of the upload has arrived.

import { ApiError, address, authorization, told, unreachable } from "./api.js";

/**
 * @typedef {object} Options
 * @property {string} model
 * @property {string} language
 * @property {string} speakers `""`: not told apart; `"auto"`, or how many there are
 * @property {string} translation the language to translate to, or empty
 *
 * @typedef {object} Listener
 * @property {(share: number) => void} sent how much of the file has arrived, up to 1
 * @property {(event: any) => void} event an event of the stream
 */

/**
 * The fields that say these options to the server.
 * @param {Options} options
 * @returns {Record<string, string>}
 */
export function fields(options) {
  /** @type {Record<string, string>} */
  const found = { response_format: options.speakers ? "diarized_json" : "json" };
  if (options.model) found.model = options.model;
  if (options.language) found.language = options.language;
  if (Number(options.speakers)) found.num_speakers = options.speakers;
  if (options.translation) found.translate_to = options.translation;
  return found;
}

/**
 * Transcribe a file, or the recording at an address.
 * @param {File | string} source
 * @param {Options} options
 * @param {Listener} listener
 * @param {AbortSignal} signal
 * @returns {Promise<string>} the name of the model that answered
 */
export function transcribe(source, options, listener, signal) {
  const all = { ...fields(options), stream: "true" };
  if (typeof source === "string") {
    const body = JSON.stringify({ audio_file_url: source, ...all });
    return request("v1/audio/transcriptions-from-url", body, "application/json", listener, signal);
  }
  const form = new FormData();
  for (const [name, value] of Object.entries(all)) form.append(name, value);
  form.append("file", source, source.name);
  return request("v1/audio/transcriptions", form, "", listener, signal);
}

/**
 * XMLHttpRequest tells how much has been sent, which fetch does not.
 * @param {string} route
 * @param {FormData | string} body
 * @param {string} type
 * @param {Listener} listener
 * @param {AbortSignal} signal
 * @returns {Promise<string>}
 */
function request(route, body, type, listener, signal) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    const read = reader((event) => {
      if (event.error) {
        reject(new ApiError(call.status, event.error.message));
        call.abort();
      } else {
        listener.event(event);
      }
    });
    call.open("POST", address(route));
    for (const [name, value] of Object.entries(authorization())) call.setRequestHeader(name, value);
    if (type) call.setRequestHeader("Content-Type", type);
    call.upload.onprogress = (event) => listener.sent(event.total ? event.loaded / event.total : 0);
    call.upload.onload = () => listener.sent(1);
    call.onprogress = () => call.status === 200 && read(call.responseText);
    call.onerror = () => reject(unreachable());
    call.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
    call.onload = () => {
      if (call.status !== 200) {
        reject(told(call.status, call.responseText, call.getResponseHeader("Retry-After")));
      } else if (read(call.responseText)) {
        resolve(call.getResponseHeader("X-Reflector-Model") ?? "");
      } else {
        reject(new ApiError(200, "The connection ended before the transcript did."));
      }
    };
    signal.addEventListener("abort", () => call.abort());
    call.send(body);
  });
}

/**
 * A function that takes the text so far and hands on the events that are new in it. It tells
 * whether the last one has come.
 * @param {(event: any) => void} handle
 * @returns {(text: string) => boolean}
 */
export function reader(handle) {
  let position = 0;
  let over = false;
  return (text) => {
    for (let end; (end = text.indexOf("\n\n", position)) >= 0; position = end + 2) {
      const block = text.slice(position, end);
      const data = block.split("\n").filter((line) => line.startsWith("data: "));
      const joined = data.map((line) => line.slice(6)).join("\n");
      if (joined === "[DONE]") over = true;
      else if (joined) handle(JSON.parse(joined));
    }
    return over;
  };
}
