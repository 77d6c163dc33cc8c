// Building the page. Whatever arrives becomes a text node or an attribute, never markup; the server's policy
// (`page.py`) makes the browser refuse anything else.

/** The element with an id that `index.html` has. */
export const find = (id) => document.getElementById(id);

/** Make an element; children are nodes or texts. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Change a text only if it is another: a live region would read it out again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const numbers = new Intl.NumberFormat("en");

/** 12345 as 12,345. */
export const formatNumber = (number) => numbers.format(number);

/** "1 event", "2 events". */
export const plural = (number, noun) => `${formatNumber(number)} ${noun}${number === 1 ? "" : "s"}`;

const pad = (number, digits) => String(number).padStart(digits, "0");

/** The time of day as the reader's clock has it; with the date, if that is not today's. */
export function formatTime(moment, milliseconds = true) {
  const date = new Date(moment);
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => pad(part, 2)).join(":");
  const time = milliseconds ? `${clock}.${pad(date.getMilliseconds(), 3)}` : clock;
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${pad(date.getMonth() + 1, 2)}-${pad(date.getDate(), 2)} ${clock}`;
}
