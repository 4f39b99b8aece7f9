"""The options of `twistd tcpmesh`, as tables for Twisted's parser: Envoy's names, defaults and
meaning.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.logs.log import level

MODES = ("serve", "validate", "explain")
FORMATS = ("text", "json")
STRATEGIES = ("gradual", "immediate")

HOT_RESTART = "Refused without --disable-hot-restart: there is no hot restart yet."
REFUSED = "Refused, or with --allow-unsupported a warning: not supported yet."


def natural(text: str) -> int:
    """A whole number, zero or more.

    :raise ValueError: for anything else.
    """
    number = int(text)
    if number < 0:
        raise ValueError("it must not be negative")
    return number


def at_least_one(text: str) -> int:
    """A whole number; 0 is raised to 1, as Envoy does.

    :raise ValueError: for anything else.
    """
    return max(natural(text), 1)


def one_of(*choices: str) -> Any:
    """A coercion that takes only these words."""

    def coerce(text: str) -> str:
        if text not in choices:
            raise ValueError(f"there are {', '.join(choices)}")
        return text

    return coerce


PARAMETERS: list[list[Any]] = [
    [
        "config-path",
        "c",
        "",
        "Bootstrap file: .yaml, .yml, .pb, .pb_text, else JSON.  Also --config.",
    ],
    ["config-yaml", None, "", "YAML text merged over the file, or used alone."],
    [
        "mode",
        None,
        "serve",
        "serve; validate: only judge the configuration (exit status 0: it would start); "
        "explain: say what it comes to.",
        one_of(*MODES),
    ],
    [
        "format",
        None,
        "text",
        "Of what validate and explain print: text or json.",
        one_of(*FORMATS),
    ],
    [
        "concurrency",
        None,
        1,
        "Worker processes; more than 1 has no effect for now.",
        at_least_one,
    ],
    ["log-level", "l", "info", "trace, debug, info, warning, error, critical or off.", level],
    ["component-log-level", None, "", "Levels of single loggers: upstream:debug,main:info."],
    ["log-path", None, "", "Log file instead of standard error; SIGUSR1 opens it anew."],
    ["service-cluster", None, "", "Overrides node.cluster."],
    ["service-node", None, "", "Overrides node.id."],
    ["service-zone", None, "", "Overrides node.locality.zone."],
    ["admin-address-path", None, "", "File to write the bound admin address to."],
    ["drain-time-s", None, 600, "Seconds that a drain takes.  No effect yet.", natural],
    [
        "drain-strategy",
        None,
        "gradual",
        "gradual or immediate.  No effect yet.",
        one_of(*STRATEGIES),
    ],
    [
        "parent-shutdown-time-s",
        None,
        900,
        "Seconds until a hot-restart parent ends.  No effect yet.",
        natural,
    ],
    [
        "file-flush-interval-msec",
        None,
        10000,
        "Milliseconds between flushes of file access logs.",
        natural,
    ],
    [
        "file-flush-min-size-kb",
        None,
        64,
        "KiB buffered by a file access log that force a flush.",
        natural,
    ],
    ["restart-epoch", None, 0, HOT_RESTART, natural],
    ["base-id", None, 0, HOT_RESTART, natural],
    ["base-id-path", None, "", HOT_RESTART],
    ["socket-path", None, "", HOT_RESTART],
    ["socket-mode", None, "", HOT_RESTART],
    [
        "local-address-ip-version",
        None,
        "v4",
        "v4 or v6: of the address that HTTP headers name.  No effect on TCP.",
        one_of("v4", "v6"),
    ],
    *([name, None, "", REFUSED] for name in ("disable-extensions", "log-format", "stats-tag")),
]
FLAGS: list[list[Any]] = [
    [
        "allow-unsupported",
        None,
        "What tcpmesh does not support yet is a warning, but for what protects traffic.",
    ],
    [
        "allow-unknown-static-fields",
        None,
        "Unknown fields of the bootstrap are warnings.  Also --allow-unknown-fields.",
    ],
    [
        "reject-unknown-dynamic-fields",
        None,
        "Unknown fields in dynamic configuration are errors.",
    ],
    [
        "ignore-unknown-dynamic-fields",
        None,
        "Unknown fields in dynamic configuration are not even counted.",
    ],
    ["disable-hot-restart", None, "There is none yet; what is said of one has no effect then."],
    ["skip-hot-restart-on-no-parent", None, "No effect: there is never a parent."],
    ["skip-hot-restart-parent-stats", None, "No effect: there is never a parent."],
    ["use-dynamic-base-id", None, HOT_RESTART],
    ["skip-deprecated-logs", None, "Do not warn of fields that Envoy has deprecated."],
    ["log-stacktrace-single-entry", None, "No effect: it always is one."],
    ["cpuset-threads", None, "No effect for now: there is one worker."],
    *(
        [name, None, REFUSED]
        for name in (
            "enable-core-dump",
            "enable-fine-grain-logging",
            "enable-mutex-tracing",
            "log-format-escaped",
        )
    ),
]
