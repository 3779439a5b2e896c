// The layers of a run: a card for each call, from the moment on that the recipe is known.

import { count, element, money, seconds, tokens } from "./elements.js";
import { MarkdownWriter } from "./markdown.js";
import { callsOf, hasUsed } from "./run_state.js";

const STATES = { waiting: "waits", working: "works", done: "answered", failed: "failed", cancelled: "stopped" };
const REASONS = { quorum: "closed when enough had answered", deadline: "closed at its deadline" };
const LONG = 700; // characters of a text, or
const MANY = 10; // lines of it: what is longer is folded

/** Draws the layers into a panel. */
export class Cards {
  constructor(panel) {
    this.panel = panel;
    this.clear();
  }

  clear() {
    this.panel.replaceChildren();
    this.layers = new Map(); // number -> {grid, reason, notes, cards}
  }

  draw(run) {
    for (const layer of run.layers) {
      const shown = this.layer(layer.number, `Layer ${layer.number}`);
      for (const agent of layer.agents) this.slot(shown, agent, "proposer");
      shown.reason.textContent = REASONS[layer.reason] ?? "";
    }
    if (run.aggregator) this.slot(this.layer(run.layers.length + 1, "Aggregator"), run.aggregator, "aggregator");
    for (const call of run.calls.values()) this.card(call).show(call);
    for (const [number, shown] of this.layers) this.notes(shown, run.notes.filter((note) => note.layer === number));
    if (run.over) this.close(run);
  }

  tick(now) {
    for (const { cards } of this.layers.values()) for (const card of cards) card.tick(now);
  }

  layer(number, title) {
    if (!this.layers.has(number)) {
      const grid = element("ul", { class: "cards plain" });
      const reason = element("span", { class: "soft" });
      const notes = element("div");
      this.panel.append(element("section", {}, element("h3", {}, title, " ", reason), grid, notes));
      this.layers.set(number, { grid, reason, notes, cards: [] });
    }
    return this.layers.get(number);
  }

  /** A card that waits for its call. */
  slot(shown, agent, role) {
    const there = shown.cards.some((card) => card.agent === agent && card.role === role);
    if (!there) this.add(shown, new Card(agent, role));
  }

  card(call) {
    const shown = this.layer(call.layer, `Layer ${call.layer}`);
    const same = (card) => card.number === call.number;
    const free = (card) => card.number === null && card.agent === call.agent && card.role === call.role;
    const found = shown.cards.find(same) ?? shown.cards.find(free) ?? this.add(shown, new Card(call.agent, call.role));
    found.number = call.number;
    return found;
  }

  add(shown, card) {
    shown.cards.push(card);
    shown.grid.append(card.root);
    return card;
  }

  notes(shown, notes) {
    for (const note of notes.slice(shown.notes.childElementCount)) {
      const found = Object.entries(note.data).map(([name, value]) =>
        element("div", {}, element("dt", {}, name.replaceAll("_", " ")), element("dd", { class: "plain-text" }, inWords(value))),
      );
      const summary = element("summary", {}, `Finding: ${note.topic}`);
      shown.notes.append(element("details", {}, summary, element("dl", { class: "found" }, ...found)));
    }
  }

  /** What still waits when the run is over was not asked. */
  close(run) {
    for (const [number, { cards, reason }] of this.layers) {
      for (const card of cards) if (card.number === null) card.root.hidden = true;
      if (!callsOf(run, number).length) reason.textContent = "not asked";
    }
  }
}

class Card {
  constructor(agent, role) {
    this.agent = agent;
    this.role = role;
    this.number = null;
    this.call = null;
    this.model = element("span", { class: "soft" });
    this.state = element("span", { class: "state" });
    this.time = element("span", { class: "time", "aria-hidden": "true" });
    this.facts = element("p", { class: "soft facts-line" });
    this.body = element("div");
    const title = role === "judge" ? `${agent}, as a judge` : agent;
    const head = element("div", { class: "row spread" }, element("h4", {}, title), element("span", { class: "row" }, this.time, this.state));
    this.root = element("li", { class: "card" }, head, this.model, this.facts, this.body);
    this.mark("waiting");
  }

  mark(state) {
    this.root.dataset.state = state;
    this.state.textContent = this.role === "aggregator" && state === "working" ? "writes" : STATES[state];
  }

  tick(now) {
    if (this.call?.state === "working") this.time.textContent = seconds(now - this.call.started);
  }

  show(call) {
    const before = this.call;
    if (before === call && before.shown === `${call.state} ${call.retry?.attempt}`) return;
    this.call = call;
    call.shown = `${call.state} ${call.retry?.attempt}`;
    this.mark(call.state);
    this.model.textContent = call.model === call.agent ? "" : call.model;
    if (call.state === "working") {
      this.facts.textContent = call.retry ? retried(call.retry) : "";
      return;
    }
    this.time.textContent = "";
    this.facts.textContent = call.usage ? factsOf(call) : "";
    this.body.replaceChildren(...this.content(call));
  }

  content(call) {
    if (call.failure) return why(call.failure);
    if (call.role === "aggregator" && call.proposals.length) {
      return [element("p", { class: "soft" }, "Its text is the answer above.")];
    }
    return call.proposals.flatMap((proposal) => [thinking(proposal), folded(proposal.text)].filter(Boolean));
  }
}

function factsOf(call) {
  const facts = [seconds(call.ended - call.started)];
  if (hasUsed(call)) facts.push(tokens(call.usage), money(call.cost_usd));
  if (call.attempts > 1) facts.push(count(call.attempts, "attempt"));
  if (call.proposals.length > 1) facts.push(count(call.proposals.length, "sample"));
  if (call.cached) facts.push("from the cache");
  if (call.replayed) facts.push("replayed");
  return facts.join(" \u00b7 ");
}

function why(failure) {
  if (failure.kind === "straggler") return [element("p", { class: "soft" }, "It was stopped: the layer had enough proposals.")];
  return [element("p", { class: "why" }, kindOf(failure)), element("p", { class: "plain-text soft" }, failure.message)];
}

function kindOf(failure) {
  const words = failure.kind.replaceAll("_", " ");
  return `${words[0].toUpperCase()}${words.slice(1)}${failure.status ? ` (${failure.status})` : ""}`;
}

function retried({ failure, wait }) {
  return `${kindOf(failure)}; it is asked again after ${seconds(wait)}.`;
}

/** Data of a finding in words: lists in a list are parted by bars. */
function inWords(value) {
  if (Array.isArray(value)) return value.map(inWords).join(value.some(Array.isArray) ? " | " : ", ");
  if (value === null || typeof value !== "object") return String(value);
  return Object.entries(value).map(([name, one]) => `${name}: ${inWords(one)}`).join("; ");
}

function thinking(proposal) {
  if (!proposal.thinking) return null;
  const text = element("p", { class: "plain-text soft" }, proposal.thinking);
  return element("details", {}, element("summary", {}, "Thinking"), text);
}

/** A text in Markdown; a long one is folded, with a button that unfolds it. */
function folded(text) {
  const shown = element("div", { class: "text" });
  new MarkdownWriter(shown, 5).show(text);
  if (text.length <= LONG && text.split("\n", MANY + 1).length <= MANY) return shown;
  const button = element("button", { type: "button", class: "quiet", "aria-expanded": "false" }, "Show all");
  shown.classList.add("folded");
  button.addEventListener("click", () => {
    const open = !shown.classList.toggle("folded");
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Show less" : "Show all";
  });
  return element("div", {}, shown, button);
}
