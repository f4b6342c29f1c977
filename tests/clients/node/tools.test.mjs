// The AI SDK runs a tool that the model asks for, and sends it the result.
import assert from "node:assert/strict";
import { test } from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, stepCountIs, tool } from "ai";

import { API, SERVER_KEY } from "./support.mjs";

test("a tool in two steps", async () => {
  const provider = createOpenAICompatible({ name: "here", baseURL: API, apiKey: SERVER_KEY });
  const asked = [];
  const weather = tool({
    description: "What the weather is like.",
    inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } } }),
    execute: async ({ city }) => {
      asked.push(city);
      return "rain";
    },
  });
  const { text } = await generateText({
    model: provider("model"),
    prompt: "How is the weather?",
    tools: { get_weather: weather },
    stopWhen: stepCountIs(2),
    maxRetries: 0,
  });
  assert.deepEqual(asked, ["Oslo"]);
  assert.equal(text, "It rains in Oslo.");
});
