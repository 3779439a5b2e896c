// The page: its form, its history, and the run that is under way.

import { ask, key, mixtures } from "./client.js";
import { byId, element, showText } from "./elements.js";
import { History } from "./history.js";
import { RunView } from "./run_view.js";
import { cutOff, fold, newRun, restoredRun } from "./run_state.js";

const TICK = 100; // milliseconds

const view = new RunView();
const kept = new History();
let underWay = null; // the run that is under way
let stopping = null; // stops it

const say = (text) => (byId("status").textContent = text);
const complain = (text) => showText(byId("problem"), text);

/** Do what needs a key; ask for one, and try again, as long as the server refuses. */
async function withKey(action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (error.status !== 401 || !(await askForKey())) throw error;
    }
  }
}

function askForKey() {
  const dialog = byId("key-dialog");
  if (key.read()) byId("key-problem").textContent = "The server does not know that key. Try another one.";
  byId("key").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const closed = () => {
      const given = dialog.returnValue === "given" && byId("key").value.trim();
      if (given) key.keep(given);
      byId("key").value = "";
      resolve(Boolean(given));
    };
    dialog.addEventListener("close", closed, { once: true });
  });
}

async function offerMixtures() {
  complain("");
  try {
    const names = await withKey(mixtures);
    byId("mixture").replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    if (!names.length) complain("This server offers single models only, and this page shows mixtures.");
  } catch (error) {
    complain(`The mixtures of this server are not known: ${error.message}`);
  }
}

async function askQuestion() {
  const question = byId("question").value.trim();
  if (!question || stopping) return;
  if (!byId("mixture").value) await offerMixtures();
  if (!byId("mixture").value) return;
  complain("");
  const run = newRun(byId("mixture").value, question);
  byId("question").value = "";
  underWay = run;
  stopping = new AbortController();
  setWorking(true);
  view.open(run);
  drawHistory();
  if (matchMedia("(max-width: 44rem)").matches) byId("run").scrollIntoView({ block: "start" });
  try {
    await follow(run, stopping.signal);
  } finally {
    underWay = stopping = null;
    setWorking(false);
    drawHistory();
  }
}

/** Ask, and show the events of the run until it is over. */
async function follow(run, signal) {
  let synced = performance.now(); // when the time of the run was `run.elapsed`
  const now = () => run.elapsed + (performance.now() - synced) / 1000;
  const ticking = setInterval(() => view.run === run && view.tick(now()), TICK);
  try {
    await withKey(async () => {
      for await (const event of ask(run.model, run.question, signal)) {
        fold(run, event);
        synced = performance.now();
        announce(run, event);
        if (view.run === run) view.drawSoon();
      }
    });
    if (!run.over) fold(run, cutOff(run, now(), "the connection to the server broke"));
  } catch (error) {
    const why = signal.aborted ? "stopped" : error.message;
    if (run.events.length || signal.aborted) fold(run, cutOff(run, now(), why));
    else return refuse(run, error);
  } finally {
    clearInterval(ticking);
  }
  say(run.error ? `No answer: ${run.error}` : "The answer is complete.");
  if (view.run === run) view.draw();
  await kept.add(run).catch(() => complain("The browser could not keep this run in its history."));
}

/** Nothing was asked: there is no run to show, and the question can be sent again. */
function refuse(run, error) {
  if (view.run === run) view.close();
  byId("question").value ||= run.question;
  complain(error.message);
}

/** Say what happened, for screen readers. */
function announce(run, event) {
  if (event.kind === "layer_started") say(`Layer ${event.layer}: ${event.agents.length} models are asked.`);
  if (event.kind === "call_started" && event.role === "aggregator") say(`${event.agent} writes the answer.`);
  if (event.kind === "call_finished" && event.role === "proposer") {
    say(`${event.agent} ${event.failure ? "gave no proposal" : "has answered"}.`);
  }
}

function setWorking(works) {
  const focused = document.activeElement;
  byId("send").hidden = works;
  byId("stop").hidden = !works;
  if (focused === byId("send")) byId("stop").focus();
  if (focused === byId("stop")) byId("question").focus();
}

function drawHistory() {
  const runs = underWay ? [underWay, ...kept.runs] : kept.runs;
  byId("history-clear").hidden = !kept.runs.length;
  byId("history-list").hidden = !runs.length;
  byId("history-empty").hidden = runs.length > 0;
  byId("history-list").replaceChildren(...runs.map(entry));
}

function entry(saved) {
  const works = saved === underWay;
  const date = new Date(saved.asked).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const when = works ? "under way" : date;
  const current = saved.id === view.run?.id ? "true" : null;
  const title = element("span", { class: "entry-title" }, saved.question);
  const opens = element("button", { type: "button", class: "entry", "aria-current": current }, title, element("span", { class: "soft" }, `${saved.model}, ${when}`));
  opens.addEventListener("click", () => {
    view.open(works ? saved : restoredRun(saved));
    complain("");
    toggleHistory(false);
    drawHistory();
    byId("asked").focus();
  });
  if (works) return element("li", {}, opens);
  const removes = element("button", { type: "button", class: "quiet", "aria-label": `Delete: ${saved.question.slice(0, 80)}` }, "\u00d7");
  removes.addEventListener("click", async () => {
    await kept.remove(saved.id);
    drawHistory();
    byId("history-toggle").focus();
  });
  return element("li", {}, opens, removes);
}

function toggleHistory(open) {
  byId("history").classList.toggle("open", open);
  byId("history-toggle").setAttribute("aria-expanded", String(open));
}

function startNewQuestion() {
  if (!stopping) view.close();
  byId("question").value = "";
  byId("question").focus();
  complain("");
  drawHistory();
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  askQuestion();
});
byId("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("ask").requestSubmit();
  }
});
byId("stop").addEventListener("click", () => stopping?.abort());
byId("new-question").addEventListener("click", startNewQuestion);
byId("history-toggle").addEventListener("click", () => toggleHistory(!byId("history").classList.contains("open")));
byId("history-clear").addEventListener("click", async () => {
  await kept.clear();
  drawHistory();
  byId("question").focus();
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("key-dialog").close("given");
});
byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());

kept.load().then(drawHistory);
offerMixtures();
