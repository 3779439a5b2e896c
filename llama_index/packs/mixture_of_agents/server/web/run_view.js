// A run on the page: its question, its answer, its facts, and the three panels below.

import { Cards } from "./cards.js";
import { Comparison } from "./compare.js";
import { byId, count, element, money, oncePerFrame, seconds, showText, tokens } from "./elements.js";
import { MarkdownWriter } from "./markdown.js";
import { callsOf, totals, traceOf } from "./run_state.js";
import { Timeline } from "./timeline.js";

const PANELS = ["layers", "compare", "timeline"];
const LONGEST_TITLE = 60; // characters

/** Shows one run at a time. */
export class RunView {
  constructor() {
    this.run = null;
    this.now = 0;
    this.answer = new MarkdownWriter(byId("answer"), 4);
    this.cards = new Cards(byId("layers"));
    this.comparison = new Comparison(byId("compare"));
    this.timeline = new Timeline(byId("timeline"));
    this.address = "";
    this.drawSoon = oncePerFrame(() => this.draw());
    this.addTabs();
    byId("copy").addEventListener("click", () => this.copy());
  }

  /** Show another run. */
  open(run) {
    this.run = run;
    this.now = run.elapsed;
    for (const part of [this.answer, this.cards, this.comparison, this.timeline]) part.clear();
    this.shownAnswer = null;
    byId("asked").textContent = run.question;
    byId("run").hidden = false;
    byId("welcome").hidden = true;
    const short = run.question.length > LONGEST_TITLE ? `${run.question.slice(0, LONGEST_TITLE)}...` : run.question;
    document.title = `${short} - Mixture of Agents`;
    this.select("layers");
    this.draw();
  }

  close() {
    this.run = null;
    byId("run").hidden = true;
    byId("welcome").hidden = false;
    document.title = "Mixture of Agents";
  }

  /** Time has passed in a run that is not over. */
  tick(now) {
    this.now = now;
    this.cards.tick(now);
    byId("progress").textContent = `${progressOf(this.run)} ${seconds(now)}`;
    if (!byId("timeline").hidden) this.timeline.draw(this.run, now);
  }

  draw() {
    const { run } = this;
    if (!run) return;
    this.cards.draw(run);
    this.drawAnswer(run);
    byId("warnings").replaceChildren(...warningsOf(run));
    byId("facts").replaceChildren(...(run.over ? factsOf(run) : []));
    showText(byId("progress"), run.over ? "" : `${progressOf(run)} ${seconds(this.now)}`);
    byId("copy").hidden = !run.over || !run.answer || !navigator.clipboard;
    this.offerTrace(run);
    if (!byId("compare").hidden) this.comparison.draw(run);
    if (!byId("timeline").hidden) this.timeline.draw(run, run.over ? run.elapsed : this.now);
  }

  drawAnswer(run) {
    const shown = byId("answer");
    shown.setAttribute("aria-busy", String(!run.over));
    byId("answered-by").textContent = run.answeredBy ? `by ${run.answeredBy}` : "";
    const state = `${run.over} ${run.answer.length}`;
    if (state === this.shownAnswer) return;
    this.shownAnswer = state;
    this.answer.show(run.answer, run.over);
  }

  /** A link to the run as a file, once it is over. */
  offerTrace(run) {
    const link = byId("save");
    link.hidden = !run.over || !run.events.length;
    if (link.hidden || link.dataset.run === run.id) return;
    URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(new Blob([traceOf(run)], { type: "application/jsonl" }));
    link.href = this.address;
    link.download = `run-${run.id.slice(0, 8)}.jsonl`;
    link.title = "A trace file, which moa show and moa replay read";
    link.dataset.run = run.id;
  }

  async copy() {
    await navigator.clipboard.writeText(this.run.answer);
    byId("copy").textContent = "Copied";
    setTimeout(() => (byId("copy").textContent = "Copy"), 2000);
  }

  addTabs() {
    const tabs = PANELS.map((name) => byId(`tab-${name}`));
    tabs.forEach((tab, place) => {
      tab.addEventListener("click", () => this.select(PANELS[place]));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        const to = { Home: 0, End: PANELS.length - 1 }[event.key] ?? (step && (place + step + PANELS.length) % PANELS.length);
        if (to === undefined) return;
        event.preventDefault();
        this.select(PANELS[to]);
        tabs[to].focus();
      });
    });
  }

  select(chosen) {
    for (const name of PANELS) {
      const tab = byId(`tab-${name}`);
      tab.setAttribute("aria-selected", String(name === chosen));
      tab.tabIndex = name === chosen ? 0 : -1;
      byId(name).hidden = name !== chosen;
    }
    this.draw();
  }
}

/** What the run does now, in words. */
function progressOf(run) {
  const writer = [...run.calls.values()].find((call) => call.role === "aggregator" && call.state === "working");
  if (writer) return `${writer.agent} writes the answer.`;
  const working = run.layers.findLast((layer) => callsOf(run, layer.number).length);
  if (!working) return "The question is on its way.";
  const proposers = callsOf(run, working.number).filter((call) => call.role === "proposer");
  const done = proposers.filter((call) => call.state !== "working").length;
  return `Layer ${working.number} of ${run.layers.length}: ${done} of ${working.agents.length} have answered.`;
}

/** What a reader must know before the answer. */
function warningsOf(run) {
  const error = run.error && `${run.answer ? "Broken off" : "No answer"}: ${run.error}`;
  const found = [...(error ? [error] : []), ...run.degraded.map((reason) => `Degraded: ${reason}`)];
  return found.map((text, place) => element("li", { class: error && !place ? "problem" : "warning" }, text));
}

function factsOf(run) {
  const { usage, usd, calls } = totals(run);
  const facts = { Time: seconds(run.elapsed), Calls: count(calls, "call"), Tokens: tokens(usage), Cost: money(usd), Mixture: run.model };
  return Object.entries(facts).map(([name, fact]) => element("div", {}, element("dt", {}, name), element("dd", {}, fact)));
}
