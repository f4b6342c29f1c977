// tus-js-client, the official client of tus, cut off five times.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import * as tus from "tus-js-client";
import { API, SERVER_KEY } from "./support.mjs";

const PIECE = 100_000;
const headers = { Authorization: `Bearer ${SERVER_KEY}` };

/** Upload until `stop` bytes are there, or to the end; the URL of the upload. */
function upload(content, uploadUrl, stop) {
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(content, {
      endpoint: `${API}/uploads`,
      uploadUrl,
      headers,
      chunkSize: PIECE,
      retryDelays: null,
      metadata: { filename: "talk.wav" },
      onError: reject,
      onSuccess: () => resolve(upload.url),
      onChunkComplete: (_, accepted) => {
        if (accepted >= stop) upload.abort().then(() => resolve(upload.url), reject);
      },
    });
    upload.start();
  });
}

test("an upload that is cut off five times has the same bytes", async () => {
  const content = randomBytes(12 * PIECE + 11);
  let where;
  for (let cut = 1; cut <= 5; cut++) where = await upload(content, where, 2 * cut * PIECE);
  where = await upload(content, where, Infinity);
  const head = await fetch(where, { method: "HEAD", headers: { ...headers, "Tus-Resumable": "1.0.0" } });
  assert.equal(head.headers.get("Upload-Offset"), String(content.length));
  const submitted = await fetch(`${API}/jobs`, {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify({ upload_id: where.split("/").pop() }),
  });
  assert.equal(submitted.status, 202);
  assert.equal((await submitted.json()).filename, "talk.wav");
  await tus.Upload.terminate(where, { headers });
  const gone = await fetch(where, { method: "HEAD", headers: { ...headers, "Tus-Resumable": "1.0.0" } });
  assert.equal(gone.status, 404);
});
