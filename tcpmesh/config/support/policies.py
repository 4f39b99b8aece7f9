"""The fields of the load-balancing policies that are extensions."""

from __future__ import annotations

from tcpmesh.config.support.rows import YES, Rows, no_effect

#: What a field of a cluster of the same purpose has too.
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

_LOCALITY = "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig"

#: What an `@type` may name.
EXTENSIONS: dict[str, Rows] = {
    "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin": {
        "slow_start_config": YES,
        "locality_lb_config": YES,
    },
    "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest": {
        "choice_count": YES,
        "active_request_bias": YES,
        "slow_start_config": YES,
        "locality_lb_config": YES,
        "enable_full_scan": YES,
        "selection_method": YES,
    },
    "envoy.extensions.load_balancing_policies.random.v3.Random": {"locality_lb_config": YES},
    "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash": {
        "hash_function": YES,
        "minimum_ring_size": YES,
        "maximum_ring_size": YES,
        "use_hostname_for_hashing": YES,
        "hash_balance_factor": YES,
        "consistent_hashing_lb_config": YES,
        "locality_weighted_lb_config": YES,
    },
    "envoy.extensions.load_balancing_policies.maglev.v3.Maglev": {
        "table_size": YES,
        "consistent_hashing_lb_config": YES,
        "locality_weighted_lb_config": YES,
    },
    "envoy.extensions.load_balancing_policies.subset.v3.Subset": {
        **SUBSET,
        "allow_redundant_keys": YES,
        "subset_lb_policy": YES,
    },
    "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost": {
        "override_host_sources": YES,
        "fallback_policy": YES,
    },
    "envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst": {
        "shuffle_address_list": YES
    },
    "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality": {
        "endpoint_picking_policy": YES
    },
    "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided": {},
}

#: The types of their fields.
PARTS: dict[str, Rows] = {
    "envoy.extensions.load_balancing_policies.subset.v3.Subset.LbSubsetSelector": SUBSET_SELECTOR,
    "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost.OverrideHostSource": {
        "header": no_effect("a TCP connection has no headers"),
        "metadata": YES,
    },
    "envoy.type.metadata.v3.MetadataKey": {"key": YES, "path": YES},
    "envoy.type.metadata.v3.MetadataKey.PathSegment": {"key": YES},
    "envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig": {
        "use_hostname_for_hashing": YES,
        "hash_balance_factor": YES,
        "hash_policy": YES,
    },
    "envoy.config.route.v3.RouteAction.HashPolicy": {
        "header": no_effect("a TCP connection has no headers"),
        "cookie": no_effect("a TCP connection has no cookies"),
        "query_parameter": no_effect("a TCP connection has no query"),
        "connection_properties": YES,
        "filter_state": YES,
        "terminal": YES,
    },
    "envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties": {"source_ip": YES},
    "envoy.config.route.v3.RouteAction.HashPolicy.FilterState": {"key": YES},
    "envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig": SLOW_START,
    "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig": {
        "zone_aware_lb_config": YES,
        "locality_weighted_lb_config": YES,
    },
    "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig": {
        "routing_enabled": YES,
        "min_cluster_size": YES,
        "fail_traffic_on_panic": YES,
        "force_locality_direct_routing": YES,
        "force_local_zone": YES,
        "locality_basis": YES,
    },
    f"{_LOCALITY}.ZoneAwareLbConfig.ForceLocalZone": {"min_size": YES},
    f"{_LOCALITY}.LocalityWeightedLbConfig": {},
}
