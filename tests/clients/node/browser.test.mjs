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

test("a preflight needs no key and lets the page in", async () => {
  const answer = await fetch(ROUTE, {
    method: "OPTIONS",
    headers: {
      Origin: ORIGIN,
      "Access-Control-Request-Method": "POST",
      "Access-Control-Request-Headers": "authorization",
    },
  });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("access-control-allow-origin"), ORIGIN);
  assert.match(answer.headers.get("access-control-allow-headers"), /authorization/i);
  assert.match(answer.headers.get("access-control-allow-methods"), /POST/);
});

test("an answer may be read by the page, and so may an error", async () => {
  const models = await fetch(`${API}/models`, { headers });
  assert.equal(models.headers.get("access-control-allow-origin"), ORIGIN);
  const refused = await fetch(`${API}/models`, { headers: { Origin: ORIGIN } });
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get("access-control-allow-origin"), ORIGIN);
});

test("a page from elsewhere may not", async () => {
  const answer = await fetch(`${API}/models`, {
    headers: { ...headers, Origin: "http://elsewhere.example" },
  });
  assert.equal(answer.headers.get("access-control-allow-origin"), null);
});
