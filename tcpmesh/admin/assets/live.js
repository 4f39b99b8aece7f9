// The live page: listens to the stream of events at `live`, and shows what it tells.

import { describe, happened } from "./about.js";
import { takeOverForms } from "./ask.js";
import { Closes, Connections } from "./connections.js";
import { byId, duration, el, say, shape } from "./dom.js";
import { FlowMap, mapCount } from "./map.js";
import { Overview } from "./overview.js";

/** Milliseconds without news until the page says so, and after a refusal until it asks again. */
const SILENCE = 6000;
const AGAIN = 10000;

const STATES = {
  LIVE: ["circle", "good", "live"],
  DRAINING: ["diamond", "warn", "draining"],
  INITIALIZING: ["ring", "warn", "initializing"],
  PRE_INITIALIZING: ["ring", "warn", "pre-initializing"],
};

class Page {
  constructor() {
    this.heard = 0;
    this.source = null;
    this.timer = null;
    this.connections = new Connections();
    this.closes = new Closes();
    this.map = new FlowMap(byId("board"), (fields) => this.connections.find(fields));
    this.search = { text: "", number: 0, timer: null };
    this.overview = new Overview();
    this.findInMap();
    takeOverForms(byId("endpoints"));
    document.addEventListener("visibilitychange", () => this.look(!document.hidden));
    window.addEventListener("pagehide", () => this.look(false));
    window.addEventListener("pageshow", () => this.look(!document.hidden));
    setInterval(() => this.link(), 1000);
    this.sections();
    this.look(!document.hidden);
  }

  // The stream

  look(is) {
    this.connections.search.wake(is);
    this.closes.search.wake(is);
    clearTimeout(this.timer);
    clearTimeout(this.search.timer);
    if (is && this.search.text) this.askMap(this.search.number);
    if (!is) {
      this.source?.close();
      this.source = null;
    } else if (this.source === null) this.open();
  }

  open() {
    this.source = new EventSource("live");
    const kinds = {
      hello: (told) => {
        this.overview.samples = told.samples;
        describe(told);
      },
      tick: (told) => this.tick(told),
      map: (told) => {
        if (!this.search.text) this.showMap(told);
      },
      connections: (told) => this.connections.tell(told),
      closes: (told) => {
        this.closes.tell(told);
        this.map.ended(told.closes);
      },
      events: (told) => {
        this.overview.events = happened(told);
      },
    };
    for (const [kind, take] of Object.entries(kinds)) {
      this.source.addEventListener(kind, (event) => {
        this.heard = Date.now();
        take(JSON.parse(event.data));
        this.link();
      });
    }
    this.source.addEventListener("error", () => {
      if (this.source?.readyState !== EventSource.CLOSED) {
        this.link();
        return;
      }
      this.source = null;
      this.refused();
      this.timer = setTimeout(() => this.look(!document.hidden), AGAIN);
    });
  }

  async refused() {
    let why = "no answer";
    try {
      const response = await fetch("live", { method: "HEAD" });
      if (response.status === 503) why = "as many look at this page as may";
    } catch {
      /* the proxy is gone */
    }
    if (this.source === null) this.linked("cross", "bad", `${why}; trying again`);
  }

  link() {
    if (document.hidden || this.source === null) return;
    const silent = Date.now() - this.heard;
    if (this.source.readyState === EventSource.OPEN && silent < SILENCE) {
      this.linked("circle", "good", "up to date");
    } else if (this.heard) {
      this.linked(
        "cross",
        "bad",
        `no news for ${duration(Math.round(silent / 1000))}; trying again`,
      );
    } else this.linked("ring", "dim", "connecting");
  }

  linked(...how) {
    replace(byId("link"), how);
  }

  // What is told

  tick(told) {
    this.now = told.at;
    replace(byId("state"), STATES[told.state] ?? ["ring", "warn", told.state]);
    say(byId("uptime"), duration(told.uptime));
    this.overview.tick(told);
  }

  // The map

  showMap(map) {
    map.search = this.search.text;
    this.map.show(map, this.now ?? Date.now() / 1000);
    say(byId("map-count"), mapCount(map));
    if (!map.search) this.overview.hosts(map.counts);
  }

  findInMap() {
    const field = byId("map-search");
    byId("map-form").addEventListener("submit", (event) => event.preventDefault());
    field.addEventListener("input", () => {
      clearTimeout(this.search.timer);
      this.search.text = field.value.trim();
      this.search.number += 1;
      this.search.timer = setTimeout(() => this.askMap(this.search.number), 200);
    });
  }

  async askMap(number) {
    const { text } = this.search;
    const began = performance.now();
    try {
      const response = await fetch(`topology?${new URLSearchParams({ search: text })}`);
      const map = await response.json();
      if (number !== this.search.number) return;
      this.showMap(map);
    } catch {
      /* the next one, or the stream, tells */
    }
    if (text && number === this.search.number && !document.hidden) {
      const wait = Math.max(2000, 20 * (performance.now() - began));
      this.search.timer = setTimeout(() => this.askMap(number), wait);
    }
  }

  /** Which section is in view. */
  sections() {
    const links = [...document.querySelectorAll("nav a")];
    const observer = new IntersectionObserver(
      (entries) => {
        for (const entry of entries) entry.target.dataset.seen = entry.isIntersecting ? "1" : "";
        const first = links.find((link) => document.querySelector(link.hash).dataset.seen);
        for (const link of links) {
          if (link === first) link.setAttribute("aria-current", "true");
          else link.removeAttribute("aria-current");
        }
      },
      { rootMargin: "-15% 0px -60% 0px" },
    );
    for (const link of links) observer.observe(document.querySelector(link.hash));
  }
}

/** A status in its place, made anew only where it is another one. */
function replace(node, how) {
  const text = how.join("|");
  if (node.dataset.how === text) return;
  node.dataset.how = text;
  node.className = `mark tone-${how[1]}`;
  node.replaceChildren(shape(how[0]), el("span", {}, how[2]));
}

new Page();
