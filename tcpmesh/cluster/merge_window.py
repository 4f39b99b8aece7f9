"""The merge window: changes of hosts' health reach the load balancer at most once in a while.

To rebuild what a policy has worked out costs time in proportion to the hosts, and where many hosts
change their health together that would be done for each of them.  So after a change, further ones
are held back until the window (`update_merge_window`) is over, and then passed on as one.  Hosts
that come or go are never held back.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.stats.store import Store


class MergeWindow:
    """Decides when `deliver` is called.

    :param window: seconds; 0 to hold nothing back.
    """

    def __init__(
        self, clock: IReactorTime, window: float, store: Store, deliver: Callable[[], object]
    ) -> None:
        self._clock = clock
        self._window = window
        self._deliver = deliver
        self._last = -inf
        self._waiting: IDelayedCall | None = None
        self._updated = store.counter("cluster_manager.cluster_updated")
        self._merged = store.counter("cluster_manager.cluster_updated_via_merge")
        self._cancelled = store.counter("cluster_manager.update_merge_cancelled")
        self._out_of_window = store.counter("cluster_manager.update_out_of_merge_window")

    def health_changed(self) -> None:
        """A host changed its health or weight: deliver it now, or with others when the window is
        over.
        """
        if self._window:
            if self._clock.seconds() - self._last <= self._window:
                if self._waiting is None:
                    self._waiting = self._clock.callLater(self._window, self._expired)
                return
            self._out_of_window.tally += 1
        self.hosts_changed()

    def hosts_changed(self) -> None:
        """Hosts came or went: deliver that now, and with it what waits."""
        if self._window:
            if self._waiting is not None:
                self._cancelled.tally += 1
                self.stop()
            self._last = self._clock.seconds()
        self._updated.tally += 1
        self._deliver()

    def stop(self) -> None:
        """Deliver nothing more of what waits."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _expired(self) -> None:
        self._waiting = None
        self._last = self._clock.seconds()
        self._merged.tally += 1
        self._deliver()
