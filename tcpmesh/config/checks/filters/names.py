"""Names that clients bring along: DNS caches, and the clusters that go by them."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.clusters.dynamic_forward_proxy.v3.cluster_pb2 import ClusterConfig
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from tcpmesh.config.checks.balancing import chosen
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import type_of_url, unpack
from tcpmesh.config.text.problems import FieldPath

_MOST_HOSTS = 1024
_PROVIDED = "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided"
_RESOLVERS = "envoy.extensions.network.dns_resolver."
_CLUSTER = ClusterConfig.DESCRIPTOR.full_name


def _check_cache(cache: Any, field_path: FieldPath, report: Report) -> None:
    most = cache.max_hosts.value or _MOST_HOSTS
    if len(cache.preresolve_hostnames) > most:
        text = f"there is room for {most} names (max_hosts)"
        report.error((field_path, "preresolve_hostnames"), text)
    if cache.HasField("typed_dns_resolver_config"):
        type_name = type_of_url(cache.typed_dns_resolver_config.typed_config.type_url)
        if type_name.startswith("envoy.") and not type_name.startswith(_RESOLVERS):
            here: FieldPath = (((field_path, "typed_dns_resolver_config"), "typed_config"), "@type")
            report.error(here, f"{type_name} is no DNS resolver")
    known = report.dns_caches.setdefault(cache.name, cache)
    if known != cache:
        report.error(field_path, f"the DNS cache {cache.name!r} has other settings elsewhere")


def _check_cluster(cluster: Any, field_path: FieldPath, report: Report) -> None:
    config = cluster.cluster_type.typed_config
    if type_of_url(config.type_url) != _CLUSTER:
        return
    if cluster.HasField("load_balancing_policy"):
        if chosen(cluster.load_balancing_policy) not in ("", _PROVIDED):
            text = "the cluster provides its load balancer, so this must be ClusterProvided"
            report.error((field_path, "load_balancing_policy"), text)
    elif cluster.lb_policy != Cluster.CLUSTER_PROVIDED:
        text = "a cluster of this type needs lb_policy CLUSTER_PROVIDED"
        report.error((field_path, "lb_policy"), text)
    message: Any = unpack(config)
    if message is not None and not message.allow_insecure_cluster_options:
        _check_options(cluster, (field_path, "typed_extension_protocol_options"), report)


def _check_options(cluster: Any, field_path: FieldPath, report: Report) -> None:
    """What Envoy demands for requests of HTTP, it demands where these options are written."""
    for name, packed in cluster.typed_extension_protocol_options.items():
        if not packed.Is(HttpProtocolOptions.DESCRIPTOR):
            continue
        options: Any = unpack(packed)
        if options is None:
            continue
        wanted = options.upstream_http_protocol_options
        if not (wanted.auto_sni and wanted.auto_san_validation):
            report.error(
                (field_path, name),
                "upstream_http_protocol_options must have auto_sni and auto_san_validation",
                "or set allow_insecure_cluster_options, which means nothing for TCP",
            )


CHECKS = {
    "envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig": _check_cache,
    "envoy.config.cluster.v3.Cluster": _check_cluster,
}
