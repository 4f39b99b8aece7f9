"""Debug logging that costs nothing while nobody listens.

An event of `twisted.logger` costs more than relaying a message, even when no observer wants it.  A `Talker` therefore knows
whether its logger is at debug, and who has something to say of a connection asks first:

    if talk.debugging:
        talk.debug("[C{id}] closed", id=connection.id)
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger


class Talker:
    """The debug side of one of Envoy's loggers (`connection`, `upstream`, ...)."""

    __slots__ = ("_log", "debugging")

    def __init__(self, name: str) -> None:
        self._log = Logger(namespace=name)
        self.debugging = False
        """Whether debug events of this logger are written; set with the logger's level."""

    def debug(self, text: str, **values: Any) -> None:
        """Log an event; the text is a format in the manner of `twisted.logger`."""
        self._log.debug(text, **values)


_talkers: dict[str, Talker] = {}


def talker(name: str) -> Talker:
    """The one talker of a logger."""
    found = _talkers.get(name)
    if found is None:
        found = _talkers[name] = Talker(name)
    return found
