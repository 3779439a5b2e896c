// The inline part of Markdown: code, emphasis, links. It reads each text in linear time, whatever a model wrote.

import { element } from "./elements.js";

const SAFE = new Set(["http:", "https:", "mailto:"]);
const EMPHASIS = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];
const BARE = /https?:\/\/[^\s<>"'`\])]+/y;
const LONGEST_TARGET = 2000; // characters
const ESCAPED = /[\\`*_{}[\]()#+\-.!|>~<]/;
const SPECIAL = /[\\`*_~[!h\n]/g;

/** Write a text with its marks into an element, and return the element. */
export function writeInline(parent, text) {
  new Inline(text, parent, new Set()).write();
  return parent;
}

class Inline {
  constructor(text, parent, within) {
    this.text = text;
    this.parent = parent;
    this.within = within; // marks that are open around this text: they do not begin again in it
    this.at = 0;
    this.plain = 0; // where the text that is not written yet begins
    this.found = new Map(); // mark -> where it was found last, so that no search is made twice
  }

  write() {
    const { text } = this;
    while (this.at < text.length) {
      SPECIAL.lastIndex = this.at;
      const next = SPECIAL.exec(text);
      if (!next) break;
      this.at = next.index;
      if (!this.special(text[this.at])) this.at += 1;
    }
    this.at = text.length;
    this.flush();
  }

  /** Write what begins here, if anything does. */
  special(character) {
    if (character === "\\") return this.escape();
    if (character === "\n") return this.lineBreak();
    if (character === "`") return this.code();
    if (character === "[" || character === "!") return this.link();
    if (character === "h") return this.address();
    return EMPHASIS.some(([mark, name]) => this.emphasis(mark, name));
  }

  flush() {
    if (this.plain < this.at) this.parent.append(this.text.slice(this.plain, this.at));
  }

  /** Write an element in place of the text up to `end`. */
  put(made, end) {
    this.flush();
    this.parent.append(made);
    this.at = this.plain = end;
    return true;
  }

  /** Where a mark comes next, from a place on; -1 if it does not. */
  next(mark, from) {
    const known = this.found.get(mark);
    if (known === -1 || known >= from) return known;
    const place = this.text.indexOf(mark, from);
    this.found.set(mark, place);
    return place;
  }

  escape() {
    if (!ESCAPED.test(this.text[this.at + 1] ?? "")) return false;
    this.flush();
    this.plain = this.at + 1;
    this.at += 2;
    return true;
  }

  lineBreak() {
    return this.put(element("br"), this.at + 1);
  }

  code() {
    let length = 1;
    while (this.text[this.at + length] === "`") length += 1;
    const mark = "`".repeat(length);
    const end = this.next(mark, this.at + length);
    if (end === -1) {
      this.at += length;
      return true;
    }
    return this.put(element("code", {}, this.text.slice(this.at + length, end).trim()), end + length);
  }

  emphasis(mark, name) {
    const { text, at } = this;
    const begin = at + mark.length;
    if (this.within.has(mark) || !text.startsWith(mark, at) || !/\S/.test(text[begin] ?? " ")) return false;
    const word = mark.includes("_");
    if (word && /[\p{L}\p{N}]/u.test(text[at - 1] ?? " ")) return false;
    let end = this.next(mark, begin);
    // A single star is not half of a double one.
    while (mark.length === 1 && end !== -1 && text[end + 1] === mark) {
      this.found.set(mark, text.indexOf(mark, end + 2));
      end = this.found.get(mark);
    }
    if (mark === "**" && end !== -1 && text[end + 2] === "*") end += 1; // "***": the inner mark ends first
    if (end <= begin || !/\S/.test(text[end - 1])) return false;
    if (word && /[\p{L}\p{N}]/u.test(text[end + mark.length] ?? " ")) return false;
    const made = element(name);
    new Inline(text.slice(begin, end), made, new Set([...this.within, mark])).write();
    return this.put(made, end + mark.length);
  }

  /** A link, or an image, which becomes a link: the page loads nothing from elsewhere. */
  link() {
    const { text, at } = this;
    const image = text[at] === "!";
    const begin = at + (image ? 2 : 1);
    if (this.within.has("[") || (image && text[at + 1] !== "[")) return false;
    const middle = this.next("]", begin);
    if (middle === -1 || text[middle + 1] !== "(") return false;
    let end = this.next(")", middle + 2);
    if (end === -1 || end - middle > LONGEST_TARGET) return false;
    if (text[end + 1] === ")" && text.slice(middle + 2, end).includes("(")) end += 1;
    const [target] = text.slice(middle + 2, end).trim().split(/\s/, 1);
    const href = safeAddress(target);
    if (!href) return false; // it stays text, as the model wrote it
    const made = anchor(href);
    if (image) made.append("Image: ");
    new Inline(text.slice(begin, middle) || target, made, new Set([...this.within, "["])).write();
    return this.put(made, end + 1);
  }

  address() {
    BARE.lastIndex = this.at;
    const found = this.within.has("[") ? null : BARE.exec(this.text);
    if (!found) return false;
    const shown = found[0].replace(/[.,;:!?*_~]{1,9}$/, "");
    const href = safeAddress(shown);
    if (!href) return false;
    const made = anchor(href);
    made.append(shown);
    return this.put(made, this.at + shown.length);
  }
}

/** The address, if following it can do no harm to this page; else "". */
function safeAddress(target) {
  try {
    return SAFE.has(new URL(target).protocol) ? new URL(target).href : "";
  } catch {
    return "";
  }
}

function anchor(href) {
  return element("a", { href, target: "_blank", rel: "noopener noreferrer nofollow", title: href.slice(0, 200) });
}
