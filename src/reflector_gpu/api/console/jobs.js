// Jobs: work that the server goes on with when the page is closed.

import { ApiError, address, authorization, told, unreachable } from "./api.js";
import { fields } from "./stream.js";

/**
 * Submit a recording to be transcribed.
 * @param {File | string} source
 * @param {import("./stream.js").Options} options
 * @param {(share: number) => void} sent hears how much of it has arrived, up to 1
 * @returns {Promise<any>} the job
 */
export function submit(source, options, sent) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields(options))) form.append(name, value);
  if (typeof source === "string") form.append("audio_file_url", source);
  else form.append("file", source, source.name);
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", address("v1/jobs"));
    for (const [name, value] of Object.entries(authorization())) call.setRequestHeader(name, value);
    call.upload.onprogress = (event) => sent(event.total ? event.loaded / event.total : 0);
    call.onerror = () => reject(unreachable());
    call.onabort = () => reject(new ApiError(0, "The upload was cut off."));
    call.onload = () => {
      if (call.status < 300) resolve(JSON.parse(call.responseText));
      else reject(told(call.status, call.responseText, call.getResponseHeader("Retry-After")));
    };
    call.send(form);
  });
}

/** @param {any} job */
export function ended(job) {
  return ["completed", "failed", "cancelled"].includes(job.status);
}
