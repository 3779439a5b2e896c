// What every JavaScript client asks, and how one leaves in the middle of an answer.
export const [WAY, BASE] = process.argv.slice(2);
export const QUESTION = "What is LlamaIndex?";
export const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
export const PICTURE = `data:image/png;base64,${PIXEL}`;
export const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
export const FUNCTION = { name: "get_weather", description: "Looks out of the window.", parameters: CITY };

export const report = (found) => process.stdout.write(`${JSON.stringify(found)}\n`);

export async function stay() {
  report({ left: true });
  for await (const _ of process.stdin);
}
