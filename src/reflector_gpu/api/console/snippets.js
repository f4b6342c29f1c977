// The lines that do from a program what the form does.

import { address, key } from "./api.js";
import { fields } from "./stream.js";

/**
 * @typedef {object} Wish
 * @property {string} file its name, if it is a file
 * @property {string} url
 * @property {import("./stream.js").Options} options
 */

/** @type {Record<string, (wish: Wish) => string>} */
export const LANGUAGES = { curl, python, javascript };

/** @param {Wish} wish */
function curl({ file, url, options }) {
  const authorization = key() ? ` \\\n  -H "Authorization: Bearer YOUR-KEY"` : "";
  if (url) {
    const body = JSON.stringify({ audio_file_url: url, ...fields(options) });
    const type = ` \\\n  -H "Content-Type: application/json"`;
    return `curl ${address("v1/audio/transcriptions-from-url")}${authorization}${type} \\\n  -d ${quoted(body)}`;
  }
  const all = Object.entries(fields(options)).map(([name, value]) => ` \\\n  -F ${name}=${value}`);
  return `curl ${address("v1/audio/transcriptions")}${authorization} \\\n  -F file=@${quoted(file)}${all.join("")}`;
}

/** @param {Wish} wish */
function python({ file, url, options }) {
  if (url) {
    return `import httpx

answer = httpx.post(
    "${address("v1/audio/transcriptions-from-url")}",
${key() ? '    headers={"Authorization": "Bearer YOUR-KEY"},\n' : ""}    json=${JSON.stringify({ audio_file_url: url, ...fields(options) })},
    timeout=None,
)
print(answer.json()["text"])`;
  }
  const { model, known, beyond } = sorted(options);
  const named = Object.entries({ model, ...known }).map(([name, value]) => `        ${name}=${JSON.stringify(value)},\n`);
  const extra = Object.keys(beyond).length ? `        extra_body=${JSON.stringify(beyond)},\n` : "";
  return `from openai import OpenAI

client = OpenAI(base_url="${address("v1")}", api_key="${key() ? "YOUR-KEY" : "none"}")
with open(${JSON.stringify(file)}, "rb") as audio:
    transcript = client.audio.transcriptions.create(
        file=audio,
${named.join("")}${extra}    )
print(transcript.text)`;
}

/** @param {Wish} wish */
function javascript({ file, url, options }) {
  if (url) {
    const authorization = key() ? `Authorization: "Bearer YOUR-KEY", ` : "";
    return `const answer = await fetch("${address("v1/audio/transcriptions-from-url")}", {
  method: "POST",
  headers: { ${authorization}"Content-Type": "application/json" },
  body: JSON.stringify(${JSON.stringify({ audio_file_url: url, ...fields(options) })}),
});
console.log((await answer.json()).text);`;
  }
  const { model, known, beyond } = sorted(options);
  const named = Object.entries({ model, ...known, ...beyond }).map(([name, value]) => `  ${name}: ${JSON.stringify(value)},\n`);
  return `import { createReadStream } from "node:fs";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${address("v1")}", apiKey: "${key() ? "YOUR-KEY" : "none"}" });
const transcript = await client.audio.transcriptions.create({
  file: createReadStream(${JSON.stringify(file)}),
${named.join("")}});
console.log(transcript.text);`;
}

/**
 * The fields by who knows them: OpenAI's libraries, or this server alone.
 * @param {import("./stream.js").Options} options
 */
function sorted(options) {
  const { model = "whisper-1", num_speakers, ...known } = fields(options);
  return { model, known, beyond: num_speakers ? { num_speakers: Number(num_speakers) } : {} };
}

/**
 * A word of a shell.
 * @param {string} text
 */
function quoted(text) {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
