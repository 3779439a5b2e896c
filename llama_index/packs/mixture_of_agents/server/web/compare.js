// The proposals of a layer side by side. Words that no other proposal of the layer has are marked.

import { count, element } from "./elements.js";
import { MarkdownWriter } from "./markdown.js";
import { callsOf } from "./run_state.js";

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });
const LONGEST = 50_000; // characters of a text that is compared; what is longer is compared up to there

/** Draws the comparison into a panel. */
export class Comparison {
  constructor(panel) {
    this.panel = panel;
    this.layer = 0; // the layer that the user chose; 0 is the last one that has proposals
  }

  clear() {
    this.layer = 0;
    this.panel.replaceChildren();
  }

  draw(run) {
    const layers = run.layers.filter((layer) => proposalsOf(run, layer.number).length);
    if (!layers.length) {
      this.panel.replaceChildren(element("p", { class: "soft" }, "No model has proposed anything yet."));
      return;
    }
    const chosen = layers.find((layer) => layer.number === this.layer) ?? layers.at(-1);
    const proposals = proposalsOf(run, chosen.number);
    this.panel.replaceChildren(...this.head(run, layers, chosen), sideBySide(proposals));
  }

  head(run, layers, chosen) {
    const explained = element("p", { class: "soft" }, "Marked: words that no other proposal of the layer has.");
    if (layers.length < 2) return [explained];
    const select = element("select", { id: "compare-layer" });
    for (const { number } of layers) {
      select.append(element("option", { value: String(number), selected: number === chosen.number }, `Layer ${number}`));
    }
    select.addEventListener("change", () => {
      this.layer = Number(select.value);
      this.draw(run);
      this.panel.querySelector("select").focus();
    });
    const label = element("label", { for: "compare-layer" }, "Proposals of");
    return [element("div", { class: "row choose" }, label, select), explained];
  }
}

function proposalsOf(run, layer) {
  const calls = callsOf(run, layer).filter((call) => call.role === "proposer");
  return calls.flatMap((call) => call.proposals.map(({ text }) => ({ agent: call.agent, text })));
}

/** A card for each proposal, as it looks elsewhere on the page, with its own words marked. */
function sideBySide(proposals) {
  const columns = proposals.map(({ agent, text }) => {
    const shown = element("div", { class: "text" });
    new MarkdownWriter(shown, 5).show(text);
    return { agent, shown, words: new Set(wordsIn(shown.textContent)) };
  });
  const holders = new Map(); // word -> the number of proposals that have it
  for (const column of columns) for (const word of column.words) holders.set(word, (holders.get(word) ?? 0) + 1);
  const cards = columns.map(({ agent, shown }) => {
    const marks = columns.length > 1 ? mark(shown, (word) => holders.get(word) === 1) : 0;
    const found = marks ? count(marks, "difference") : "Nothing of its own";
    return element("li", { class: "card" }, element("h4", {}, agent), element("p", { class: "soft" }, found), shown);
  });
  return element("ul", { class: "cards plain side-by-side" }, ...cards);
}

const pieces = (text) => [...segmenter.segment(text.slice(0, LONGEST))];
const wordsIn = (text) => pieces(text).filter((one) => one.isWordLike).map((one) => one.segment.toLocaleLowerCase());

/** Mark the words of an element for which `alone` holds. Returns the number of marks. */
function mark(shown, alone) {
  const walker = document.createTreeWalker(shown, NodeFilter.SHOW_TEXT);
  const nodes = [];
  let left = LONGEST;
  while (left > 0 && walker.nextNode()) {
    nodes.push(walker.currentNode);
    left -= walker.currentNode.data.length;
  }
  for (const node of nodes) {
    const rest = node.data.slice(LONGEST);
    node.replaceWith(...marked(pieces(node.data), alone), rest);
  }
  return shown.querySelectorAll("mark").length;
}

/** The pieces of a text as texts and marks. Words that follow one another are in one mark. */
function marked(parts, alone) {
  const shown = [];
  let own = ""; // words of its own
  let between = ""; // what stands behind them
  const flush = () => {
    if (own) shown.push(element("mark", {}, own));
    shown.push(between);
    own = between = "";
  };
  for (const { segment, isWordLike } of parts) {
    if (isWordLike && alone(segment.toLocaleLowerCase())) {
      if (own) own += between;
      else flush();
      between = "";
      own += segment;
    } else {
      if (isWordLike) flush();
      between += segment;
    }
  }
  flush();
  return shown;
}
