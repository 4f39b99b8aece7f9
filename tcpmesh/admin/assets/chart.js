// A chart of the last ten minutes: two lines, drawn as SVG, so that it follows the colours of the
// page, can be read out, and needs no library.

import { el, svg } from "./dom.js";

export const SPAN = 600;
/** Where less is known than ten minutes, the chart shows that, but no less than this. */
const LEAST = 60;
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 8, 8, 22];

/** Seconds between two labels, of which there are six at most, or three where there is no room. */
function step(span, room) {
  return [10, 15, 30, 60, 120, 300].find((seconds) => span / seconds <= (room ? 6 : 3));
}

function label(seconds) {
  if (!seconds) return "now";
  return seconds % 60 ? `\u2212${seconds} s` : `\u2212${seconds / 60} min`;
}

/** The least round number that is not below a value, and what a quarter of the way up is. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((step) => step >= value);
}

export class Chart {
  /** `series`: for each line its name, and `text`, which says a value. */
  constructor(figure, title, series, text) {
    this.series = series;
    this.text = text;
    this.title = title;
    this.samples = [];
    this.events = [];
    this.now = 0;
    this.span = LEAST;
    this.at = null;
    this.keys = series.map((name, index) => {
      const value = el("b", {});
      const line = svg(
        "svg",
        { viewBox: "0 0 26 10", "aria-hidden": "true" },
        svg("path", { d: "M1 5h24", class: `line line-${index}` }),
      );
      return { value, node: el("span", { class: "key" }, line, `${name} `, value) };
    });
    this.when = el("span", { class: "dim" });
    this.root = svg("svg", {
      class: "chart",
      role: "img",
      tabindex: "0",
      pointermove: (event) => this.point(event.offsetX),
      pointerleave: () => this.point(null),
      blur: () => this.point(null),
      keydown: (event) => this.key(event),
    });
    figure.replaceChildren(
      el("figcaption", {}, el("strong", {}, title), this.when, ...this.keys.map((key) => key.node)),
      this.root,
    );
    new ResizeObserver(() => this.draw()).observe(this.root);
  }

  /** Samples are [seconds since 1970, value of each line]; events [seconds, tone, text]. */
  show(samples, events, now) {
    this.samples = samples;
    this.events = events;
    this.now = now;
    this.span = Math.min(SPAN, Math.max(LEAST, samples.length ? now - samples[0][0] : 0));
    this.draw();
  }

  point(x) {
    if (x === null) this.at = null;
    else {
      const wanted = this.now - this.span + (this.span * (x - LEFT)) / this.width;
      this.at = this.nearest(wanted);
    }
    this.draw();
  }

  nearest(wanted) {
    let best = null;
    this.samples.forEach(([when], index) => {
      if (best === null || Math.abs(when - wanted) < Math.abs(this.samples[best][0] - wanted)) {
        best = index;
      }
    });
    return best;
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") this.point(null);
    if (step === undefined || !this.samples.length) return;
    event.preventDefault();
    const last = this.samples.length - 1;
    this.at = Math.max(0, Math.min(last, (this.at ?? last) + step));
    this.draw();
  }

  get width() {
    return Math.max(1, this.root.clientWidth - LEFT - RIGHT);
  }

  draw() {
    const height = Math.max(1, this.root.clientHeight - TOP - BOTTOM);
    const peak = Math.max(0, ...this.samples.flatMap((sample) => sample.slice(1)));
    const top = ceiling(peak);
    const x = (when) => LEFT + (this.width * (when - this.now + this.span)) / this.span;
    const y = (value) => TOP + height * (1 - value / top);
    this.root.replaceChildren(
      ...this.grid(top, y, height),
      ...this.lines(x, y),
      ...this.marks(x, height),
      ...this.cross(x, y),
    );
    this.describe(peak);
  }

  grid(top, y, height) {
    const found = [];
    for (const share of [0, 0.5, 1]) {
      const level = y(share * top);
      found.push(
        svg("line", { class: "grid", x1: LEFT, x2: LEFT + this.width, y1: level, y2: level }),
      );
      found.push(
        svg("text", { x: LEFT - 8, y: level + 4, "text-anchor": "end" }, this.text(share * top)),
      );
    }
    const between = step(this.span, this.width > 300);
    for (let seconds = 0; seconds <= this.span; seconds += between) {
      const share = seconds / this.span;
      found.push(
        svg(
          "text",
          {
            x: LEFT + this.width * (1 - share),
            y: TOP + height + 17,
            "text-anchor": share < 0.05 ? "end" : share > 0.95 ? "start" : "middle",
          },
          label(seconds),
        ),
      );
    }
    return found;
  }

  lines(x, y) {
    if (this.samples.length < 2) return [];
    const paths = this.series.map((_, index) =>
      this.samples
        .map(
          (sample, place) =>
            `${place ? "L" : "M"}${x(sample[0]).toFixed(1)} ${y(sample[index + 1]).toFixed(1)}`,
        )
        .join(""),
    );
    const [first, last] = [this.samples[0][0], this.samples.at(-1)[0]];
    const area = `${paths[0]}L${x(last)} ${y(0)}L${x(first)} ${y(0)}z`;
    return [
      svg("path", { class: "area-0", d: area }),
      ...paths.map((d, index) => svg("path", { class: `line line-${index}`, d })).reverse(),
    ];
  }

  marks(x, height) {
    return this.events
      .filter(([when]) => when >= this.now - this.span)
      .map(([when, tone, text]) => {
        const [at, base] = [x(when), TOP + height];
        const d =
          tone === "good" ? `M${at - 4} ${base}h8l-4 -7z` : `M${at - 4} ${base - 7}h8l-4 7z`;
        return svg("path", { class: `event-${tone}`, d }, svg("title", {}, text));
      });
  }

  cross(x, y) {
    const sample = this.at === null ? this.samples.at(-1) : this.samples[this.at];
    if (sample === undefined) {
      this.keys.forEach(({ value }) => {
        value.textContent = "\u2013";
      });
      return [];
    }
    this.keys.forEach(({ value }, index) => {
      value.textContent = this.text(sample[index + 1]);
    });
    const ago = Math.round(this.now - sample[0]);
    this.when.textContent = this.at === null ? "" : `${ago} s ago`;
    const dots = this.series.map((_, index) =>
      svg("circle", {
        class: `dot-${index}`,
        cx: x(sample[0]),
        cy: y(sample[index + 1]),
        r: 3,
      }),
    );
    if (this.at === null) return dots;
    return [
      svg("line", {
        class: "cross",
        x1: x(sample[0]),
        x2: x(sample[0]),
        y1: TOP,
        y2: y(0),
      }),
      ...dots,
    ];
  }

  describe(peak) {
    const sample = this.at === null ? this.samples.at(-1) : this.samples[this.at];
    const values =
      sample === undefined
        ? "nothing known yet"
        : this.series.map((name, index) => `${name} ${this.text(sample[index + 1])}`).join(", ");
    const when = this.at === null ? "now" : this.when.textContent;
    const text =
      `${this.title} of the last ${
        Math.round(this.span / 60) === 1 ? "minute" : `${Math.round(this.span / 60)} minutes`
      }, peak ${this.text(peak)}; ${when}: ${values}. ` + "Arrow keys read earlier values.";
    if (this.root.getAttribute("aria-label") !== text) this.root.setAttribute("aria-label", text);
  }
}
