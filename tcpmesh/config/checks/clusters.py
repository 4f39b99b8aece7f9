"""Clusters: what each way of discovery and each load-balancing policy demands, endpoints, health
checks, outliers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from tcpmesh.config.checks.balancing import check_ring, check_table, chosen, is_policy
from tcpmesh.config.fields.addresses import check_pipe, is_ip
from tcpmesh.config.fields.values import nanoseconds
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type, is_foreign
from tcpmesh.config.text.problems import FieldPath

#: The cluster types of Envoy's that a `cluster_type` may have by its name alone.
BY_NAME = {
    f"envoy.cluster.{kind.lower()}": kind
    for kind in ("STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST")
}

_MILLISECOND = 1_000_000
_SECOND = 1_000_000_000
_TYPES = "envoy.extensions.clusters."
_PARTS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
_PROVIDED = "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided"
_HEXADECIMAL = re.compile("([0-9a-fA-F]{2})*")
_RESOLVED = ("STRICT_DNS", "LOGICAL_DNS")
_WITHOUT_BALANCER = ("STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS")


def _check_cluster(cluster: Any, field_path: FieldPath, report: Report) -> None:
    kind = kind_of(cluster)
    _check_discovery(cluster, kind, field_path, report)
    _check_balancing(cluster, kind, field_path, report)
    for endpoint, here in _endpoints(cluster, field_path):
        _check_endpoint(endpoint, kind, here, report)


def kind_of(cluster: Any) -> str:
    """The name of its `type`; empty where an extension decides."""
    if cluster.WhichOneof("cluster_discovery_type") == "cluster_type":
        custom = cluster.cluster_type
        return "" if custom.HasField("typed_config") else BY_NAME.get(custom.name, "")
    return (
        str(Cluster.DiscoveryType.Name(cluster.type))
        if cluster.type in Cluster.DiscoveryType.values()
        else ""
    )


# ---------------------------------------------------------------- discovery


def _check_discovery(cluster: Any, kind: str, field_path: FieldPath, report: Report) -> None:
    if kind == "EDS" and not cluster.eds_cluster_config.HasField("eds_config"):
        report.absent(
            field_path,
            ["eds_cluster_config"],
            "an EDS cluster needs an eds_cluster_config with an eds_config",
        )
    if kind != "EDS" and cluster.HasField("eds_cluster_config"):
        report.error(
            (field_path, "eds_cluster_config"),
            "eds_cluster_config is set in a cluster that is not of type EDS",
        )
    if kind == "LOGICAL_DNS" and [
        len(item.lb_endpoints) for item in cluster.load_assignment.endpoints
    ] != [1]:
        text = "a LOGICAL_DNS cluster needs one locality with one endpoint"
        report.error((field_path, "load_assignment"), text, "STRICT_DNS takes several")
    if (
        extension_type(cluster.cluster_type.typed_config)
        == "envoy.extensions.clusters.aggregate.v3.ClusterConfig"
    ):
        _check_aggregate(cluster, field_path, report)
    if kind == "ORIGINAL_DST":
        _check_original_dst(cluster, field_path, report)


def _check_aggregate(cluster: Any, field_path: FieldPath, report: Report) -> None:
    if cluster.HasField("load_balancing_policy"):
        if chosen(cluster.load_balancing_policy) not in ("", _PROVIDED):
            text = (
                "an aggregate cluster provides its load balancer, so this must be ClusterProvided"
            )
            report.error((field_path, "load_balancing_policy"), text)
    elif cluster.lb_policy != Cluster.CLUSTER_PROVIDED:
        report.error(
            (field_path, "lb_policy"), "an aggregate cluster needs lb_policy CLUSTER_PROVIDED"
        )


def _check_original_dst(cluster: Any, field_path: FieldPath, report: Report) -> None:
    if cluster.lb_policy != Cluster.CLUSTER_PROVIDED:
        report.error(
            (field_path, "lb_policy"), "an ORIGINAL_DST cluster needs lb_policy CLUSTER_PROVIDED"
        )
    if chosen(cluster.load_balancing_policy) not in ("", _PROVIDED):
        text = "an ORIGINAL_DST cluster provides its load balancer, so this must be ClusterProvided"
        report.error((field_path, "load_balancing_policy"), text)
    config = cluster.original_dst_lb_config
    if config.http_header_name and not config.use_http_header:
        here = ((field_path, "original_dst_lb_config"), "http_header_name")
        report.error(
            here,
            "http_header_name is set and use_http_header is false: set it to true, or remove "
            "the name",
        )
    if cluster.HasField("load_assignment"):
        report.error(
            (field_path, "load_assignment"),
            "an ORIGINAL_DST cluster has no endpoints of its own: remove load_assignment",
        )


# ---------------------------------------------------------------- load balancing


def _check_balancing(cluster: Any, kind: str, field_path: FieldPath, report: Report) -> None:
    policy = cluster.lb_policy
    if cluster.HasField("load_balancing_policy"):
        taken = chosen(cluster.load_balancing_policy)
        if not taken:
            report.error(
                (field_path, "load_balancing_policy"),
                "load_balancing_policy names no policy that is known",
            )
        elif kind in _WITHOUT_BALANCER and taken == _PROVIDED:
            report.error(
                (field_path, "load_balancing_policy"),
                f"a {kind} cluster provides no load balancer: choose another policy",
            )
        return
    if policy == Cluster.LOAD_BALANCING_POLICY_CONFIG:
        report.absent(
            field_path,
            ["load_balancing_policy"],
            "lb_policy LOAD_BALANCING_POLICY_CONFIG needs load_balancing_policy",
        )
    if policy == Cluster.CLUSTER_PROVIDED and kind in _WITHOUT_BALANCER:
        report.error(
            (field_path, "lb_policy"),
            f"a {kind} cluster provides no load balancer: lb_policy cannot be CLUSTER_PROVIDED",
        )
    if policy == Cluster.RING_HASH:
        check_ring(cluster.ring_hash_lb_config, (field_path, "ring_hash_lb_config"), report)
    if policy == Cluster.MAGLEV:
        check_table(cluster.maglev_lb_config, (field_path, "maglev_lb_config"), report)
    hashing = cluster.common_lb_config.consistent_hashing_lb_config
    if cluster.type == Cluster.STATIC and hashing.use_hostname_for_hashing:
        here = (
            ((field_path, "common_lb_config"), "consistent_hashing_lb_config"),
            "use_hostname_for_hashing",
        )
        text = (
            "cluster with a cluster_type" if cluster.HasField("cluster_type") else "STATIC cluster"
        )
        report.error(here, f"the endpoints of a {text} cannot be hashed by hostname")


def _check_custom_type(custom: Any, field_path: FieldPath, report: Report) -> None:
    type_name = extension_type(custom.typed_config)
    if type_name and not type_name.startswith(_TYPES) and not is_foreign(type_name):
        report.error(((field_path, "typed_config"), "@type"), f"{type_name} is no type of cluster")


# ---------------------------------------------------------------- endpoints


def _endpoints(cluster: Any, field_path: FieldPath) -> Iterator[tuple[Any, FieldPath]]:
    localities: FieldPath = ((field_path, "load_assignment"), "endpoints")
    for i, locality in enumerate(cluster.load_assignment.endpoints):
        for j, host in enumerate(locality.lb_endpoints):
            yield host, (((localities, i), "lb_endpoints"), j)


def _check_endpoint(host: Any, kind: str, field_path: FieldPath, report: Report) -> None:
    address = host.endpoint.address
    here: FieldPath = ((field_path, "endpoint"), "address")
    if address.HasField("socket_address"):
        _check_socket_address(address.socket_address, kind, (here, "socket_address"), report)
    elif address.HasField("pipe"):
        check_pipe(address.pipe, (here, "pipe"), report)
    elif not address.HasField("envoy_internal_address") and kind not in _RESOLVED:
        parent: FieldPath = (field_path, "endpoint") if host.HasField("endpoint") else field_path
        report.absent(
            parent,
            ["address" if host.HasField("endpoint") else "endpoint"],
            "an endpoint needs an address",
        )


def _check_socket_address(address: Any, kind: str, field_path: FieldPath, report: Report) -> None:
    if kind in _RESOLVED:
        if address.resolver_name:
            report.error(
                (field_path, "resolver_name"),
                f"the endpoints of a {kind} cluster must not name a resolver",
            )
    elif kind == "STATIC" and address.address:
        _check_static_address(address, field_path, report)


def _check_static_address(address: Any, field_path: FieldPath, report: Report) -> None:
    if not is_ip(address.address):
        text = f"malformed IP address: {address.address!r}; a STATIC cluster resolves no names"
        report.error(
            (field_path, "address"), text, "use type STRICT_DNS or LOGICAL_DNS for a host name"
        )
    if address.HasField("named_port"):
        report.error(
            (field_path, "named_port"),
            "a STATIC cluster resolves no names of ports",
            "use port_value",
        )


def _check_dropping(policy: Any, field_path: FieldPath, report: Report) -> None:
    here: FieldPath = (field_path, "drop_overloads")
    if len(policy.drop_overloads) > 1:
        report.error(here, "drop_overloads may have one category")
        return
    for index, each in enumerate(policy.drop_overloads):
        share = each.drop_percentage
        if share.numerator > _PARTS.get(
            share.DenominatorType.Name(share.denominator), share.numerator
        ):
            report.error(((here, index), "drop_percentage"), "drop_percentage is more than all")


# ---------------------------------------------------------------- health


def _check_outliers(outliers: Any, field_path: FieldPath, report: Report) -> None:
    base = (
        nanoseconds(outliers.base_ejection_time)
        if outliers.HasField("base_ejection_time")
        else 30 * _SECOND
    )
    most = (
        nanoseconds(outliers.max_ejection_time)
        if outliers.HasField("max_ejection_time")
        else max(300 * _SECOND, base)
    )
    if most // _MILLISECOND < base // _MILLISECOND:
        report.error(
            (field_path, "max_ejection_time"),
            "max_ejection_time must not be below base_ejection_time",
        )


def _check_payload(payload: Any, field_path: FieldPath, report: Report) -> None:
    if not _HEXADECIMAL.fullmatch(payload.text):
        report.error(
            (field_path, "text"),
            f"{payload.text!r} is no text of bytes in hexadecimal, two digits each",
        )


def _check_wrr_locality(policy: Any, field_path: FieldPath, report: Report) -> None:
    if not any(is_policy(each) for each in policy.endpoint_picking_policy.policies):
        report.error(
            (field_path, "endpoint_picking_policy"),
            "endpoint_picking_policy names no policy that is known",
        )


CHECKS = {
    "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality": _check_wrr_locality,
    "envoy.config.cluster.v3.Cluster": _check_cluster,
    "envoy.config.cluster.v3.Cluster.CustomClusterType": _check_custom_type,
    "envoy.config.cluster.v3.OutlierDetection": _check_outliers,
    "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy": _check_dropping,
    "envoy.config.core.v3.HealthCheck.Payload": _check_payload,
}
