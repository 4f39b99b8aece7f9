"""Gathers in a thread of its own, so that keys are answered while a proxy lets us wait."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Condition, Thread

from tcpmesh.terminal.client import NoAnswer
from tcpmesh.terminal.gathering import Gatherer, Snapshot, Wanted
from tcpmesh.terminal.top import Top

News = Callable[[Top], object]
"""What a screen is to be told."""


class Fetching:
    """Gathers what is wanted every so many seconds, and at once where something else is wanted.

    :param interval: seconds from the end of one look to the next.
    """

    def __init__(self, gatherer: Gatherer, interval: float) -> None:
        self.news: SimpleQueue[News] = SimpleQueue()
        self._gatherer = gatherer
        self._interval = interval
        self._changed = Condition()
        self._wanted: Wanted | None = None
        self._to_close: list[int] = []
        self._is_new = self._is_stopped = False

    def start(self) -> None:
        """Begin, as soon as something is wanted."""
        Thread(target=self._run, name="tcpmesh top", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    def want(self, wanted: Wanted | None) -> None:
        """From now on; `None` for nothing."""
        with self._changed:
            if wanted != self._wanted:
                self._wanted, self._is_new = wanted, wanted is not None
                self._changed.notify()

    def close(self, connection: int) -> None:
        """Have a connection closed."""
        with self._changed:
            self._to_close.append(connection)
            self._is_new = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_new or self._is_stopped, self._interval)
                if self._is_stopped:
                    return
                self._is_new = False
                wanted, to_close, self._to_close = self._wanted, self._to_close, []
            for connection in to_close:
                self._tell(self._closed, connection)
            if wanted is not None:
                self._tell(self._gathered, wanted)

    def _closed(self, connection: int) -> News:
        try:
            said = self._gatherer.close(connection)
        except NoAnswer as e:
            said = str(e)
        return lambda top: top.say(f"connection {connection}: {said}")

    def _gathered(self, wanted: Wanted) -> News:
        snapshot: Snapshot = self._gatherer.gather(wanted)
        return lambda top: top.take(snapshot)

    def _tell(self, do: Callable[..., News], *args: object) -> None:
        try:
            self.news.put(do(*args))
        except NoAnswer as e:
            reason = str(e)
            self.news.put(lambda top: top.fail(reason))
