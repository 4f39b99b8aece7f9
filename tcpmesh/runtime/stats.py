"""The statistics under `runtime.`."""

from __future__ import annotations

from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration, Store

DECLARED = Declaration(
    counters=("deprecated_feature_use",),
    gauges=("deprecated_feature_seen_since_process_start",),
)
"""What nothing moves."""


class RuntimeStats:
    """What main tells of its layers."""

    def __init__(self, store: Store) -> None:
        scope = store.scope("runtime")
        scope.declare(DECLARED)
        self.load_success = scope.counter("load_success")
        self.load_error = scope.counter("load_error")
        self.override_dir_exists = scope.counter("override_dir_exists")
        self.override_dir_not_exists = scope.counter("override_dir_not_exists")
        """As in Envoy, the directories of disk layers exist where those of two layers do."""
        self.num_keys = scope.gauge("num_keys", Merge.MAIN)
        self.num_layers = scope.gauge("num_layers", Merge.MAIN)
        self.admin_overrides_active = scope.gauge("admin_overrides_active", Merge.MAIN)
