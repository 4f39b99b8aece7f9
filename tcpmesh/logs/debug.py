"""Debug logging that costs nothing while nobody listens.

An event of `twisted.logger` costs more than relaying a message, even when no observer wants it.  A
`DebugLogger` therefore knows whether its logger is at debug, and who has something to say of a
connection asks first:

    if debug_log.enabled:
        debug_log.debug("[C{id}] closed", id=info.id)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger


class DebugLogger:
    """The debug side of one of Envoy's loggers (`connection`, `upstream`, ...)."""

    __slots__ = ("_log", "enabled")

    def __init__(self, name: str) -> None:
        self._log = Logger(namespace=name)
        self.enabled = False
        """Whether debug events of this logger are written; set with the logger's level."""

    def debug(self, text: str, **values: Any) -> None:
        """Log an event; the text is a format in the manner of `twisted.logger`."""
        self._log.debug(text, **values)


_loggers: dict[str, DebugLogger] = {}


def debug_logger(name: str) -> DebugLogger:
    """The one `DebugLogger` of this name."""
    found = _loggers.get(name)
    if found is None:
        found = _loggers[name] = DebugLogger(name)
    return found


def show_debug(levels: Mapping[str, str]) -> None:
    """Have debug events written by the loggers whose level, by their names, asks for that."""
    for name, level in levels.items():
        debug_logger(name).enabled = level in ("trace", "debug")
