// OpenAI's JavaScript SDK: chat completions and Responses.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { BASE, FUNCTION, PICTURE, QUESTION, WAY, report, stay } from "./question.mjs";

const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: "none", maxRetries: 0 });
const Verdict = z.object({ winner: z.string(), score: z.number().int() });
const messages = [{ role: "user", content: QUESTION }];
const model = "moa";

const ways = {
  async chat() {
    const create = (body) => client.chat.completions.create({ model, messages, ...body });
    const whole = await create({});
    const pieces = [];
    for await (const piece of await create({ stream: true })) pieces.push(piece.choices[0]?.delta.content ?? "");
    const tools = [{ type: "function", function: FUNCTION }];
    const calling = (await create({ tools })).choices[0].message;
    const [made] = calling.tool_calls;
    const result = { role: "tool", tool_call_id: made.id, content: "Sunny." };
    const after = await create({ tools, messages: [...messages, calling, result] });
    const response_format = zodResponseFormat(Verdict, "verdict");
    const parsed = await client.chat.completions.parse({ model, messages, response_format });
    const image = { type: "image_url", image_url: { url: PICTURE } };
    const pictured = await create({ messages: [{ role: "user", content: [{ type: "text", text: QUESTION }, image] }] });
    report({
      whole: whole.choices[0].message.content,
      streamed: pieces.join(""),
      pieces: pieces.length,
      usage: [whole.usage.prompt_tokens, whole.usage.completion_tokens],
      call: { id: made.id, name: made.function.name, arguments: JSON.parse(made.function.arguments) },
      after_tool: after.choices[0].message.content,
      parsed: parsed.choices[0].message.parsed,
      pictured: pictured.choices[0].message.content,
    });
  },
  async responses() {
    const create = (body) => client.responses.create({ model, input: QUESTION, ...body });
    const whole = await create({});
    const pieces = [];
    for await (const event of await create({ stream: true }))
      if (event.type === "response.output_text.delta") pieces.push(event.delta);
    const tools = [{ type: "function", strict: false, ...FUNCTION }];
    const calling = await create({ tools });
    const [made] = calling.output.filter((item) => item.type === "function_call");
    const result = { type: "function_call_output", call_id: made.call_id, output: "Sunny." };
    const after = await create({ tools, input: [result], previous_response_id: calling.id });
    const text = { format: zodTextFormat(Verdict, "verdict") };
    const parsed = await client.responses.parse({ model, input: QUESTION, text });
    const image = { type: "input_image", image_url: PICTURE, detail: "auto" };
    const pictured = await create({
      input: [{ role: "user", content: [{ type: "input_text", text: QUESTION }, image] }],
    });
    report({
      whole: whole.output_text,
      streamed: pieces.join(""),
      pieces: pieces.length,
      usage: [whole.usage.input_tokens, whole.usage.output_tokens],
      call: { id: made.call_id, name: made.name, arguments: JSON.parse(made.arguments) },
      after_tool: after.output_text,
      parsed: parsed.output_parsed,
      pictured: pictured.output_text,
    });
  },
  async leave_chat() {
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    for await (const piece of stream) if (piece.choices[0]?.delta.content) break;
    await stay();
  },
  async leave_responses() {
    const stream = await client.responses.create({ model, input: QUESTION, stream: true });
    for await (const event of stream) if (event.type === "response.output_text.delta") break;
    await stay();
  },
};

await ways[WAY]();
