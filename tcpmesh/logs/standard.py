"""Brings what libraries say through the standard library's `logging` to the same log."""

from __future__ import annotations

import logging
from typing import Any

from twisted.logger import ILogObserver, LogLevel

from tcpmesh.logs.pattern import Location


class StandardLogging(logging.Handler):
    """Hands records on as events of `twisted.logger`, with the logger's name for namespace."""

    def __init__(self, observer: ILogObserver) -> None:
        super().__init__()
        self._observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on a record.  Never raises."""
        try:
            text = self.format(record)
        except Exception as e:
            text = f"{record.msg!r} with {record.args!r} cannot be written: {type(e).__name__}"
        self._observer(
            {
                "log_format": "{text}",
                "text": text,
                "log_level": _level(record.levelno),
                "log_namespace": record.name,
                "log_time": record.created,
                "log_location": Location(record.filename, record.lineno, record.funcName or ""),
            }
        )


def take_standard_logging(observer: ILogObserver) -> None:
    """Have all that the standard library's loggers say come to this observer, and to none of those
    before it.
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, StandardLogging):
            root.removeHandler(handler)
    root.addHandler(StandardLogging(observer))


def _level(number: int) -> Any:
    for least, level in (
        (logging.CRITICAL, LogLevel.critical),
        (logging.ERROR, LogLevel.error),
        (logging.WARNING, LogLevel.warn),
        (logging.INFO, LogLevel.info),
    ):
        if number >= least:
            return level
    return LogLevel.debug
