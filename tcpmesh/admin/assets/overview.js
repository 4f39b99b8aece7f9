// The figures at the top, and the charts of throughput and connections.

import { Chart, SPAN } from "./chart.js";
import { byId, byteRate, bytesParts, count, el, rate, say } from "./dom.js";

export class Overview {
  constructor() {
    this.samples = [];
    this.events = [];
    this.throughput = new Chart(
      byId("throughput"),
      "Throughput",
      ["from clients", "to clients"],
      byteRate,
    );
    this.rates = new Chart(byId("rates"), "Connections per second", ["new", "ended"], rate);
    this.figures();
  }

  /** How much there was at one more moment. */
  tick(told) {
    const last = this.samples.at(-1);
    if (last === undefined || told.sample[0] > last[0]) this.samples.push(told.sample);
    this.samples = thinned(this.samples.filter(([when]) => when > told.at - SPAN - 10));
    this.draw(told);
  }

  draw(told) {
    const rates = this.samples
      .slice(1)
      .map((sample, index) => between(this.samples[index], sample));
    const marks = this.events.map((event) => [
      event.at,
      event.tone === "good" ? "good" : "bad",
      `${event.host} of ${event.cluster}: ${event.word}`,
    ]);
    this.throughput.show(
      rates.map(([at, , , received, sent]) => [at, received, sent]),
      marks,
      told.at,
    );
    this.rates.show(
      rates.map(([at, opened, ended]) => [at, opened, ended]),
      marks,
      told.at,
    );
    const now = rates.at(-1) ?? [0, 0, 0, 0, 0];
    const [, open] = told.sample;
    this.figure("open", count(open), "", `${count(told.sample[2])} since the start`);
    this.figure("opened", rate(now[1]), "/s", `${rate(now[2])} ended/s`);
    for (const [name, value] of [
      ["received", now[3]],
      ["sent", now[4]],
    ]) {
      const [number, unit] = bytesParts(value);
      this.figure(name, number, `${unit}/s`, "");
    }
  }

  figures() {
    const labels = {
      open: "Open connections",
      opened: "New connections",
      received: "From clients",
      sent: "To clients",
      hosts: "Healthy hosts",
      trouble: "Clusters in trouble",
    };
    this.nodes = {};
    byId("figures").replaceChildren(
      ...Object.entries(labels).map(([name, label]) => {
        const [value, unit, more] = ["value", "unit", "more dim"].map((kind) =>
          el("span", { class: kind }),
        );
        this.nodes[name] = { value, unit, more };
        say(value, "\u2013");
        return el("li", {}, el("span", { class: "label" }, label), value, unit, more);
      }),
    );
  }

  figure(name, value, unit, more) {
    const nodes = this.nodes[name];
    say(nodes.value, value);
    say(nodes.unit, unit);
    say(nodes.more, more);
  }

  /** How the hosts are, of a map of all. */
  hosts({ hosts, unhealthy, clusters, trouble }) {
    this.figure(
      "hosts",
      count(hosts - unhealthy),
      `of ${count(hosts)}`,
      unhealthy ? `${count(unhealthy)} unhealthy` : "",
    );
    this.figure(
      "trouble",
      count(trouble),
      `of ${count(clusters)}`,
      trouble ? "no hosts, or not all well" : "",
    );
  }
}

/** [when, opened, ended, received, sent] a second, between two samples. */
function between(
  [before, open0, accepted0, received0, sent0],
  [at, open, accepted, received, sent],
) {
  const seconds = at - before;
  const a = (now, then) => Math.max(0, now - then) / seconds;
  const opened = accepted - accepted0;
  return [
    at,
    a(accepted, accepted0),
    Math.max(0, opened - (open - open0)) / seconds,
    a(received, received0),
    a(sent, sent0),
  ];
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
