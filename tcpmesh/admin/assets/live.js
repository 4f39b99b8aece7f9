// The live page: listens to the stream of events at `live`, and shows what it tells.

import { takeOverForms } from "./ask.js";
import { Chart, SPAN } from "./chart.js";
import { Closes, Connections } from "./connections.js";
import { byId, byteRate, bytesParts, clock, count, duration, el, plural, rate, say, shape } from "./dom.js";
import { FlowMap, mapCount } from "./map.js";

/** Milliseconds without news after which the page says so, and after a refusal until it asks again. */
const SILENCE = 6000;
const AGAIN = 10000;

const STATES = {
  LIVE: ["circle", "good", "live"], DRAINING: ["diamond", "warn", "draining"],
  INITIALIZING: ["ring", "warn", "initializing"], PRE_INITIALIZING: ["ring", "warn", "pre-initializing"],
};

const EVENTS = {
  eject_unhealthy_event: ["down", "bad", "unhealthy"], add_healthy_event: ["up", "good", "healthy again"],
  degraded_healthy_host: ["diamond", "warn", "degraded"],
  no_longer_degraded_host: ["up", "good", "no longer degraded"],
  EJECT: ["down", "bad", "ejected"], UNEJECT: ["up", "good", "back in"],
};

class Page {
  constructor() {
    this.samples = [];
    this.events = [];
    this.hello = null;
    this.heard = 0;
    this.source = null;
    this.timer = null;
    this.connections = new Connections();
    this.closes = new Closes();
    this.map = new FlowMap(byId("board"), (fields) => this.connections.find(fields));
    this.search = { text: "", number: 0, timer: null };
    this.throughput = new Chart(byId("throughput"), "Throughput", ["from clients", "to clients"], byteRate);
    this.rates = new Chart(byId("rates"), "Connections per second", ["new", "ended"], rate);
    this.figures();
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
    if (!is) {
      this.source?.close();
      this.source = null;
    } else if (this.source === null) this.open();
  }

  open() {
    this.source = new EventSource("live");
    const kinds = {
      hello: (told) => this.greet(told), tick: (told) => this.tick(told),
      map: (told) => { if (!this.search.text) this.showMap(told); },
      connections: (told) => this.connections.tell(told),
      closes: (told) => this.closes.tell(told), events: (told) => this.happened(told),
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
    } catch { /* the proxy is gone */ }
    if (this.source === null) this.linked("cross", "bad", `${why}; trying again`);
  }

  link() {
    if (document.hidden || this.source === null) return;
    const silent = Date.now() - this.heard;
    if (this.source.readyState === EventSource.OPEN && silent < SILENCE) {
      this.linked("circle", "good", "up to date");
    } else if (this.heard) {
      this.linked("cross", "bad", `no news for ${duration(Math.round(silent / 1000))}; trying again`);
    } else this.linked("ring", "dim", "connecting");
  }

  linked(...how) {
    replace(byId("link"), how);
  }

  // What is told

  greet(told) {
    this.hello = told;
    this.samples = told.samples;
    this.describe(told);
  }

  tick(told) {
    this.now = told.at;
    const last = this.samples.at(-1);
    if (last === undefined || told.sample[0] > last[0]) this.samples.push(told.sample);
    this.samples = thinned(this.samples.filter(([when]) => when > told.at - SPAN - 10));
    replace(byId("state"), STATES[told.state] ?? ["ring", "warn", told.state]);
    say(byId("uptime"), duration(told.uptime));
    this.draw(told);
  }

  draw(told) {
    const rates = this.samples.slice(1).map((sample, index) => between(this.samples[index], sample));
    const marks = this.events.map((event) => [event.at, event.tone === "good" ? "good" : "bad",
      `${event.host} of ${event.cluster}: ${event.word}`]);
    this.throughput.show(rates.map(([at, , , received, sent]) => [at, received, sent]), marks, told.at);
    this.rates.show(rates.map(([at, opened, ended]) => [at, opened, ended]), marks, told.at);
    const now = rates.at(-1) ?? [0, 0, 0, 0, 0];
    const [, open] = told.sample;
    this.figure("open", count(open), "", `${count(told.sample[2])} since the start`);
    this.figure("opened", rate(now[1]), "/s", `${rate(now[2])} ended/s`);
    for (const [name, value] of [["received", now[3]], ["sent", now[4]]]) {
      const [number, unit] = bytesParts(value);
      this.figure(name, number, `${unit}/s`, "");
    }
  }

  figures() {
    const labels = {
      open: "Open connections", opened: "New connections", received: "From clients",
      sent: "To clients", hosts: "Healthy hosts", trouble: "Clusters in trouble",
    };
    this.nodes = {};
    byId("figures").replaceChildren(...Object.entries(labels).map(([name, label]) => {
      const [value, unit, more] = ["value", "unit", "more dim"].map((kind) => el("span", { class: kind }));
      this.nodes[name] = { value, unit, more };
      say(value, "\u2013");
      return el("li", {}, el("span", { class: "label" }, label), value, unit, more);
    }));
  }

  figure(name, value, unit, more) {
    const nodes = this.nodes[name];
    say(nodes.value, value);
    say(nodes.unit, unit);
    say(nodes.more, more);
  }

  describe(told) {
    const facts = {
      up: "", version: told.version, pid: String(told.pid), node: told.node || "not named",
      cluster: told.cluster, configuration: told.config || "from the command line",
      loaded: told.loaded_at ? clock(told.loaded_at) : "",
    };
    byId("about").replaceChildren(...Object.entries(facts).filter(([name, value]) => value || name === "up")
      .map(([name, value]) => el("div", {}, el("dt", {}, name),
        el("dd", name === "up" ? { id: "uptime" } : {}, value))));
    byId("origin").replaceChildren(el("div", { class: "panels" }, warnings(told), factsOf(told)));
  }

  happened(told) {
    this.events = told.events.map(([when, cluster, host, what, why]) => {
      const [kind, tone, word] = EVENTS[what] ?? ["diamond", "warn", what];
      return { at: Date.parse(when) / 1000, cluster, host, kind, tone, word, why };
    });
    const latest = [...this.events].reverse();
    say(byId("events-count"), latest.length ? `the last ${count(latest.length)} of ${count(told.count)}` : "");
    byId("timeline").replaceChildren(latest.length ? el("ol", { tabindex: "0", "aria-label": "Events of hosts" },
      ...latest.map((event) => el("li", { class: `tone-${event.tone}` },
        shape(event.kind, { class: "dotmark" }), el("time", {}, clock(event.at)),
        el("strong", {}, event.word), el("span", { class: "what" }, event.host, el("span", { class: "dim" },
          ` of ${event.cluster}${event.why ? ` (${event.why})` : ""}`))))) : el("p", { class: "empty" },
      "Nothing has happened to any host. Health checks and outlier detection report here, where a "
      + "cluster has health_checks or outlier_detection."));
  }

  // The map

  showMap(map) {
    map.search = this.search.text;
    this.map.show(map, this.now ?? Date.now() / 1000);
    say(byId("map-count"), mapCount(map));
    if (map.search) return;
    const { hosts, unhealthy, clusters, trouble } = map.counts;
    this.figure("hosts", count(hosts - unhealthy), `of ${count(hosts)}`, unhealthy ? `${count(unhealthy)} unhealthy` : "");
    this.figure("trouble", count(trouble), `of ${count(clusters)}`, trouble ? "hosts are not well" : "");
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
    } catch { /* the next one, or the stream, tells */ }
    if (text && number === this.search.number && !document.hidden) {
      const wait = Math.max(2000, 20 * (performance.now() - began));
      this.search.timer = setTimeout(() => this.askMap(number), wait);
    }
  }

  /** Which section is in view. */
  sections() {
    const links = [...document.querySelectorAll("nav a")];
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.target.dataset.seen = entry.isIntersecting ? "1" : "";
      const first = links.find((link) => document.querySelector(link.hash).dataset.seen);
      for (const link of links) {
        if (link === first) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }, { rootMargin: "-15% 0px -60% 0px" });
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

/** [when, opened, ended, received, sent] a second, between two samples. */
function between([before, open0, accepted0, received0, sent0], [at, open, accepted, received, sent]) {
  const seconds = at - before;
  const a = (now, then) => Math.max(0, now - then) / seconds;
  const opened = accepted - accepted0;
  return [at, a(accepted, accepted0), Math.max(0, opened - (open - open0)) / seconds,
    a(received, received0), a(sent, sent0)];
}

/** Beyond the last minute a sample for each five seconds is enough. */
function thinned(samples) {
  const recent = samples.at(-1)[0] - 60;
  let last = -Infinity;
  return samples.filter(([when]) => {
    if (when < recent && when - last < 4) return false;
    last = when;
    return true;
  });
}

function warnings(told) {
  const rest = told.warning_count - told.warnings.length;
  const body = told.warnings.length ? el("ul", { class: "warnings" },
    ...told.warnings.map(({ place, path, text }) => el("li", {}, el("div", {}, text),
      el("div", { class: "dim" }, el("code", {}, place), ` ${path}`))),
    rest > 0 ? el("li", {}, `and ${plural(rest, "more warning")}, in the log`) : null)
    : el("p", { class: "dim" }, "No warnings.");
  return el("div", {}, el("h3", {}, "Warnings of the configuration"), body);
}

function factsOf(told) {
  const loaded = told.loaded_at ? new Date(told.loaded_at * 1000).toLocaleString() : "unknown";
  const rows = [["File", told.config || "from the command line"], ["Loaded", loaded],
    ["Started", new Date(told.started_at * 1000).toLocaleString()],
    ...told.workers.map((worker) => ["Worker", worker])];
  return el("div", {}, el("h3", {}, "What is running"), el("dl", { class: "plain" },
    ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}

new Page();
