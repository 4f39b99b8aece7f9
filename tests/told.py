"""What the log of the process is told, as lines."""

from __future__ import annotations

from zope.interface import implementer

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase


@implementer(ILogObserver)
class Told:
    """The lines of one logger."""

    def __init__(self, namespace: str = "stats") -> None:
        self._namespace = namespace
        self.lines: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        """Something is logged."""
        if event.get("log_namespace") == self._namespace:
            self.lines.append(formatEvent(event))


def told_in(test: SynchronousTestCase, namespace: str) -> Told:
    """What is told until the end of a test."""
    told = Told(namespace)
    globalLogPublisher.addObserver(told)
    test.addCleanup(globalLogPublisher.removeObserver, told)
    return told
