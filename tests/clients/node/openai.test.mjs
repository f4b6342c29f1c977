// openai-node: files in every form it takes, formats, streams, errors.
import assert from "node:assert/strict";
import { createReadStream, readFileSync } from "node:fs";
import { test } from "node:test";

import OpenAI, { toFile } from "openai";

import { API, ENGLISH, ENGLISH_TEXT, SERVER_KEY, SPANISH, SPANISH_TEXT, fileOf } from "./support.mjs";

const client = new OpenAI({ baseURL: API, apiKey: SERVER_KEY, maxRetries: 0 });
const create = (wishes = {}) =>
  client.audio.transcriptions.create({
    file: fileOf(ENGLISH),
    model: "whisper-1",
    language: "en",
    ...wishes,
  });

const files = {
  "a File": () => fileOf(ENGLISH),
  "a stream from the disk": () => createReadStream(ENGLISH),
  "a Buffer with a name": () => toFile(readFileSync(ENGLISH), "clip.wav"),
  "a Buffer without a name": () => toFile(readFileSync(ENGLISH)),
  "a Blob": () => toFile(new Blob([readFileSync(ENGLISH)]), "blob"),
  "a recorder's name and type": () => fileOf(ENGLISH, "recording.webm", "audio/webm;codecs=opus"),
  "a name in several scripts": () => fileOf(ENGLISH, "réunion – 会議.wav"),
  "a name with quotes": () => fileOf(ENGLISH, 'the "best" clip; really.wav'),
  "the answer of a fetch": async () => new Response(readFileSync(ENGLISH)),
};

for (const [form, file] of Object.entries(files)) {
  test(`takes ${form}`, async () => {
    assert.equal((await create({ file: await file() })).text, ENGLISH_TEXT);
  });
}

test("verbose_json has words and segments", async () => {
  const answer = await create({
    response_format: "verbose_json",
    timestamp_granularities: ["word", "segment"],
  });
  assert.equal(answer.language, "english");
  assert.equal(answer.words.map((word) => word.word).join("").trim(), ENGLISH_TEXT);
  assert.equal(answer.segments[0].text.trim(), ENGLISH_TEXT);
  assert.equal(typeof answer.duration, "number");
});

test("text and subtitles are strings", async () => {
  assert.equal(await create({ response_format: "text" }), `${ENGLISH_TEXT}\n`);
  assert.match(await create({ response_format: "srt" }), /^1\n00:00:00,\d{3} --> /);
  assert.match(await create({ response_format: "vtt" }), /^WEBVTT\n\n00:00:00\.\d{3} --> /);
});

test("a stream spells the text", async () => {
  const events = [];
  for await (const event of await create({ stream: true })) events.push(event);
  const done = events.pop();
  assert.equal(done.type, "transcript.text.done");
  assert.equal(done.text, ENGLISH_TEXT);
  assert.equal(done.usage.type, "tokens");
  assert.ok(events.every((event) => event.type === "transcript.text.delta"));
  assert.equal(events.map((event) => event.delta).join(""), ENGLISH_TEXT);
});

test("a stream of speakers has segments", async () => {
  const events = [];
  const wishes = { stream: true, response_format: "diarized_json", chunking_strategy: "auto" };
  for await (const event of await create(wishes)) events.push(event);
  const segment = events.find((event) => event.type === "transcript.text.segment");
  assert.equal(segment.speaker, "A");
  assert.equal(segment.text, ENGLISH_TEXT);
});

test("a translation", async () => {
  const answer = await client.audio.translations.create({
    file: fileOf(SPANISH),
    model: "whisper-1",
  });
  assert.equal(answer.text, "hello team");
});

test("errors have their classes, codes and fields", async () => {
  const cases = [
    [OpenAI.BadRequestError, { language: "tlh" }, "unsupported_language", "language"],
    [OpenAI.BadRequestError, { temperature: 7 }, "invalid_request", "temperature"],
    [OpenAI.NotFoundError, { model: "no-such" }, "model_not_found", "model"],
  ];
  for (const [kind, wishes, code, param] of cases) {
    await assert.rejects(create(wishes), (error) => {
      assert.ok(error instanceof kind, `${error}`);
      assert.equal(error.code, code);
      assert.equal(error.param, param);
      assert.ok(error.requestID);
      return true;
    });
  }
  await assert.rejects(
    create({ file: await toFile(Buffer.from("no audio at all"), "clip.wav") }),
    OpenAI.BadRequestError,
  );
});

test("a wrong key is an AuthenticationError", async () => {
  const stranger = new OpenAI({ baseURL: API, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(
    stranger.audio.transcriptions.create({ file: fileOf(ENGLISH), model: "whisper-1" }),
    OpenAI.AuthenticationError,
  );
});

test("models are listed and retrieved", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes("parakeet"), `${names}`);
  assert.equal((await client.models.retrieve("parakeet")).id, "parakeet");
});

test("chat, whole and streamed", async () => {
  const body = {
    model: "llm-tiny",
    messages: [{ role: "user", content: "Count to ten." }],
    max_completion_tokens: 20,
  };
  const answer = await client.chat.completions.create(body);
  assert.ok(answer.choices[0].message.content);
  let streamed = "";
  for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) {
    streamed += chunk.choices[0]?.delta.content ?? "";
  }
  assert.ok(streamed);
});

test("the names of newer models, keywords and languages", async () => {
  for (const model of ["gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"]) {
    assert.equal((await create({ model })).text, ENGLISH_TEXT);
  }
  const answer = await client.audio.transcriptions.create({
    file: fileOf(SPANISH),
    model: "gpt-transcribe",
    keywords: ["equipo"],
    languages: ["en", "es"],
  });
  assert.equal(answer.text, SPANISH_TEXT);
});

test("logprobs in an answer and in a stream", async () => {
  const wishes = { model: "gpt-4o-transcribe", include: ["logprobs"] };
  const answer = await create({ ...wishes, response_format: "json" });
  const spelled = (tokens) => tokens.map((token) => token.token).join("").trim();
  assert.equal(spelled(answer.logprobs), ENGLISH_TEXT);
  assert.ok(answer.logprobs.every((token) => token.logprob <= 0));
  const events = [];
  for await (const event of await create({ ...wishes, stream: true })) events.push(event);
  assert.equal(spelled(events.at(-1).logprobs), ENGLISH_TEXT);
  assert.equal(spelled(events.slice(0, -1).flatMap((event) => event.logprobs)), ENGLISH_TEXT);
});
