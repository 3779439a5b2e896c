// Makes elements. Texts become text nodes, never HTML: what a model wrote is shown and not run.

/**
 * Make an element.
 *
 * @param {string} name its tag.
 * @param {object} attributes its attributes; one that is null, undefined or false is left out.
 * @param {...(Node|string)} children elements and texts; null is left out.
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(key, value === true ? "" : value);
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** Show a text in an element, or hide the element if there is none. */
export function showText(shown, text) {
  shown.textContent = text;
  shown.hidden = !text;
}

/** Do something at the next frame, once, however often it is asked for before. */
export function oncePerFrame(action) {
  let waits = false;
  return () => {
    if (waits) return;
    waits = true;
    // A page in the background has no frames.
    const later = document.hidden ? (todo) => setTimeout(todo, 100) : requestAnimationFrame;
    later(() => {
      waits = false;
      action();
    });
  };
}

const fixed = (digits) => new Intl.NumberFormat("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
const [SHORT, LONG] = [fixed(2), fixed(1)];
const WHOLE = new Intl.NumberFormat("en");

export const seconds = (number) => `${(number < 1 ? SHORT : LONG).format(Math.max(0, number))} s`;

export const count = (number, what) => `${WHOLE.format(number)} ${what}${number === 1 ? "" : "s"}`;

/** US dollars; null is a price that is not known. */
export function money(usd) {
  if (usd === null || usd === undefined) return "price unknown";
  if (usd > 0 && usd < 0.00001) return "< $0.00001";
  return `$${usd.toFixed(5)}`;
}

/** The tokens of a call; "~" before those that no provider reported. */
export function tokens(usage) {
  const about = usage.estimated ? "~" : "";
  return `${about}${WHOLE.format(usage.input_tokens)} in, ${about}${WHOLE.format(usage.output_tokens)} out`;
}
