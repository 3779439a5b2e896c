// Asks the server: its models, and the events of a run.

/** An answer of the server that is an error. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Keeps the key of the server for this tab. */
export const key = {
  value: "",
  read() {
    try {
      this.value ||= sessionStorage.getItem("moa-key") ?? "";
    } catch {
      // A browser that stores nothing: the key lives as long as the page.
    }
    return this.value;
  },
  keep(value) {
    this.value = value;
    try {
      sessionStorage.setItem("moa-key", value);
    } catch {
      // As above.
    }
  },
};

async function send(path, options = {}) {
  const headers = { "Content-Type": "application/json" };
  if (key.read()) headers["x-api-key"] = key.read();
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Refused(response.status, body.error?.message ?? `The server answered ${response.status}.`);
}

/** The names of the mixtures that the server offers. A single model has no layers to show. */
export async function mixtures() {
  const { data } = await (await send("v1/models")).json();
  return data.filter((model) => model.owned_by === "MixtureOfAgents").map((model) => model.id);
}

/**
 * Ask a mixture, and yield the events of the run as they happen.
 *
 * @param {string} model the mixture's name.
 * @param {string} question the question.
 * @param {AbortSignal} signal stops the run.
 */
export async function* ask(model, question, signal) {
  const body = { model, stream: true, messages: [{ role: "user", content: question }] };
  const response = await send("v1/runs", { method: "POST", body: JSON.stringify(body), signal });
  for await (const line of lines(response.body)) {
    if (line.startsWith("data: ")) yield JSON.parse(line.slice("data: ".length));
  }
}

/** The lines of a body. Each event of the server is one line; lines that begin with ":" are comments. */
async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let parts = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const [first, ...others] = value.split("\n");
      parts.push(first);
      for (const next of others) {
        yield parts.join("");
        parts = [next];
      }
    }
  } finally {
    await reader.cancel().catch(() => {}); // a connection that has failed already
  }
}
