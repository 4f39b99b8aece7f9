"""The options of `twistd tcpmesh`, as tables for Twisted's parser: Envoy's names, defaults and
meaning.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from getopt import GetoptError, gnu_getopt
from importlib.metadata import version
from typing import Any

from twisted.python import usage

from tcpmesh.config.schema.newer import ENVOY
from tcpmesh.logs.levels import LEVELS, component_levels, level
from tcpmesh.logs.pattern import DEFAULT_PATTERN
from tcpmesh.version import __version__

#: The words that an option takes.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "mode": ("serve", "validate", "explain"),
    "format": ("text", "json"),
    "log-level": LEVELS,
    "drain-strategy": ("gradual", "immediate"),
    "live-handover": ("on", "off"),
    "local-address-ip-version": ("v4", "v6"),
}

#: Options that name a file.
FILES = ("config-path", "log-path", "admin-address-path", "base-id-path", "socket-path")

REFUSED = "Refused, or with --allow-unsupported a warning: not supported yet."


def natural(text: str) -> int:
    """A whole number, zero or more.

    :raise ValueError: for anything else.
    """
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"'{text}' is no whole number of zero or more")
    return int(text)


def at_least_one(text: str) -> int:
    """A whole number; 0 is raised to 1, as Envoy does.

    :raise ValueError: for anything else.
    """
    return max(natural(text), 1)


def base_id(text: str) -> int:
    """A number of 32 bits.

    :raise ValueError: for anything else.
    """
    number = natural(text)
    if number >> 32:
        raise ValueError(f"{text} is larger than {(1 << 32) - 1}")
    return number


def octal(text: str) -> int:
    """The mode of a file.

    :raise ValueError: for anything else.
    """
    if not (text.isascii() and text.isdigit() and set(text) <= set("01234567")):
        raise ValueError(f"'{text}' is no octal number, such as 600")
    if int(text, 8) > 0o777:
        raise ValueError(f"{text} is larger than 777")
    return int(text, 8)


def one_of(name: str) -> Callable[[str], str]:
    """A coercion that takes only the words of this option."""
    choices = CHOICES[name]

    def coerce(text: str) -> str:
        if text not in choices:
            near = get_close_matches(text, choices, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"'{text}' is none of {', '.join(choices)}{hint}")
        return text

    return coerce


def components(text: str) -> str:
    """Levels by logger, as they are written.

    :raise ValueError: where there is no such logger or level.
    """
    component_levels(text)
    return text


def _naming(name: str, coerce: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same coercion, whose errors name the option, as Twisted's do not."""

    def coerce_or_say(text: str) -> Any:
        try:
            return coerce(text)
        except ValueError as e:
            raise usage.UsageError(f"--{name}: {e}") from None

    return coerce_or_say


def what_is_wrong(error: GetoptError, names: list[str]) -> str:
    """An error of `getopt` in one line that says what to write.

    :param names: of all options; those that take a value end in an equals sign.
    """
    given = error.opt if len(error.opt) == 1 else f"-{error.opt}"
    if "requires argument" in error.msg:
        return f"-{given} needs a value"
    if "must not have an argument" in error.msg:
        return f"-{given} takes no value"
    plain = [name.rstrip("=") for name in names]
    meant = [name for name in plain if name.startswith(error.opt)]
    near = meant if len(error.opt) > 1 and meant else get_close_matches(error.opt, plain, 1, 0.75)
    hint = f"; did you mean {' or '.join(f'--{name}' for name in near)}?" if near else ""
    return f"there is no option -{given}{hint}"


class MixedOptions(usage.Options):
    """Options of a command of the script, among which other words may stand anywhere."""

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse a command line.

        :raise usage.UsageError: where it makes no sense.
        """
        try:
            written, words = gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except GetoptError as e:
            raise usage.UsageError(what_is_wrong(e, self.longOpt)) from None
        parts = [part for name, value in written for part in self._as_written(name, value)]
        super().parseOptions([*parts, "--", *words])

    def _as_written(self, name: str, value: str) -> list[str]:
        takes_value = f"{name[2:]}=" in self.longOpt or f"{name[1:]}:" in self.shortOpt
        return [name, value] if takes_value else [name]


def version_line() -> str:
    """What this is, and whose configurations it reads."""
    return (
        f"tcpmesh {__version__}, the API of Envoy {ENVOY}, "
        f"Python {platform.python_version()}, Twisted {version('Twisted')}"
    )


_PARAMETERS: list[list[Any]] = [
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
        one_of("mode"),
    ],
    [
        "format",
        None,
        "text",
        "Of what validate and explain print: text or json.",
        one_of("format"),
    ],
    [
        "concurrency",
        None,
        None,
        "Worker processes, by default one for each processor that may be used; 1 for none beside "
        "this one.",
        at_least_one,
    ],
    ["log-level", "l", "info", "trace, debug, info, warning, error, critical or off.", level],
    [
        "component-log-level",
        None,
        "",
        "Levels of single loggers: upstream:debug,main:info.",
        components,
    ],
    [
        "log-format",
        None,
        DEFAULT_PATTERN,
        "Shape of a line of the log, in the flags of spdlog and Envoy.",
    ],
    ["log-path", None, "", "Log file instead of standard error; SIGUSR1 opens it anew."],
    ["service-cluster", None, "", "Overrides node.cluster."],
    ["service-node", None, "", "Overrides node.id."],
    ["service-zone", None, "", "Overrides node.locality.zone."],
    ["admin-address-path", None, "", "File to write the bound admin address to."],
    ["drain-time-s", None, 600, "Seconds that a drain takes.", natural],
    [
        "drain-strategy",
        None,
        "gradual",
        "When draining connections are closed: gradual or immediate.",
        one_of("drain-strategy"),
    ],
    [
        "graceful-stop-time-s",
        None,
        0,
        "Seconds that SIGQUIT waits for clients to leave; 0 for any time.  Not Envoy's.",
        natural,
    ],
    [
        "parent-shutdown-time-s",
        None,
        900,
        "Seconds after which a process that was taken over from cuts off the clients that it has.",
        natural,
    ],
    [
        "live-handover",
        None,
        "on",
        "on or off: whether clients that are connected go on in the process that takes over.  Both "
        "have to say on.  Not Envoy's.",
        one_of("live-handover"),
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
    [
        "restart-epoch",
        None,
        0,
        "0, or one more than that of the running process that this one takes over from.",
        natural,
    ],
    [
        "base-id",
        None,
        0,
        "Processes that take over from each other have the same; others need one each.",
        base_id,
    ],
    ["base-id-path", None, "", "File to write the base id to."],
    [
        "socket-path",
        None,
        "@tcpmesh_domain_socket",
        "Where a process is found that is taken over from: a path, or after @ an abstract name.",
    ],
    ["socket-mode", None, 0o600, "Of that path: an octal number, 600 by default.", octal],
    [
        "local-address-ip-version",
        None,
        "v4",
        "v4 or v6: of the address that HTTP headers name.  No effect on TCP.",
        one_of("local-address-ip-version"),
    ],
    [
        "admin-name",
        None,
        "",
        "A name of a host under which the admin interface may be asked to change something, beside "
        "localhost and addresses; may be given several times.",
    ],
    [
        "stats-tag",
        None,
        "",
        "A tag that every statistic has; may be given several times, and of one tag the first "
        "counts.",
    ],
    ["disable-extensions", None, "", REFUSED],
]

#: Name, letter, default, help and what makes a value of a text.
PARAMETERS: list[list[Any]] = [
    [*row[:4], _naming(row[0], row[4])] if len(row) > 4 else row for row in _PARAMETERS
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
    [
        "disable-hot-restart",
        None,
        "No process takes over but by SIGUSR2 or tcpmesh upgrade, and any number may run.",
    ],
    [
        "skip-hot-restart-on-no-parent",
        None,
        "Start also where there is no process to take over from.",
    ],
    ["skip-hot-restart-parent-stats", None, "Count from 0 where another process was before."],
    ["use-dynamic-base-id", None, "Take a base id that nobody has."],
    ["skip-deprecated-logs", None, "Do not warn of fields that Envoy has deprecated."],
    ["log-stacktrace-single-entry", None, "No effect: it always is one."],
    ["cpuset-threads", None, "Of no effect: that is the default of --concurrency."],
    [
        "log-format-escaped",
        None,
        "Escape line ends, quotes and what is not ASCII in the log, as in C.",
    ],
    [
        "enable-fine-grain-logging",
        None,
        "No effect: levels are those of loggers, not of source files.",
    ],
    *(
        [name, None, REFUSED]
        for name in (
            "enable-core-dump",
            "enable-mutex-tracing",
        )
    ),
]
