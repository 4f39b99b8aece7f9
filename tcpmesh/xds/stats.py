"""The statistics of a subscription: `listener_manager.lds.`, `cluster_manager.cds.`."""

from __future__ import annotations

from collections.abc import Callable

from xxhash import xxh64_intdigest

from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration, Store
from tcpmesh.values.server_options import ServerOptions

DECLARED = Declaration(counters=("init_fetch_timeout",))


def unknown_fields(store: Store, options: ServerOptions) -> Callable[[int], None]:
    """Counts fields in what discovery brings that nobody knows, where they are not let pass."""

    def count(fields: int) -> None:
        if fields and not options.ignore_unknown_dynamic_fields:
            store.counter("server.dynamic_unknown_fields").tally += fields

    return count


class SubscriptionStats:
    """What is told of one subscription.

    :param prefix: such as `cluster_manager.cds`.
    :param counts_reloads: whether updates that change something are counted, as Envoy counts those
        of clusters.
    """

    def __init__(self, store: Store, prefix: str, counts_reloads: bool = False) -> None:
        scope = self.scope = store.scope(prefix)
        self.attempts = scope.counter("update_attempt")
        self.successes = scope.counter("update_success")
        self.failures = scope.counter("update_failure")
        self.rejections = scope.counter("update_rejected")
        self._time = scope.gauge("update_time", Merge.MAIN)
        self._version = scope.gauge("version", Merge.MAIN)
        self._text = scope.text_readout("version_text")
        self._duration = scope.histogram("update_duration")
        scope.declare(DECLARED)
        self._reloads = scope.counter("config_reload") if counts_reloads else None
        self._reloaded = (
            scope.gauge("config_reload_time_ms", Merge.MAIN) if counts_reloads else None
        )

    def reloaded(self, wall: float) -> None:
        """An update has changed something, at this time."""
        if self._reloads is not None and self._reloaded is not None:
            self._reloads.tally += 1
            self._reloaded.set(int(wall * 1000))

    def updated(self, version: str, wall: float, seconds: float) -> None:
        """An update was taken: of this version, at this time, in so many seconds."""
        self.successes.tally += 1
        self._time.set(int(wall * 1000))
        self._version.set(xxh64_intdigest(version.encode("utf-8", "replace")))
        self._text.set(version)
        self._duration.record(seconds * 1000)
