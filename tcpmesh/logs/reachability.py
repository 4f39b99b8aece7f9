"""Says in the log of the process that somebody the proxy sends to is lost, and that he is back.

A collector that is down is tried time and again, and each time fails.  An operator wants one line
of that, and another when it works again; and one whose connections are all accepted and at once
reset is no reason for lines without end either.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

QUIET = 60.0
"""Seconds in which no second loss is told; one that lasts is told when they are over."""

STEADY = 10.0
"""Seconds without a failure, after which what works is back."""

MOST = 200
"""Characters of a reason: some come from others."""


class Reachability:
    """Of one of those that the proxy sends to.

    :param log: whose lines they are.
    :param what: what it is, and where, such as "the access log service of cluster 'als'".
    :param seconds: tells the time.
    """

    def __init__(self, log: Logger, what: str, seconds: Callable[[], float]) -> None:
        self._log = log
        self._what = what
        self._seconds = seconds
        self._quiet_until = self._failed = float("-inf")
        self.is_told = False
        """Whether the log says that it is lost."""

    def failed(self, why: object) -> None:
        """It could not be told something."""
        now = self._failed = self._seconds()
        if self.is_told or now < self._quiet_until:
            return
        self.is_told = True
        self._quiet_until = now + QUIET
        text = "".join(each if each.isprintable() else "?" for each in str(why)[:MOST])
        self._log.warn(
            "{what} is lost: {why}; what it does not take is counted", what=self._what, why=text
        )

    def succeeded(self) -> None:
        """It was told something."""
        if self.is_told and self._seconds() >= self._failed + STEADY:
            self.is_told = False
            self._log.info("{what} is back", what=self._what)
