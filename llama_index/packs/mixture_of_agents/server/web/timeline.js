// When each call ran: a table with a bar for each call.

import { element, money, seconds, tokens } from "./elements.js";
import { hasUsed } from "./run_state.js";

const COLUMNS = ["Call", "When", "Seconds", "Tokens", "US dollars"];

/** Draws the timeline into a panel. */
export class Timeline {
  constructor(panel) {
    this.panel = panel;
  }

  clear() {
    this.panel.replaceChildren();
  }

  draw(run, now) {
    const end = Math.max(now, run.elapsed, 0.001);
    const rows = [...run.calls.values()].sort((one, other) => one.layer - other.layer || one.number - other.number);
    const head = element("tr", {}, ...COLUMNS.map((title) => element("th", { scope: "col" }, title)));
    const body = rows.map((call, place) => row(call, end, rows[place - 1]?.layer !== call.layer));
    const table = element(
      "table", {}, element("caption", { class: "soft" }, `From the question to ${seconds(end)}`),
      element("thead", {}, head), element("tbody", {}, ...body),
    );
    const around = element("div", { class: "scroll timeline", tabindex: "0", role: "region", "aria-label": "Timeline" }, table);
    const before = this.panel.firstElementChild?.scrollLeft ?? 0;
    const focused = this.panel.contains(document.activeElement);
    this.panel.replaceChildren(around);
    around.scrollLeft = before;
    if (focused) around.focus({ preventScroll: true });
  }
}

function row(call, end, first) {
  const stopped = call.ended ?? end;
  const bar = element("span", { class: "bar", "aria-hidden": "true" });
  // Set one by one: the page's policy allows no style in an attribute.
  bar.style.setProperty("--begin", `${(100 * call.started) / end}%`);
  bar.style.setProperty("--length", `${(100 * Math.max(0, stopped - call.started)) / end}%`);
  const used = hasUsed(call);
  const spoken = `from ${seconds(call.started)} to ${seconds(stopped)}`;
  const place = call.role === "proposer" ? `layer ${call.layer}` : call.role;
  const name = element("th", { scope: "row" }, call.agent, element("span", { class: "soft" }, ` ${place}`));
  const cells = [
    element("td", { class: "track" }, bar, element("span", { class: "unseen" }, spoken)),
    element("td", { class: "number" }, seconds(stopped - call.started)),
    element("td", { class: "number" }, used ? tokens(call.usage) : ""),
    element("td", { class: "number" }, used ? money(call.cost_usd) : ""),
  ];
  return element("tr", { "data-state": call.state, "data-role": call.role, class: first ? "first" : null }, name, ...cells);
}
