"""Rows that a field of a cluster and the load-balancing policy of the same purpose share."""

from __future__ import annotations

from tcpmesh.config.support.rows import YES, Rows

SUBSET: Rows = {
    "fallback_policy": YES,
    "default_subset": YES,
    "subset_selectors": YES,
    "locality_weight_aware": YES,
    "scale_locality_weight": YES,
    "panic_mode_any": YES,
    "list_as_any": YES,
    "metadata_fallback_policy": YES,
}

SUBSET_SELECTOR: Rows = {
    "keys": YES,
    "single_host_per_subset": YES,
    "fallback_policy": YES,
    "fallback_keys_subset": YES,
}

SLOW_START: Rows = {"slow_start_window": YES, "aggression": YES, "min_weight_percent": YES}
