// Vercel's AI SDK with its OpenAI provider (Responses by default, chat completions on wish) and its Anthropic provider.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { BASE, PIXEL, QUESTION, WAY, report, stay } from "./question.mjs";

const openai = createOpenAI({ baseURL: `${BASE}/v1`, apiKey: "none" });
const anthropic = createAnthropic({ baseURL: `${BASE}/v1`, apiKey: "none" });
const way = WAY.replace("leave_", "");
const models = { chat: () => openai.chat("moa"), responses: () => openai("moa"), messages: () => anthropic("moa") };
const settings = { model: models[way](), maxRetries: 0, ...(way === "messages" && { maxOutputTokens: 500 }) };

async function ask() {
  const whole = await generateText({ ...settings, prompt: QUESTION });
  const pieces = [];
  for await (const piece of streamText({ ...settings, prompt: QUESTION }).textStream) pieces.push(piece);
  const inputSchema = z.object({ city: z.string() });
  const get_weather = tool({ description: "Looks.", inputSchema, execute: async () => "Sunny." });
  const after = await generateText({ ...settings, prompt: QUESTION, tools: { get_weather }, stopWhen: stepCountIs(3) });
  const [made] = after.steps[0].toolCalls;
  const output = Output.object({ schema: z.object({ winner: z.string(), score: z.number().int() }) });
  const parsed = await generateText({ ...settings, prompt: QUESTION, output });
  const image = { type: "image", image: PIXEL, mediaType: "image/png" };
  const content = [{ type: "text", text: QUESTION }, image];
  const pictured = await generateText({ ...settings, messages: [{ role: "user", content }] });
  report({
    whole: whole.text,
    streamed: pieces.join(""),
    pieces: pieces.length,
    usage: [whole.usage.inputTokens, whole.usage.outputTokens],
    call: { id: made.toolCallId, name: made.toolName, arguments: made.input },
    after_tool: after.text,
    parsed: parsed.output,
    pictured: pictured.text,
  });
}

async function leave() {
  const leaving = new AbortController();
  const { textStream } = streamText({ ...settings, prompt: QUESTION, abortSignal: leaving.signal });
  for await (const _ of textStream) break;
  leaving.abort();
  await stay();
}

await (WAY.startsWith("leave_") ? leave : ask)();
