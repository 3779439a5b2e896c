// A run as the page knows it: the fold of its events. It knows nothing of how it is drawn.

const CANCELLED = ["straggler", "cancelled"];

/** A run of which nothing is known yet but the question. */
export function newRun(model, question) {
  return {
    id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`,
    asked: Date.now(),
    model,
    question,
    events: [],
    layers: [], // {number, agents, reason}: those of the recipe, in order
    aggregator: "",
    calls: new Map(), // number -> call
    notes: [],
    degraded: [],
    answer: "",
    answeredBy: "",
    error: "",
    elapsed: 0,
    over: false,
  };
}

/** Read a saved run again. */
export function restoredRun(saved) {
  const run = { ...newRun(saved.model, saved.question), id: saved.id, asked: saved.asked };
  for (const event of saved.events) fold(run, event);
  return run;
}

const FOLDS = {
  run_started(run, event) {
    run.layers = event.layers.map((agents, place) => ({ number: place + 1, agents, reason: "" }));
    run.aggregator = event.aggregator;
  },
  layer_finished(run, event) {
    const layer = run.layers.find((one) => one.number === event.layer);
    if (layer) layer.reason = event.reason;
  },
  call_started(run, event) {
    run.calls.set(event.call, {
      number: event.call, layer: event.layer, agent: event.agent, role: event.role, model: event.model,
      started: event.at, state: "working", proposals: [], failure: null, retry: null,
    });
  },
  call_retried(run, event) {
    run.calls.get(event.call).retry = event;
  },
  call_finished(run, event) {
    const failed = event.failure && (CANCELLED.includes(event.failure.kind) ? "cancelled" : "failed");
    const call = { ...run.calls.get(event.call), ...event, number: event.call, state: failed || "done" };
    run.calls.set(event.call, call);
  },
  note_taken(run, event) {
    run.notes.push(event);
  },
  degraded(run, event) {
    run.degraded.push(event.reason);
  },
  answer_delta(run, event) {
    run.answer += event.text;
  },
  run_finished(run, event) {
    run.answer = textOf(event.message) || (event.error ? run.answer : "");
    run.answeredBy = event.agent;
    run.error = event.error;
    run.over = true;
    for (const call of run.calls.values()) if (call.state === "working") call.state = "cancelled";
  },
  error(run, event) {
    run.error = run.error || event.error.message;
    run.over = true;
  },
};

/** Take an event in. Events of a kind that this page does not know are kept, and change nothing. */
export function fold(run, event) {
  if (event.kind !== "answer_delta" && event.kind !== "error") run.events.push(event);
  run.elapsed = Math.max(run.elapsed, event.at ?? event.ended ?? 0);
  FOLDS[event.kind]?.(run, event);
}

/** The event that ends a run which the server did not end. */
export function cutOff(run, elapsed, error) {
  const blocks = [{ block_type: "text", text: run.answer }];
  const message = run.answer ? { role: "assistant", additional_kwargs: {}, blocks } : null;
  return { kind: "run_finished", at: elapsed, message, agent: "", error };
}

/** The calls of a layer, in the order in which they began. */
export const callsOf = (run, layer) => [...run.calls.values()].filter((call) => call.layer === layer);

/** Whether a call has taken any tokens. */
export const hasUsed = ({ usage }) => Boolean(usage && usage.input_tokens + usage.output_tokens);

/** The tokens and the money of all calls that ended. `usd` is null if a price is not known. */
export function totals(run) {
  const finished = [...run.calls.values()].filter((call) => call.usage);
  const usage = { input_tokens: 0, output_tokens: 0, estimated: false };
  let usd = 0;
  for (const call of finished) {
    usage.input_tokens += call.usage.input_tokens;
    usage.output_tokens += call.usage.output_tokens;
    usage.estimated ||= call.usage.estimated;
    usd = usd === null || call.cost_usd === null || call.cost_usd === undefined ? null : usd + call.cost_usd;
  }
  return { usage, usd, calls: finished.length };
}

/** The run as a line of a trace file, which `moa show` and `moa replay` read. */
export function traceOf(run) {
  const { answer, answeredBy, error, degraded, elapsed, events } = run;
  const line = { format: "mixture-of-agents/1", answer, answered_by: answeredBy, error, degraded, elapsed, events };
  return `${JSON.stringify(line)}\n`;
}

function textOf(message) {
  const texts = (message?.blocks ?? []).filter((block) => block.block_type === "text");
  return texts.map((block) => block.text).join("");
}
