// The map: listeners and their filter chains on the left, clusters and their hosts on the right,
// and between the two how clients flow.

import { count, el, mark, patch, plural, rate, svg } from "./dom.js";

const SHOWN = 8;

const HEALTH = {
  HEALTHY: ["circle", "good", "healthy"],
  DEGRADED: ["diamond", "warn", "degraded"],
  UNHEALTHY: ["down", "bad", "unhealthy"],
};

export class FlowMap {
  /** `pick`: called with the fields of the connections that somebody wants to see. */
  constructor(board, pick) {
    this.board = board;
    this.pick = pick;
    this.all = false;
    this.chosen = null;
    this.map = null;
    this.before = new Map();
    this.rates = new Map();
    this.resets = new Map();
    this.drawn = "";
    this.links = svg("svg", { "aria-hidden": "true" });
    this.columns = el("div", {});
    this.chains = new Map();
    board.replaceChildren(this.columns);
    new ResizeObserver(() => this.connect()).observe(board);
  }

  show(map, now) {
    this.map = map;
    this.measure(map, now);
    this.draw();
  }

  /** New connections a second of each host, since the last map. */
  measure(map, now) {
    const totals = new Map();
    this.rates.clear();
    for (const cluster of map.clusters) {
      for (const host of cluster.hosts) {
        const key = JSON.stringify([cluster.name, host.address]);
        totals.set(key, [now, host.total, host.failed]);
        const known = this.before.get(key);
        if (known !== undefined && now > known[0]) {
          const seconds = now - known[0];
          this.rates.set(key, [
            Math.max(0, host.total - known[1]) / seconds,
            Math.max(0, host.failed - known[2]) / seconds,
          ]);
        }
      }
    }
    this.before = totals;
  }

  /** Which hosts have reset connections, among the last that have ended. */
  ended(closes) {
    this.resets.clear();
    for (const { cluster, host, flags } of closes) {
      if (!flags.split(",").includes("UR")) continue;
      const key = JSON.stringify([cluster, host]);
      this.resets.set(key, (this.resets.get(key) ?? 0) + 1);
    }
    this.draw();
  }

  draw() {
    const { map } = this;
    if (map === null) return;
    const text = JSON.stringify([map, [...this.rates], [...this.resets], this.all]);
    if (text === this.drawn) return;
    this.drawn = text;
    this.chains = new Map();
    const clusters = this.all ? map.clusters : this.first(map.clusters);
    const shown = new Set(clusters.map((cluster) => cluster.name));
    const flowing = new Set(map.flows.map((flow) => flow[0]));
    const listeners = map.listeners
      .filter(
        (listener) =>
          this.all ||
          flowing.has(listener.name) ||
          listener.chains.some(
            (chain) => !chain.clusters.length || chain.clusters.some((name) => shown.has(name)),
          ),
      )
      .slice(0, this.all ? undefined : SHOWN);
    const rest = map.clusters.length - clusters.length;
    const wanted = el(
      "div",
      {},
      el(
        "ul",
        { class: "column", "aria-label": "Listeners and filter chains" },
        title("Listeners and filter chains"),
        ...listeners.map((each) => this.listener(each)),
      ),
      el(
        "ul",
        { class: "column", "aria-label": "Clusters and hosts" },
        title("Clusters and hosts"),
        ...clusters.map((each) => this.cluster(each)),
      ),
      rest > 0 || this.all ? this.unfold(rest) : null,
    );
    const isEmpty = !map.clusters.length && !map.listeners.length;
    this.links.remove();
    patch(this.columns, isEmpty ? el("div", {}, this.empty()) : wanted);
    this.columns.append(this.links);
    this.connect();
  }

  /** The few that matter most, in the order of all. */
  first(clusters) {
    const weight = (cluster) => 2 * cluster.active + (cluster.healthy < cluster.count ? 1 : 0);
    const best = new Set([...clusters].sort((a, b) => weight(b) - weight(a)).slice(0, SHOWN));
    return clusters.filter((cluster) => best.has(cluster));
  }

  empty() {
    return el(
      "p",
      { class: "empty" },
      this.map.search
        ? `Nothing has “${this.map.search}” in its name or address.`
        : "No listeners and no clusters: add some under static_resources of the configuration.",
    );
  }

  unfold(rest) {
    const words = this.all ? "Show fewer clusters" : `Show ${plural(rest, "more cluster")}`;
    return el(
      "button",
      {
        type: "button",
        class: "unfold",
        "data-key": "unfold",
        "aria-expanded": String(this.all),
        click: () => {
          this.all = !this.all;
          this.draw();
        },
      },
      words,
    );
  }

  // What a node is

  node(key, fields, ...content) {
    return el(
      "button",
      {
        type: "button",
        class: "pick",
        "data-key": key,
        click: () => this.pick(fields),
        mouseenter: () => this.choose(key),
        focus: () => this.choose(key),
        mouseleave: () => this.choose(null),
        blur: () => this.choose(null),
      },
      ...content,
    );
  }

  listener(listener) {
    const key = JSON.stringify([listener.name]);
    const active = this.sum((flow) => flow[0] === listener.name);
    const chains = merged(listener.chains);
    return el(
      "li",
      { class: "node", "data-node": key },
      this.node(
        key,
        { listener: listener.name },
        el("span", { class: "name" }, listener.name),
        ...listener.addresses.map((address) => el("span", { class: "small addr" }, address)),
        el("span", { class: "small" }, plural(active, "connection")),
      ),
      el(
        "ul",
        { "aria-label": `Filter chains of ${listener.name}` },
        ...chains.map((chain) => this.chain(listener, chain)),
        listener.more_chains
          ? el("li", { class: "more-row" }, `and ${plural(listener.more_chains, "more chain")}`)
          : null,
      ),
    );
  }

  chain(listener, chain) {
    const key = JSON.stringify([listener.name, chain.name]);
    const active = this.sum((flow) => flow[0] === listener.name && flow[1] === chain.name);
    const takes = chain.server_names.length
      ? chain.server_names.join(", ") + (chain.more_names ? ` and ${chain.more_names} more` : "")
      : null;
    const label =
      chain.name || (chain.is_default ? "default filter chain" : (takes ?? "filter chain"));
    const leads = chain.clusters.length
      ? `\u2192 ${chain.clusters.join(", ")}`
      : chain.filter || "no filter";
    this.chains.set(key, { listener: listener.name, chain });
    return el(
      "li",
      { "data-from": key },
      this.node(
        key,
        { listener: listener.name, filter_chain: chain.name },
        el("span", { class: "name" }, label),
        takes !== null && takes !== label ? el("span", { class: "small" }, takes) : null,
        el("span", { class: "small" }, `${leads}, ${plural(active, "connection")}`),
      ),
    );
  }

  cluster(cluster) {
    const key = JSON.stringify(["cluster", cluster.name]);
    const [kind, tone] =
      cluster.count === 0
        ? ["ring", "warn"]
        : cluster.healthy === cluster.count
          ? ["circle", "good"]
          : cluster.healthy
            ? ["half", "warn"]
            : ["down", "bad"];
    const words = cluster.count
      ? `${count(cluster.healthy)} of ${plural(cluster.count, "host")} healthy`
      : "no hosts";
    const rest = cluster.count - cluster.hosts.length;
    return el(
      "li",
      { class: "node", "data-node": key, "data-to": cluster.name },
      this.node(
        key,
        { cluster: cluster.name },
        el("span", { class: "name" }, cluster.name),
        mark(kind, tone, words),
        el("span", { class: "small" }, plural(cluster.active, "connection")),
      ),
      el(
        "ul",
        { "aria-label": `Hosts of ${cluster.name}` },
        ...cluster.hosts.map((host) => this.host(cluster, host)),
        rest > 0 ? el("li", { class: "more-row" }, `and ${plural(rest, "more host")}`) : null,
        cluster.count ? null : el("li", { class: "more-row" }, "discovery has found none"),
      ),
    );
  }

  host(cluster, host) {
    const key = JSON.stringify([cluster.name, host.address]);
    const rates = this.rates.get(key) ?? [0, 0];
    const resets = this.resets.get(key);
    const amounts = [plural(host.active, "connection"), `${rate(rates[0])} new/s`];
    if (host.failed) amounts.push(`${count(host.failed)} failed`);
    const flags = host.flags.length ? host.flags.join(", ") : null;
    return el(
      "li",
      {},
      this.node(
        JSON.stringify(["host", cluster.name, host.address]),
        { cluster: cluster.name, host: host.address },
        el(
          "span",
          { class: "host" },
          el("span", { class: "addr" }, host.address),
          mark(...HEALTH[host.health]),
        ),
        el("span", { class: "small" }, amounts.join(" \u00b7 ")),
        host.hostname ? el("span", { class: "small" }, host.hostname) : null,
        flags !== null ? el("span", { class: "small" }, flags) : null,
        resets ? mark("cross", "bad", `${plural(resets, "client")} reset of late`) : null,
      ),
    );
  }

  sum(wanted) {
    return this.map.flows.filter(wanted).reduce((total, flow) => total + flow[4], 0);
  }

  // What leads where

  connect() {
    if (this.map === null) return;
    const box = this.columns.getBoundingClientRect();
    const targets = new Map(
      [...this.columns.querySelectorAll("[data-to]")].map((node) => [node.dataset.to, node]),
    );
    const flows = new Map();
    for (const [listener, chain, cluster, , number] of this.map.flows) {
      const key = JSON.stringify([JSON.stringify([listener, chain]), cluster]);
      flows.set(key, (flows.get(key) ?? 0) + number);
    }
    const paths = [];
    for (const node of this.columns.querySelectorAll("[data-from]")) {
      const key = node.dataset.from;
      const { listener, chain } = this.chains.get(key);
      const names = new Set(chain.clusters);
      for (const flow of this.map.flows) {
        if (flow[0] === listener && flow[1] === chain.name && flow[2]) names.add(flow[2]);
      }
      for (const name of names) {
        const target = targets.get(name);
        if (target === undefined) continue;
        const active = flows.get(JSON.stringify([key, name])) ?? 0;
        paths.push(link(node, target, box, active, key, listener, name));
      }
    }
    paths.sort((a, b) => Number(a.dataset.active) - Number(b.dataset.active));
    this.links.replaceChildren(...paths);
    this.choose(this.chosen);
  }

  /** Show what is connected with a node. */
  choose(key) {
    this.chosen = key;
    this.columns.classList.toggle("picking", key !== null);
    const nodes = new Set([key]);
    for (const path of this.links.children) {
      const { chain, listener, cluster } = path.dataset;
      const ends = [chain, JSON.stringify([listener]), JSON.stringify(["cluster", cluster])];
      const host = key !== null && key.startsWith(JSON.stringify(["host", cluster]).slice(0, -1));
      const is = ends.includes(key) || host;
      path.classList.toggle("chosen", is);
      if (is) ends.forEach((end) => nodes.add(end));
    }
    for (const node of this.columns.querySelectorAll("[data-node]")) {
      node.classList.toggle("chosen", key !== null && nodes.has(node.dataset.node));
    }
  }
}

function title(text) {
  return el("li", { class: "column-title", "aria-hidden": "true" }, text);
}

/** Chains of one name are one, for connections are known by that. */
function merged(chains) {
  const found = new Map();
  for (const chain of chains) {
    const known = found.get(chain.name);
    if (known === undefined) found.set(chain.name, { ...chain });
    else {
      known.server_names = [...known.server_names, ...chain.server_names].slice(0, 4);
      known.more_names += chain.more_names;
      known.clusters = [...new Set([...known.clusters, ...chain.clusters])];
    }
  }
  return [...found.values()];
}

function link(from, to, box, active, chain, listener, cluster) {
  const [start, end] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
  const [x1, x2] = [start.right + 6 - box.left, end.left - box.left];
  const [y1, y2] = [
    start.top + start.height / 2 - box.top,
    end.top + Math.min(24, end.height / 2) - box.top,
  ];
  const middle = (x1 + x2) / 2;
  const path = svg("path", {
    class: active ? "link flows" : "link",
    d: `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`,
    "stroke-width": active ? Math.min(9, 1.5 + Math.log2(1 + active)) : 1.25,
  });
  Object.assign(path.dataset, { active, chain, listener, cluster });
  return path;
}

export function mapCount(map) {
  const { counts } = map;
  const found = map.search ? `${count(counts.found)} of ` : "";
  const shown = map.clusters.length < counts.found ? `, ${count(map.clusters.length)} shown` : "";
  const words = [
    plural(counts.listeners, "listener"),
    `${found}${plural(counts.clusters, "cluster")}${shown}`,
    plural(counts.hosts, "host"),
  ];
  if (counts.unhealthy) words.push(`${count(counts.unhealthy)} unhealthy`);
  return words.join(", ");
}
