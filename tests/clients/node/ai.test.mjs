// The AI SDK: transcription and text, by its OpenAI provider and its provider for compatible servers.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, experimental_transcribe as transcribe } from "ai";

import { API, ENGLISH, ENGLISH_TEXT, SERVER_KEY, SPANISH, SPANISH_TEXT } from "./support.mjs";

const openai = createOpenAI({ baseURL: API, apiKey: SERVER_KEY });
const audio = readFileSync(ENGLISH);
const hear = (model, wishes = {}) =>
  transcribe({ model: openai.transcription(model), audio, maxRetries: 0, ...wishes });

test("whisper-1 without any option", async () => {
  assert.equal((await hear("whisper-1")).text, ENGLISH_TEXT);
});

test("words as segments", async () => {
  const options = { language: "en", timestampGranularities: ["word"] };
  const answer = await hear("whisper-1", { providerOptions: { openai: options } });
  assert.equal(answer.text, ENGLISH_TEXT);
  assert.equal(answer.language, "en");
  assert.ok(answer.durationInSeconds > 1);
  assert.equal(answer.segments.map((segment) => segment.text).join("").trim(), ENGLISH_TEXT);
});

test("base64 audio", async () => {
  assert.equal((await hear("whisper-1", { audio: audio.toString("base64") })).text, ENGLISH_TEXT);
});

for (const model of ["gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"]) {
  test(`${model} and its duration`, async () => {
    const answer = await hear(model, { providerOptions: { openai: { language: "en" } } });
    assert.equal(answer.text, ENGLISH_TEXT);
    assert.ok(answer.durationInSeconds >= 1);
  });
}

test("keywords and languages", async () => {
  const answer = await hear("gpt-transcribe", {
    audio: readFileSync(SPANISH),
    providerOptions: { openai: { keywords: ["equipo"], languages: ["en", "es"] } },
  });
  assert.equal(answer.text, SPANISH_TEXT);
});

test("an error says why", async () => {
  await assert.rejects(hear("no-such"), (error) => {
    assert.ok(APICallError.isInstance(error), `${error}`);
    assert.equal(error.statusCode, 404);
    assert.match(error.message, /no-such/);
    assert.equal(error.isRetryable, false);
    return true;
  });
});

test("text of a compatible provider", async () => {
  const provider = createOpenAICompatible({ name: "here", baseURL: API, apiKey: SERVER_KEY });
  const { text } = await generateText({
    model: provider("llm-tiny"),
    prompt: "Count to ten.",
    maxOutputTokens: 20,
    maxRetries: 0,
  });
  assert.ok(text);
});
