// The table of connections, that of those that have ended, and how one is closed.

import { ask, post } from "./ask.js";
import {
  byteRate,
  bytes,
  byId,
  clock,
  count,
  duration,
  el,
  mark,
  micros,
  plural,
  say,
} from "./dom.js";
import { LiveTable } from "./table.js";

const LIMIT = 50;
const PAUSE = 2000;
/** How many times as long as an answer took nothing is asked: a proxy with many has more to do. */
const EASE = 20;

const PHASES = {
  accepting: ["ring", "dim"],
  peeking: ["ring", "dim"],
  filtering: ["ring", "dim"],
  connecting: ["diamond", "warn"],
  relaying: ["circle", "good"],
  half_closed: ["half", "warn"],
  flushing: ["diamond", "warn"],
  closed: ["square", "dim"],
};

const ENDED_BY = {
  downstream: ["up", "dim", "client"],
  upstream: ["down", "warn", "host"],
  proxy: ["square", "bad", "proxy"],
};

/** `cluster=db age>60 rest`: parameters of fields, and what is searched for everywhere. */
export function query(text) {
  const parameters = new URLSearchParams();
  const rest = [];
  for (const word of text.trim().split(/\s+/)) {
    const found = /^([a-z_]+)([=<>])(.+)$/.exec(word);
    if (found) parameters.append(found[1], (found[2] === "=" ? "" : found[2]) + found[3]);
    else if (word) rest.push(word);
  }
  if (rest.length) parameters.append("search", rest.join(" "));
  return parameters;
}

/** Seconds since 1970, of a number or a text. */
const seconds = (when) => (typeof when === "number" ? when : Date.parse(when) / 1000);

/** What a table shows: that of the stream, or where somebody searches its own question's. */
class Search {
  constructor(name, path, take) {
    this.path = path;
    this.take = take;
    this.field = byId(`${name}-search`);
    this.problem = byId(`${name}-problem`);
    this.number = 0;
    this.timer = null;
    this.live = true;
    byId(`${name}-form`).addEventListener("submit", (event) => event.preventDefault());
    this.field.addEventListener("input", () => this.again(200));
  }

  set(text) {
    this.field.value = text;
    this.again(0);
  }

  /** `extra`: parameters such as the order; `null` where it is that of the stream. */
  get extra() {
    return null;
  }

  get isPlain() {
    return !this.field.value.trim() && this.extra === null;
  }

  again(wait) {
    clearTimeout(this.timer);
    this.number += 1;
    this.timer = setTimeout(() => this.ask(this.number, true), wait);
  }

  async ask(number, anew) {
    this.problem.hidden = true;
    if (this.isPlain) {
      this.take(null, anew);
      return;
    }
    const parameters = query(this.field.value);
    for (const [name, value] of this.extra ?? []) parameters.set(name, value);
    parameters.set("format", "json");
    parameters.set("limit", LIMIT);
    const began = performance.now();
    try {
      const response = await fetch(`${this.path}?${parameters}`);
      if (number !== this.number) return;
      if (response.ok) this.take(await response.json(), anew);
      else this.complain(await response.text());
    } catch {
      if (number !== this.number) return;
    }
    const wait = Math.max(PAUSE, EASE * (performance.now() - began));
    if (number === this.number && this.live) {
      this.timer = setTimeout(() => this.ask(number, false), wait);
    }
  }

  complain(text) {
    this.problem.hidden = false;
    say(this.problem, text.trim().slice(0, 1000));
  }

  /** Nobody looks, or somebody does again. */
  wake(live) {
    this.live = live;
    clearTimeout(this.timer);
    if (live) this.again(0);
  }
}

class SortedSearch extends Search {
  sort = "-received_rate";

  get extra() {
    return this.sort === "-received_rate" ? null : [["sort", this.sort]];
  }
}

export class Connections {
  constructor() {
    this.told = null;
    this.search = new SortedSearch("connections", "connections", (answer, anew) => {
      this.show(answer ?? this.told, anew);
    });
    this.table = new LiveTable(
      byId("connections-table"),
      "Open connections",
      this.columns(),
      (row) => `${row.worker}-${row.id}`,
      () => this.nothing(),
      (field) => this.sortBy(field),
    );
    this.table.sorted("received_rate", true);
  }

  columns() {
    return [
      { title: "Client", sort: "client", first: "addr", make: (row) => [row.client, row.sni] },
      { title: "Listener", sort: "listener", make: (row) => [row.listener, row.filter_chain] },
      {
        title: "Cluster and host",
        sort: "cluster",
        kind: "wide",
        make: (row) => [row.cluster || "none yet", row.host],
      },
      {
        title: "Phase",
        sort: "phase",
        text: (row) => row.phase,
        node: (row) => mark(...(PHASES[row.phase] ?? ["ring", "dim"]), row.phase.replace("_", "-")),
      },
      {
        title: "Age",
        sort: "age",
        kind: "number nowrap",
        make: (row) => [duration(row.age), row.idle === null ? "" : `idle ${duration(row.idle)}`],
      },
      {
        title: "From client",
        sort: "received_rate",
        kind: "number nowrap",
        make: (row) => [byteRate(row.received_rate), bytes(row.received)],
      },
      {
        title: "To client",
        sort: "sent_rate",
        kind: "number nowrap",
        make: (row) => [byteRate(row.sent_rate), bytes(row.sent)],
      },
      {
        title: "Round trip",
        sort: "rtt",
        kind: "number nowrap",
        make: (row) => [
          row.rtt === null ? "\u2013" : micros(row.rtt),
          row.retransmits ? `${count(row.retransmits)} sent again` : "",
        ],
      },
      {
        title: "Waiting",
        sort: "buffered",
        kind: "number nowrap",
        make: (row) => bytes(row.buffered + row.upstream_buffered),
      },
      {
        title: "",
        kind: "wide",
        text: (row) => `${row.client} ${row.host}`,
        node: (row) => this.closer(row),
      },
    ];
  }

  closer(row) {
    return el(
      "button",
      {
        type: "button",
        class: "small-button",
        "aria-label": `Close the connection of ${row.client}`,
        click: () => {
          const where = row.host
            ? `It leads to ${row.host} of ${row.cluster}.`
            : "It has no host yet.";
          ask(
            "Close this connection?",
            `The client is ${row.client}. ${where}\n` + "Both sides are closed at once.",
            "Close it",
            async () => {
              const { ok, text } = await post("connections/close", { id: row.id });
              this.search.again(0);
              return ok ? null : text;
            },
          );
        },
      },
      "Close",
    );
  }

  sortBy(field) {
    const [known, descending] = [
      this.search.sort.replace("-", ""),
      this.search.sort.startsWith("-"),
    ];
    const textual = ["client", "listener", "cluster", "phase"].includes(field);
    const now = field === known ? !descending : !textual;
    this.search.sort = `${now ? "-" : ""}${field}`;
    this.table.sorted(field, now);
    this.search.again(0);
  }

  /** What the stream tells. */
  tell(answer) {
    this.told = answer;
    if (this.search.isPlain) this.show(answer, false);
  }

  show(answer, anew) {
    if (answer === null) return;
    this.table.show(answer.connections, anew);
    const { matched, total } = answer;
    const shown =
      answer.connections.length < matched ? `, ${count(answer.connections.length)} shown` : "";
    say(
      byId("connections-count"),
      this.search.field.value.trim()
        ? `${count(matched)} of ${plural(total, "connection")}${shown}`
        : `${count(total)} open${shown}`,
    );
  }

  nothing() {
    return this.search?.field.value.trim()
      ? "No connection is like that."
      : "Nobody is connected. The map above says where clients can connect to.";
  }

  find(fields) {
    this.search.set(
      Object.entries(fields)
        .map(([name, value]) => `${name}=${value}`)
        .join(" "),
    );
    byId("connections").scrollIntoView();
    this.search.field.focus({ preventScroll: true });
  }
}

export class Closes {
  constructor() {
    this.told = null;
    this.search = new Search("closes", "closes", (answer, anew) =>
      this.show(answer ?? this.told, anew),
    );
    this.table = new LiveTable(
      byId("closes-table"),
      "Closed connections",
      [
        { title: "When", kind: "nowrap", make: (row) => clock(seconds(row.when)) },
        { title: "Client", first: "addr", make: (row) => [row.client, row.sni] },
        { title: "Cluster and host", make: (row) => [row.cluster || "none", row.host] },
        { title: "Ended by", text: (row) => row.by, node: (row) => mark(...ENDED_BY[row.by]) },
        {
          title: "Why",
          kind: "wide",
          make: (row) => [row.reason, row.flags === "-" ? "" : row.flags],
        },
        { title: "Lasted", kind: "number nowrap", make: (row) => duration(row.duration) },
        { title: "From client", kind: "number nowrap", make: (row) => bytes(row.received) },
        { title: "To client", kind: "number nowrap", make: (row) => bytes(row.sent) },
      ],
      (row) => `${row.worker}-${row.id}-${seconds(row.when).toFixed(3)}-${row.client}`,
      () => this.nothing(),
    );
  }

  tell(answer) {
    this.told = answer;
    if (this.search.isPlain) this.show(answer, false);
  }

  show(answer, anew) {
    if (answer === null) return;
    this.table.show(answer.closes, anew);
    this.reasons(answer.closes);
    say(
      byId("closes-count"),
      answer.closes.length ? `the last ${count(answer.closes.length)}` : "",
    );
  }

  /** What most of them ended by. */
  reasons(rows) {
    const counts = new Map();
    for (const { reason } of rows) {
      const kind = reason.replace(/ after [\d.]+ s( idle)?$/, "");
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 5);
    const text = JSON.stringify(most);
    if (text === this.drawn) return;
    this.drawn = text;
    byId("reasons").replaceChildren(
      ...(rows.length < 2
        ? []
        : [
            el(
              "ol",
              { "aria-label": "Most frequent reasons" },
              ...most.map(([kind, number]) =>
                el(
                  "li",
                  {},
                  el("span", { class: "number" }, count(number)),
                  el("meter", { max: rows.length, value: number, "aria-hidden": "true" }),
                  el("span", {}, kind),
                ),
              ),
            ),
          ]),
    );
  }

  nothing() {
    return this.search?.field.value.trim()
      ? "None of the last ones is like that."
      : "No connection has ended yet.";
  }
}
