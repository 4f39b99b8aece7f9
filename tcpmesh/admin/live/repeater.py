"""One kind of message that is made again and again while somebody looks.

Making it is work in steps, by turns with all other long work, and may wait for a worker.  That is
no more than a tenth of the time, however large the proxy is: the next one is begun after ten times
as long as the steps took, and the worker until it answered, a second at least.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from time import perf_counter
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import CooperativeTask, Cooperator
from twisted.logger import Logger
from twisted.python.failure import Failure

PERIOD = 1.0
SHARE = 10

Steps: TypeAlias = "Generator[Deferred[Any] | None, None, str | None]"
"""The steps to a message, as JSON; `None` where there is nothing new."""

_log = Logger(namespace="admin")


class Repeater:
    """Makes the messages of one kind, from `start` to `stop`.

    :param make: begins another one.
    :param tell: takes what was made.
    """

    def __init__(
        self,
        make: Callable[[], Steps],
        tell: Callable[[str], object],
        clock: IReactorTime,
        cooperator: Cooperator,
        now: Callable[[], float] = perf_counter,
    ) -> None:
        self._make = make
        self._tell = tell
        self._clock = clock
        self._cooperator = cooperator
        self._now = now
        self._spent = 0.0
        self._task: CooperativeTask[Any] | None = None
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Make one now, and then ever another."""
        self._next = None
        self._task = self._cooperator.cooperate(self._making())
        self._task.whenDone().addErrback(self._failed)

    def stop(self) -> None:
        """Make no more."""
        if self._task is not None:
            task, self._task = self._task, None
            task.stop()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _making(self) -> Generator[Deferred[Any] | None, None, None]:
        steps, made = self._make(), None
        self._spent = 0.0
        while True:
            began = self._now()
            try:
                step = next(steps)
            except StopIteration as e:
                made = e.value
                break
            finally:
                self._spent += self._now() - began
            began = self._now()
            yield step
            if step is not None:
                self._spent += self._now() - began
        self._again()
        if made is not None:
            self._tell(made)

    def _failed(self, failure: Failure) -> None:
        if self._task is not None:
            _log.failure("the live page cannot be told how things are", failure)
            self._again()

    def _again(self) -> None:
        self._task = None
        self._next = self._clock.callLater(max(PERIOD, SHARE * self._spent), self.start)
