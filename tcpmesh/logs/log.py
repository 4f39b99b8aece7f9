"""The application log: Twisted's events as lines in Envoy's shape, with Envoy's levels for each
logger (`tcpmesh.logs.levels`).

A line is `[2026-11-24 13:34:29.123][4711][info][main] text`, or as `--log-format` or the
bootstrap's `application_log_config` has it (`tcpmesh.logs.pattern`).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from zope.interface import implementer

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, eventAsText

from tcpmesh.logs.levels import Levels
from tcpmesh.logs.output import Output
from tcpmesh.logs.pattern import DEFAULT_PATTERN, Record, escaped, line_of

_TWISTED = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warning",
    LogLevel.error: "error",
    LogLevel.critical: "critical",
}

LAST_PATIENCE = 1.0
"""Seconds that a slow reader of the log has at the end of the process."""


@implementer(ILogObserver)
class Log:
    """Writes events to standard error or to a file, which can be opened anew after somebody moved
    it away.  Never waits and never raises: see `tcpmesh.logs.output`.
    """

    def __init__(
        self,
        levels: Levels,
        path: str = "",
        pattern: str = DEFAULT_PATTERN,
        is_escaped: bool = False,
        descriptor: int | None = None,
    ) -> None:
        """:param descriptor: of the file, which another process has opened.
        :raise OSError: where the file cannot be opened.
        """
        self.levels = levels
        self.on_behind: Callable[[], object] = lambda: None
        """Called where lines wait for whoever reads them: then `flush` is to be called soon."""
        self.path = path
        """The file's name; empty for standard error."""
        self.pattern = pattern
        self.is_escaped = is_escaped
        self._line = line_of(pattern)
        # Kept from before twistd puts a file in its place whose lines become log events.
        self._stderr: IO[str] | None = sys.stderr
        if descriptor is not None:
            self._output: Output | None = Output(descriptor, is_own=True)
        else:
            self._output = Output.open(path) if path else _standard_error()
        # Loggers of the standard library speak from whichever thread they are in.
        self._lock = threading.RLock()

    def __call__(self, event: LogEvent) -> None:
        """Write an event, if its level is shown.  Never raises."""
        name = _TWISTED.get(event.get("log_level"), "info")
        logger = str(event.get("log_namespace", "-"))
        if self.levels.shows(logger, name):
            text = eventAsText(event, includeTimestamp=False, includeSystem=False).rstrip()
            with self._lock:
                self._write(Record(text, name, logger, _time(event), event.get("log_location")))

    @property
    def descriptor(self) -> int | None:
        """That of the file; `None` where it is standard error."""
        return self._output.fd if self._output is not None and self.path else None

    def flush(self) -> bool:
        """Write what waits for a slow reader, as far as it is taken; true where nothing is left."""
        with self._lock:
            if self._output is None:
                return True
            self._output.flush()
            self._tell_lost(self._output)
            return not self._output.is_behind

    def close(self) -> None:
        """Write what waits, with a little patience, and close the file."""
        with self._lock:
            if self._output is not None:
                self._output.close(LAST_PATIENCE)
            self._output = self._stderr = None

    def reopen(self) -> None:
        """Open the file anew: where it was moved away, a new one is begun.  Where that fails, the
        old one goes on, and says so.
        """
        before = self._output
        if before is None or not self.path:
            return
        try:
            self._output = before.opened_anew(self.path)
        except OSError as e:
            Logger(namespace="main", observer=self).error(
                "cannot open the log file {path} anew, so the old one goes on: {reason}",
                path=self.path,
                reason=e.strerror,
            )
        else:
            before.close()

    def _write(self, record: Record) -> None:
        line = self._line(record)
        if self.is_escaped:
            line = escaped(line)
        if self._output is None:
            # Standard error of a program that has put something of its own in its place.
            with suppress(OSError, ValueError):
                if self._stderr is not None:
                    self._stderr.write(f"{line}\n")
            return
        self._output.write(f"{line}\n".encode("utf-8", "backslashreplace"))
        self._tell_lost(self._output)
        if self._output.is_behind:
            self.on_behind()

    def _tell_lost(self, output: Output) -> None:
        """Once lines can be written again, how many could not be."""
        if output.lost and not output.is_behind:
            count, output.lost = output.lost, 0
            text = f"{count} lines of the log are lost: it could not be written"
            record = Record(text, "warning", "main", time.time())
            output.write(f"{self._line(record)}\n".encode("utf-8", "backslashreplace"))
            if output.lost:
                output.lost = count


def _standard_error() -> Output | None:
    """Standard error, where it is a descriptor."""
    try:
        return Output.of(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def _time(event: LogEvent) -> float:
    moment = event.get("log_time")
    return moment if isinstance(moment, float) and 0 <= moment < 1 << 40 else 0.0
