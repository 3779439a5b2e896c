// Markdown as elements: paragraphs, headings, lists, quotes, tables, code. HTML in it stays text, an image is a link.

import { element } from "./elements.js";
import { writeInline } from "./inline.js";

const DEEPEST = 8; // levels of quotes and lists in each other; what is deeper is text
const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?: {1,4}|$)/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const DELIMITERS = /^ {0,3}\|?(?: *:?-+:? *\|)* *:?-+:? *\|? *$/;
const LONGEST_RULE = 200; // characters; a longer line is text
const WIDEST = 500; // characters of the line below a table's head
const LOWEST_HEADING = 6;

/**
 * Write a text into an element while it grows. Blocks that are complete are written once.
 */
export class MarkdownWriter {
  /**
   * @param {Element} parent the element, which holds nothing else.
   * @param {number} top the level of its first heading.
   */
  constructor(parent, top) {
    this.parent = parent;
    this.top = top;
    this.clear();
  }

  clear() {
    this.parent.replaceChildren();
    this.text = "";
    this.settled = 0; // characters whose blocks will not change
    this.tail = null; // the last block's element
    this.outline = { top: this.top, levels: [] };
  }

  /**
   * Show this text.
   *
   * @param {string} text the text. If it continues the one before, only its last block is written again.
   * @param {boolean} whole whether it will not grow: then it is written from its start.
   */
  show(text, whole = true) {
    const next = text.replaceAll("\r\n", "\n");
    if (whole || !next.startsWith(this.text)) this.clear();
    this.text = next;
    this.tail?.remove();
    const lines = next.slice(this.settled).split("\n");
    const blocks = blocksOf(lines);
    const last = blocks.pop();
    for (const block of blocks) this.parent.append(write(block, this.outline));
    if (!last) return;
    this.settled = next.length - lines.slice(last.at).join("\n").length;
    this.tail = write(last, { top: this.top, levels: [...this.outline.levels] });
    this.parent.append(this.tail);
  }
}

/** The blocks of some lines, each with the place of its first line. */
function blocksOf(lines) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const [block, end] = blockAt(lines, at);
    blocks.push({ ...block, at });
    at = end;
  }
  return blocks;
}

function blockAt(lines, at) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return fenced(lines, at, fence[1]);
  if (isRule(line)) return [{ kind: "rule" }, at + 1];
  const level = headingLevel(line);
  if (level) return [{ kind: "heading", level, text: withoutHashes(line.trim().slice(level)) }, at + 1];
  if (isQuote(line)) return quote(lines, at);
  if (ITEM.test(line)) return list(lines, at);
  if (isTable(lines, at)) return table(lines, at);
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !begins(lines, end)) end += 1;
  return [{ kind: "paragraph", text: lines.slice(at, end).join("\n") }, end];
}

/** Whether a block other than a paragraph begins here, which ends the paragraph before. */
function begins(lines, at) {
  const line = lines[at];
  return FENCE.test(line) || isRule(line) || headingLevel(line) > 0 || isQuote(line) || ITEM.test(line) || isTable(lines, at);
}

const isRule = (line) => line.length < LONGEST_RULE && RULE.test(line);
const isQuote = (line) => /^ {0,3}>/.test(line);

function headingLevel(line) {
  const found = /^ {0,3}(#{1,6})(?: |$)/.exec(line);
  return found ? found[1].length : 0;
}

function withoutHashes(text) {
  let end = text.length;
  while (end > 0 && text[end - 1] === "#") end -= 1;
  return (end === 0 || text[end - 1] === " " ? text.slice(0, end) : text).trim();
}

function fenced(lines, at, mark) {
  let end = at + 1;
  const closes = (line) => line.trim().startsWith(mark) && !line.trim().replaceAll(mark[0], "");
  while (end < lines.length && !closes(lines[end])) end += 1;
  return [{ kind: "code", text: lines.slice(at + 1, end).join("\n") }, end + 1];
}

function quote(lines, at) {
  let end = at;
  while (end < lines.length && isQuote(lines[end])) end += 1;
  return [{ kind: "quote", lines: lines.slice(at, end).map((line) => line.replace(/^ {0,3}> ?/, "")) }, end];
}

function list(lines, at) {
  const numbered = /\d/.test(ITEM.exec(lines[at])[2]);
  const items = [];
  let indent = 0;
  let end = at;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const inside = items.length > 0 && (line.search(/\S/) >= indent || !line.trim());
    const item = inside ? null : ITEM.exec(line);
    if (item && /\d/.test(item[2]) === numbered && !isRule(line)) {
      indent = item[0].length;
      items.push([line.slice(indent)]);
    } else if (inside || (lines[end - 1].trim() && !begins(lines, end))) {
      items.at(-1).push(line.trim() && inside ? line.slice(indent) : line.trim());
    } else {
      break;
    }
  }
  const start = numbered ? Number.parseInt(lines[at].trim(), 10) : 1;
  return [{ kind: "list", numbered, start, items }, end];
}

function isTable(lines, at) {
  const next = lines[at + 1] ?? "";
  if (!lines[at].includes("|") || !next.includes("-") || next.length > WIDEST || !DELIMITERS.test(next)) return false;
  return cellsOf(lines[at]).length === cellsOf(next).length;
}

function table(lines, at) {
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) end += 1;
  const [head, , ...others] = lines.slice(at, end).map(cellsOf);
  const rows = others.map((cells) => head.map((_, place) => cells[place] ?? ""));
  return [{ kind: "table", head, rows }, end];
}

function cellsOf(line) {
  const trimmed = line.trim();
  const inner = trimmed.startsWith("|") ? trimmed.slice(1) : trimmed;
  const cells = inner.replaceAll("\\|", "\0").split("|");
  if (cells.length > 1 && !cells.at(-1).trim()) cells.pop();
  return cells.map((cell) => cell.replaceAll("\0", "|").trim());
}

const WRITERS = {
  rule: () => element("hr"),
  paragraph: (block) => writeInline(element("p"), block.text),
  code: (block) => element("pre", { tabindex: "0" }, element("code", {}, block.text)),
  // No level is left out, whatever the model's are: a screen reader lists headings as an outline.
  heading(block, { top, levels }) {
    while (levels.length && levels.at(-1) >= block.level) levels.pop();
    levels.push(block.level);
    const level = Math.min(top - 1 + levels.length, LOWEST_HEADING);
    return writeInline(element(`h${level}`), block.text);
  },
  quote: (block, outline, depth) => append(element("blockquote"), block.lines, outline, depth),
  list(block, outline, depth) {
    const name = block.numbered ? "ol" : "ul";
    const start = block.start === 1 ? null : block.start;
    const items = block.items.map((lines) => append(element("li"), lines, outline, depth));
    return element(name, { start }, ...items);
  },
  table(block) {
    const row = (cells, name) => element("tr", {}, ...cells.map((cell) => writeInline(element(name), cell)));
    const body = block.rows.map((cells) => row(cells, "td"));
    const drawn = element("table", {}, element("thead", {}, row(block.head, "th")), element("tbody", {}, ...body));
    return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" }, drawn);
  },
};

function write(block, outline, depth = 0) {
  return WRITERS[block.kind](block, outline, depth);
}

/** Write the blocks of some lines into an element. */
function append(parent, lines, outline, depth) {
  if (depth >= DEEPEST) return writeInline(parent, lines.join("\n"));
  const blocks = blocksOf(lines);
  const tight = blocks.length > 0 && blocks[0].kind === "paragraph" && parent.tagName === "LI";
  blocks.forEach((block, place) => {
    if (tight && place === 0) writeInline(parent, block.text);
    else parent.append(write(block, outline, depth + 1));
  });
  return parent;
}
