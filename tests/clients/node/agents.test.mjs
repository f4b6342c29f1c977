// OpenAI's agents SDK: a voice agent whose realtime model only transcribes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { RealtimeAgent, RealtimeSession } from "@openai/agents/realtime";

import { API, ENGLISH, ENGLISH_TEXT, SERVER_KEY } from "./support.mjs";

const HEADER = 44; // bytes of a WAV file before its samples

const secret = async () => {
  const answer = await fetch(`${API}/realtime/client_secrets`, {
    method: "POST",
    headers: { Authorization: `Bearer ${SERVER_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify({ session: { type: "realtime", model: "gpt-realtime" } }),
  });
  assert.equal(answer.status, 200);
  return (await answer.json()).value;
};

for (const [name, key] of [["a key", async () => SERVER_KEY], ["a client secret", secret]]) {
  test(`hears what is said, with ${name}`, { timeout: 60_000 }, async () => {
    const session = new RealtimeSession(new RealtimeAgent({ name: "Scribe" }), {
      transport: "websocket",
      config: {
        audio: {
          input: {
            format: { type: "audio/pcm", rate: 16_000 },
            transcription: { model: "gpt-4o-mini-transcribe", language: "en" },
            turnDetection: { type: "server_vad", silenceDurationMs: 400 },
          },
        },
      },
    });
    const failures = [];
    session.on("error", (error) => failures.push(error));
    const heard = new Promise((resolve) => {
      session.on("history_updated", (history) => {
        const text = history.at(-1)?.content?.[0]?.transcript;
        if (text) resolve(text);
      });
    });
    await session.connect({ apiKey: await key(), url: `${API.replace("http", "ws")}/realtime` });
    const samples = readFileSync(ENGLISH).subarray(HEADER);
    const piece = 3_200;
    for (let begin = 0; begin < samples.length; begin += piece) {
      session.sendAudio(new Uint8Array(samples.subarray(begin, begin + piece)).buffer);
    }
    session.sendAudio(new ArrayBuffer(32_000));
    assert.equal(await heard, ENGLISH_TEXT);
    session.close();
    assert.deepEqual(failures, []);
  });
}
