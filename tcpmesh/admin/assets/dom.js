// Elements, and texts for numbers.  Whatever a name contains, it reaches the page as text only.

const SVG = "http://www.w3.org/2000/svg";

const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/gu;

/**
 * A text whose characters all can be seen, as `tcpmesh top` has it: control characters, and those
 * that turn the direction of what stands around them, are written as escapes.
 */
function shown(text) {
  return text.replace(UNSEEN, (each) => {
    if (each === "\n") return each;
    const code = each.codePointAt(0).toString(16);
    if (code.length <= 2) return `\\x${code.padStart(2, "0")}`;
    return code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
  });
}

/** Attributes that people read, or hear. */
const READ = new Set(["aria-label", "title"]);

/** An element: attributes by name, functions as listeners, then children, texts as texts. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(key, value === true ? "" : READ.has(key) ? shown(value) : value);
    }
  }
  for (const child of children) {
    if (child === null || child === undefined) continue;
    node.append(typeof child === "string" ? shown(child) : child);
  }
  return node;
}

export const byId = (id) => document.getElementById(id);

/** Set a text where it is another one: untouched nodes cost no layout, and keep a selection. */
export function say(node, text) {
  const now = shown(String(text));
  if (node.textContent !== now) node.textContent = now;
}

/**
 * Make a tree like another one, keeping the nodes that are the same: what somebody points at, or
 * has the focus on, stays where it is.  Nodes with another `data-key` are others.
 */
export function patch(old, wanted) {
  if (old.nodeType === Node.TEXT_NODE && wanted.nodeType === Node.TEXT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  if (old.nodeName !== wanted.nodeName || old.dataset?.key !== wanted.dataset?.key) {
    old.replaceWith(wanted);
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const [before, after] = [[...old.childNodes], [...wanted.childNodes]];
  after.forEach((child, index) => {
    if (index < before.length) patch(before[index], child);
    else old.append(child);
  });
  before.slice(after.length).forEach((child) => child.remove());
}

const SHAPES = {
  circle: "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1z",
  ring: "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1zm0 2a3 3 0 1 1 0 6 3 3 0 1 1 0-6z",
  down: "M.8 2h10.4L6 11z",
  up: "M.8 10h10.4L6 1z",
  diamond: "M6 .5 11.5 6 6 11.5.5 6z",
  square: "M1.5 1.5h9v9h-9z",
  cross: "M2.4 1 6 4.6 9.6 1 11 2.4 7.4 6 11 9.6 9.6 11 6 7.4 2.4 11 1 9.6 4.6 6 1 2.4z",
  half: "M6 1a5 5 0 1 0 0 10zm0 0v2a3 3 0 1 1 0 6v2A5 5 0 1 0 6 1z",
};

export function shape(kind, attributes = { class: "shape" }) {
  return svg(
    "svg",
    { viewBox: "0 0 12 12", "aria-hidden": "true", ...attributes },
    svg("path", { d: SHAPES[kind], "fill-rule": "evenodd" }),
  );
}

/** A status: told by shape, word and colour. */
export function mark(kind, tone, word) {
  return el("span", { class: `mark tone-${tone}` }, shape(kind), el("span", {}, word));
}

export const count = new Intl.NumberFormat("en").format;

const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 }).format;

function scaled(value, units, step) {
  let index = 0;
  while (value >= step && index < units.length - 1) {
    value /= step;
    index += 1;
  }
  return [
    value >= 100 || (index === 0 && Number.isInteger(value))
      ? count(Math.round(value))
      : one(value),
    units[index],
  ];
}

const BYTES = ["B", "kB", "MB", "GB", "TB", "PB"];

export const bytesParts = (value) => scaled(value, BYTES, 1000);
export const bytes = (value) => bytesParts(value).join("\u00a0");
export const byteRate = (value) => `${bytes(value)}/s`;
export const rate = (value) => (value >= 100 ? count(Math.round(value)) : one(value));

/** Seconds as people say them. */
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)}\u00a0ms`;
  if (seconds < 10) return `${one(seconds)}\u00a0s`;
  if (seconds < 120) return `${Math.floor(seconds)}\u00a0s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}\u00a0min`;
  if (seconds < 172800) {
    return `${Math.floor(seconds / 3600)}\u00a0h ${Math.floor((seconds % 3600) / 60)}\u00a0min`;
  }
  return `${Math.floor(seconds / 86400)}\u00a0d ${Math.floor((seconds % 86400) / 3600)}\u00a0h`;
}

export function micros(value) {
  return value < 1000 ? `${count(value)}\u00a0µs` : `${one(value / 1000)}\u00a0ms`;
}

/** The time of day, of seconds since 1970. */
export function clock(seconds) {
  const time = new Date(seconds * 1000);
  return [time.getHours(), time.getMinutes(), time.getSeconds()]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");
}

export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
