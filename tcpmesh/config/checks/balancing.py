"""Load-balancing policies that hash, choose subsets or take the host a connection names: settings
that contradict each other.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type, is_foreign, unpack
from tcpmesh.config.text.problems import FieldPath

_DEFAULT_MAX_RING = 8 << 20
_DEFAULT_MIN_RING = 1024
_POLICIES = "envoy.extensions.load_balancing_policies."
_ELSEWHERE = ("zone_aware_lb_config", "locality_weighted_lb_config", "consistent_hashing_lb_config")


def check_ring(config: Any, field_path: FieldPath, report: Report) -> None:
    """A ring's sizes, of a cluster's `ring_hash_lb_config` or of the typed policy."""
    least = (
        config.minimum_ring_size.value
        if config.HasField("minimum_ring_size")
        else _DEFAULT_MIN_RING
    )
    most = (
        config.maximum_ring_size.value
        if config.HasField("maximum_ring_size")
        else _DEFAULT_MAX_RING
    )
    if least > most:
        report.error(
            (field_path, "minimum_ring_size"),
            f"minimum_ring_size {least} is above maximum_ring_size {most}",
        )


def check_table(config: Any, field_path: FieldPath, report: Report) -> None:
    """A table's size, of a cluster's `maglev_lb_config` or of the typed policy."""
    if not config.HasField("table_size"):
        return
    size = config.table_size.value
    if size < 2 or any(size % divisor == 0 for divisor in range(2, int(size**0.5) + 1)):
        report.error(
            (field_path, "table_size"),
            f"the table size of MAGLEV must be a prime number, {size} is not",
        )


def is_policy(policy: Any) -> bool:
    """Whether an entry of a `LoadBalancingPolicy` names one that is known."""
    type_name = extension_type(policy.typed_extension_config.typed_config)
    return type_name.startswith(_POLICIES) or is_foreign(type_name)


def chosen(policy: Any) -> str:
    """The type of the entry of a `LoadBalancingPolicy` that is taken: the first one known; empty
    where there is none.
    """
    found = (
        extension_type(each.typed_extension_config.typed_config)
        for each in policy.policies
        if is_policy(each)
    )
    return next(found, "")


def _check_chosen(policy: Any, field_path: FieldPath, report: Report) -> None:
    """The sizes in the entry that is taken; of the others Envoy asks nothing."""
    for index, each in enumerate(policy.policies):
        if is_policy(each):
            config = each.typed_extension_config.typed_config
            check = _SIZES.get(extension_type(config))
            if check is not None:
                here: FieldPath = (
                    (((field_path, "policies"), index), "typed_extension_config"),
                    "typed_config",
                )
                check(unpack(config), here, report)
            return


def _check_cluster(cluster: Any, field_path: FieldPath, report: Report) -> None:
    if cluster.lb_policy == cluster.CLUSTER_PROVIDED and cluster.lb_subset_config.subset_selectors:
        report.error(
            (field_path, "lb_subset_config"),
            "lb_policy CLUSTER_PROVIDED cannot be combined with lb_subset_config",
        )
    if cluster.lb_subset_config.locality_weight_aware and not cluster.common_lb_config.HasField(
        "locality_weighted_lb_config"
    ):
        here = ((field_path, "lb_subset_config"), "locality_weight_aware")
        report.error(
            here, "locality_weight_aware needs locality_weighted_lb_config in common_lb_config"
        )
    if not cluster.HasField("load_balancing_policy"):
        return
    if cluster.HasField("lb_subset_config"):
        text = "lb_subset_config cannot be combined with load_balancing_policy"
        report.error(
            (field_path, "lb_subset_config"),
            text,
            "use the policy envoy.extensions.load_balancing_policies.subset.v3.Subset",
        )
    for name in _ELSEWHERE:
        if cluster.common_lb_config.HasField(name):
            here = ((field_path, "common_lb_config"), name)
            report.error(
                here,
                f"{name} cannot be combined with load_balancing_policy, whose policies have it",
            )


def _check_selector(selector: Any, field_path: FieldPath, report: Report) -> None:
    keys, reduced = set(selector.keys), set(selector.fallback_keys_subset)
    here: FieldPath = (field_path, "fallback_keys_subset")
    if selector.fallback_policy != selector.KEYS_SUBSET:
        if reduced:
            report.error(here, "fallback_keys_subset is only for fallback_policy KEYS_SUBSET")
    elif not reduced:
        report.absent(
            field_path,
            ["fallback_keys_subset"],
            "fallback_policy KEYS_SUBSET needs fallback_keys_subset",
        )
    elif not reduced < keys:
        report.error(
            here, "fallback_keys_subset must be some of the selector's keys, and not all of them"
        )


def _check_subset(policy: Any, field_path: FieldPath, report: Report) -> None:
    if policy.HasField("subset_lb_policy") and not any(
        is_policy(each) for each in policy.subset_lb_policy.policies
    ):
        report.error(
            (field_path, "subset_lb_policy"), "subset_lb_policy names no policy that is known"
        )


def _check_override(policy: Any, field_path: FieldPath, report: Report) -> None:
    if policy.HasField("fallback_policy") and not any(
        is_policy(each) for each in policy.fallback_policy.policies
    ):
        report.error(
            (field_path, "fallback_policy"), "fallback_policy names no policy that is known"
        )
    for index, source in enumerate(policy.override_host_sources):
        if bool(source.header) == source.HasField("metadata"):
            here = ((field_path, "override_host_sources"), index)
            report.error(here, "a source is either a header or metadata")


_SIZES = {
    _POLICIES + "maglev.v3.Maglev": check_table,
    _POLICIES + "ring_hash.v3.RingHash": check_ring,
}

CHECKS = {
    "envoy.config.cluster.v3.Cluster": _check_cluster,
    "envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector": _check_selector,
    "envoy.config.cluster.v3.LoadBalancingPolicy": _check_chosen,
    "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost": _check_override,
    "envoy.extensions.load_balancing_policies.subset.v3.Subset": _check_subset,
    "envoy.extensions.load_balancing_policies.subset.v3.Subset.LbSubsetSelector": _check_selector,
}
