// What a page sends by fetch: FormData, a recorder's Blob, and the browser's own preflight.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { API, ENGLISH, ENGLISH_TEXT, SERVER_KEY } from "./support.mjs";

const ROUTE = `${API}/audio/transcriptions`;
const ORIGIN = "http://localhost:3000";
const headers = { Authorization: `Bearer ${SERVER_KEY}`, Origin: ORIGIN };

test("a form with a recorder's Blob, which has no name of its own", async () => {
  const form = new FormData();
  form.append("file", new Blob([readFileSync(ENGLISH)], { type: "audio/webm;codecs=opus" }));
  form.append("model", "whisper-1");
  const answer = await fetch(ROUTE, { method: "POST", headers, body: form });
  assert.equal(answer.status, 200);
  assert.equal((await answer.json()).text, ENGLISH_TEXT);
});
