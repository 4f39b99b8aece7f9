// Who the proxy is, the warnings of its configuration, and what happened to its hosts.

import { byId, clock, count, el, plural, say, shape } from "./dom.js";

const EVENTS = {
  eject_unhealthy_event: ["down", "bad", "unhealthy"],
  add_healthy_event: ["up", "good", "healthy again"],
  degraded_healthy_host: ["diamond", "warn", "degraded"],
  no_longer_degraded_host: ["up", "good", "no longer degraded"],
  EJECT: ["down", "bad", "ejected"],
  UNEJECT: ["up", "good", "back in"],
};

/** What is told once, to a newcomer. */
export function describe(told) {
  const facts = {
    up: "",
    version: told.version,
    pid: String(told.pid),
    node: told.node || "not named",
    cluster: told.cluster,
    configuration: told.config || "from the command line",
    loaded: told.loaded_at ? clock(told.loaded_at) : "",
  };
  byId("about").replaceChildren(
    ...Object.entries(facts)
      .filter(([name, value]) => value || name === "up")
      .map(([name, value]) =>
        el("div", {}, el("dt", {}, name), el("dd", name === "up" ? { id: "uptime" } : {}, value)),
      ),
  );
  byId("origin").replaceChildren(el("div", { class: "panels" }, warnings(told), factsOf(told)));
}

/** The time line; the events with the words and shapes for them. */
export function happened(told) {
  const events = told.events.map(([when, cluster, host, what, why]) => {
    const [kind, tone, word] = EVENTS[what] ?? ["diamond", "warn", what];
    return { at: Date.parse(when) / 1000, cluster, host, kind, tone, word, why };
  });
  const latest = [...events].reverse();
  say(
    byId("events-count"),
    latest.length ? `the last ${count(latest.length)} of ${count(told.count)}` : "",
  );
  byId("timeline").replaceChildren(
    latest.length
      ? el(
          "ol",
          { tabindex: "0", "aria-label": "Events of hosts" },
          ...latest.map((event) =>
            el(
              "li",
              { class: `tone-${event.tone}` },
              shape(event.kind, { class: "dotmark" }),
              el("time", {}, clock(event.at)),
              el("strong", {}, event.word),
              el(
                "span",
                { class: "what" },
                event.host,
                el(
                  "span",
                  { class: "dim" },
                  ` of ${event.cluster}${event.why ? ` (${event.why})` : ""}`,
                ),
              ),
            ),
          ),
        )
      : el(
          "p",
          { class: "empty" },
          "Nothing has happened to any host. Health checks and outlier detection report here, " +
            "where a cluster has health_checks or outlier_detection.",
        ),
  );
  return events;
}

function warnings(told) {
  const rest = told.warning_count - told.warnings.length;
  const body = told.warnings.length
    ? el(
        "ul",
        { class: "warnings" },
        ...told.warnings.map(({ place, path, text }) =>
          el(
            "li",
            {},
            el("div", {}, text),
            el("div", { class: "dim" }, el("code", {}, place), ` ${path}`),
          ),
        ),
        rest > 0 ? el("li", {}, `and ${plural(rest, "more warning")}, in the log`) : null,
      )
    : el("p", { class: "dim" }, "No warnings.");
  return el("div", {}, el("h3", {}, "Warnings of the configuration"), body);
}

function factsOf(told) {
  const loaded = told.loaded_at ? new Date(told.loaded_at * 1000).toLocaleString() : "unknown";
  const rows = [
    ["File", told.config || "from the command line"],
    ["Loaded", loaded],
    ["Started", new Date(told.started_at * 1000).toLocaleString()],
    ...told.workers.map((worker) => ["Worker", worker]),
  ];
  return el(
    "div",
    {},
    el("h3", {}, "What is running"),
    el(
      "dl",
      { class: "plain" },
      ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    ),
  );
}
