"""How much each logger says: Envoy's levels, its loggers, and other people's.

A logger is a namespace of `twisted.logger`.  Those of tcpmesh have Envoy's names (`LOGGERS`).
Those of Envoy that are no part of a TCP proxy here (`http`, `router`) may be named too, so that a
command line can be kept; they say nothing.  All others are other people's: an extension's, a
library's, the loggers of the standard library's `logging`.  They follow the level of all, but for
Twisted's own, which are shown from warning on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib.util import find_spec

from tcpmesh.logs.debug import show_debug

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
"""Envoy's levels, from the most to the least talkative."""

LOGGERS = (
    "admin",
    "config",
    "connection",
    "dns",
    "file",
    "filter",
    "grpc",
    "http2",
    "listener",
    "main",
    "runtime",
    "stats",
    "upstream",
)
"""The loggers of tcpmesh, each a part of the house."""

_NAMES_OF_ENVOY = (
    "a2a admin ai_protocol_manager alternate_protocols_cache assert aws backtrace basic_auth "
    "cache_filter client compression config conn_handler connection credential_injector "
    "decompression dns dubbo dynamic_modules envoy_bug ext_authz ext_proc file filter "
    "forward_proxy geolocation golang grpc happy_eyeballs hc health_checker http http2 hystrix "
    "init io ip_tagging json_rpc jwt kafka key_value_store local_rate_limit lua main matcher "
    "mcp misc mongo multi_connection notification oauth2 pool quic quic_stream rate_limit_quota "
    "rbac rds redis rocketmq router runtime secret sse stats stats_sinks tap testing thrift "
    "tracing udp upstream wasm websocket "
)

ENVOY_LOGGERS = frozenset(_NAMES_OF_ENVOY.split())
"""Those of Envoy 1.40."""

ELSEWHERE = {
    "client": "connection",
    "conn_handler": "listener",
    "happy_eyeballs": "connection",
    "hc": "upstream",
    "health_checker": "upstream",
    "init": "main",
    "io": "connection",
    "misc": "main",
    "multi_connection": "connection",
    "pool": "upstream",
    "stats_sinks": "stats",
}
"""Where tcpmesh logs what Envoy logs there."""

ALIASES = {"warn": "warning"}

MOST_HEARD = 1000
"""Loggers that are remembered.  Their names come from code, but nothing keeps an extension from
making new ones for ever.
"""

_TWISTED = ("twisted", "log_legacy", "-")
"""What namespaces of Twisted's own begin with."""

NUMBERS = {name: number for number, name in enumerate(LEVELS)}

_STANDARD = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 1,
}


def level(name: str) -> str:
    """A level by the name that a user wrote.

    :raise ValueError: where there is no such level.
    """
    name = ALIASES.get(name, name)
    if name not in NUMBERS:
        raise ValueError(f"unknown logger level '{name}'; there are {', '.join(LEVELS)}")
    return name


def known_logger(name: str) -> str:
    """A logger by the name that a user wrote: one of ours, of Envoy's, or of an installed package.

    :raise ValueError: where there is none.
    """
    if name in LOGGERS or name in ENVOY_LOGGERS or _is_package(name):
        return name
    near = get_close_matches(name, LOGGERS, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(LOGGERS)}"
    raise ValueError(f"unknown logger name '{name}'; {hint}")


def component_levels(text: str) -> dict[str, str]:
    """`upstream:debug,main:info` as levels by logger.

    :raise ValueError: where a logger or a level is unknown, or something is missing.
    """
    levels = {}
    for part in text.split(",") if text else ():
        logger, _, name = part.partition(":")
        if not logger or not name:
            raise ValueError(f"empty logger name or empty logger level in '{part}'")
        levels[known_logger(logger)] = level(name)
    return levels


def without_effect(names: Iterable[str]) -> list[str]:
    """Those of some loggers that Envoy has and tcpmesh has no use for."""
    return sorted(set(names) & ENVOY_LOGGERS - set(LOGGERS))


def silent_text(names: Iterable[str]) -> str:
    """Which of some loggers say nothing here, and which say that instead; empty where all of them
    speak.
    """
    silent = without_effect(names)
    see = sorted({ELSEWHERE[name] for name in silent if name in ELSEWHERE})
    if not silent:
        return ""
    hint = f"; see {', '.join(see)}" if see else ""
    return f"no effect on {', '.join(silent)}: nothing here logs under that name{hint}"


def _is_package(name: str) -> bool:
    """Whether a namespace is, or begins with, the name of something that Python can import."""
    top = name.partition(".")[0]
    try:
        return bool(top.isidentifier()) and find_spec(top) is not None
    except (ImportError, ValueError):
        return False


class Levels:
    """The level of each logger; changed while running by the admin interface."""

    def __init__(self, default: str, components: dict[str, str]) -> None:
        self.on_change: Callable[[dict[str, str], str], object] = lambda levels, default: None
        """Called with all levels, and that of other loggers, when some were set."""
        self.default = default
        """The level of all."""
        self._chosen: dict[str, str] = {}
        """Where somebody wanted another level than that of all."""
        self._heard: dict[str, int] = {}
        """The loggers that there are, with the number of the level that each is shown from."""
        for logger in (*LOGGERS, *components):
            self._heard[logger] = 0
        for logger, name in components.items():
            self._choose(logger, name)
        self._update()

    def get(self) -> dict[str, str]:
        """Levels by logger, in alphabetical order: ours, and others that have spoken or were
        chosen.
        """
        return {logger: LEVELS[number] for logger, number in sorted(self._heard.items())}

    def set(self, name: str, logger: str | None = None) -> None:
        """Set one logger, or all.

        :raise ValueError: where the level or the logger is unknown.
        """
        name = level(name)
        if logger is None:
            for chosen in list(self._chosen):
                self._choose(chosen, None)
            self.default = name
        else:
            if logger not in self._heard:
                self._heard[known_logger(logger)] = 0
            self._choose(logger, name)
        self._update()
        self.on_change(self.get(), self.default)

    def follow(self, default: str, levels: Iterable[tuple[str, str]]) -> None:
        """Be as the levels of another process: that of all, and those by logger."""
        self.default = default
        for logger, name in levels:
            self._heard[logger] = 0
            self._choose(logger, name)
        self._update()

    def shows(self, logger: str, name: str) -> bool:
        """Whether an event of this logger and level is written."""
        wanted = self._heard.get(logger)
        if wanted is None:
            wanted = NUMBERS[self._level_of(logger)]
            if len(self._heard) < MOST_HEARD:
                self._heard[logger] = wanted
        return NUMBERS[name] >= wanted

    def _choose(self, logger: str, name: str | None) -> None:
        """Give a logger a level of its own, or none."""
        if name is None:
            del self._chosen[logger]
        else:
            self._chosen[logger] = name
        if logger not in LOGGERS:
            # What the standard library's loggers leave out does not come here to be judged.
            number = logging.NOTSET if name is None else _STANDARD[name]
            logging.getLogger(logger).setLevel(number)

    def _update(self) -> None:
        for logger in self._heard:
            self._heard[logger] = NUMBERS[self._level_of(logger)]
        show_debug(self.get())

    def _level_of(self, logger: str) -> str:
        """The level chosen for a logger or for what its name begins with, as in `twisted.web`;
        else that of all.
        """
        above = logger
        while above:
            if above in self._chosen:
                return self._chosen[above]
            above = above.rpartition(".")[0]
        if logger.partition(".")[0] in _TWISTED:
            return max(self.default, "warning", key=NUMBERS.__getitem__)
        return self.default
