"""The application log: Twisted's events in Envoy's shape, with Envoy's levels for each logger.

A line is `[2026-11-24 13:34:29.123][4711][info][main] text`.  Loggers are the namespaces of
`twisted.logger`; those that do not belong to tcpmesh (Twisted's own) are shown from warning on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from zope.interface import implementer

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, eventAsText

from tcpmesh.logs.debug import show_debug

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
"""Envoy's levels, from the most to the least talkative."""

LOGGERS = ("admin", "config", "connection", "dns", "filter", "listener", "main", "upstream")
"""The loggers of tcpmesh, each a part of the house."""

ALIASES = {"warn": "warning"}

_NUMBERS = {name: number for number, name in enumerate(LEVELS)}
_TWISTED = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warning",
    LogLevel.error: "error",
    LogLevel.critical: "critical",
}


def level(name: str) -> str:
    """A level by the name that a user wrote.

    :raise ValueError: where there is no such level.
    """
    name = ALIASES.get(name, name)
    if name not in _NUMBERS:
        raise ValueError(f"'{name}' is no log level; there are {', '.join(LEVELS)}")
    return name


def component_levels(text: str) -> dict[str, str]:
    """`upstream:debug,main:info` as levels by logger.

    :raise ValueError: where a logger or a level is unknown.
    """
    levels = {}
    for part in filter(None, text.split(",")):
        logger, _, name = part.partition(":")
        if logger not in LOGGERS:
            raise ValueError(f"'{logger}' is no logger; there are {', '.join(LOGGERS)}")
        levels[logger] = level(name)
    return levels


class Levels:
    """The level of each logger; changed while running by the admin interface."""

    def __init__(self, default: str, components: dict[str, str]) -> None:
        self.on_change: Callable[[dict[str, str]], object] = lambda levels: None
        """Called with all levels when some were set."""
        self._levels: dict[str, str] = {}
        for logger in LOGGERS:
            self._set(logger, components.get(logger, default))

    def get(self) -> dict[str, str]:
        """Levels by logger, in alphabetical order."""
        return dict(self._levels)

    def set(self, name: str, logger: str | None = None) -> None:
        """Set one logger, or all.

        :raise ValueError: where the level or the logger is unknown.
        """
        if logger is not None and logger not in LOGGERS:
            raise ValueError(f"'{logger}' is no logger; there are {', '.join(LOGGERS)}")
        name = level(name)
        for known in LOGGERS if logger is None else (logger,):
            self._set(known, name)
        self.on_change(self.get())

    def _set(self, logger: str, name: str) -> None:
        self._levels[logger] = name
        show_debug({logger: name})

    def shows(self, logger: str, name: str) -> bool:
        """Whether an event of this logger and level is written."""
        wanted = self._levels.get(logger)
        if wanted is None:
            wanted = max(self._levels["main"], "warning", key=_NUMBERS.__getitem__)
        return _NUMBERS[name] >= _NUMBERS[wanted]


@implementer(ILogObserver)
class Log:
    """Writes events to standard error or to a file, which can be opened anew after somebody moved
    it away.
    """

    def __init__(self, levels: Levels, path: str = "") -> None:
        self.levels = levels
        self._path = path
        # Kept from before twistd puts a file in its place whose lines become log events.
        self._stderr = sys.stderr
        self._file: IO[str] | None = None
        if path:
            self._open()

    def __call__(self, event: LogEvent) -> None:
        """Write an event, if its level is shown.  Never raises."""
        name = _TWISTED.get(event.get("log_level"), "info")
        logger = event.get("log_namespace", "-")
        if self.levels.shows(logger, name):
            text = eventAsText(event, includeTimestamp=False, includeSystem=False).rstrip()
            moment = _timestamp(event.get("log_time", 0.0))
            line = f"[{moment}][{os.getpid()}][{name}][{logger}] {text}\n"
            # A full disk or a closed pipe must not stop the proxy, and there is nowhere to say so.
            with suppress(OSError, ValueError):
                (self._file or self._stderr).write(line)

    def reopen(self) -> None:
        """Open the file anew: where it was moved away, a new one is begun.  Where that fails, the
        old one goes on, and says so.
        """
        before = self._file
        if before is None:
            return
        try:
            self._open()
        except OSError as e:
            Logger(namespace="main", observer=self).error(
                "cannot open the log file {path} anew, so the old one goes on: {reason}",
                path=self._path,
                reason=e.strerror,
            )
        else:
            before.close()

    def _open(self) -> None:
        self._file = open(self._path, "a", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115 - it stays open


def _timestamp(seconds: float) -> str:
    return (
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
        + f".{int(seconds % 1 * 1000):03d}"
    )
