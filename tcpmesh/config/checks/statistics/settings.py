"""Which statistics there are, and the tags in their names."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath
from tcpmesh.wire.ecmascript import EcmaRegex
from tcpmesh.wire.regex import BadRegex

DEFAULT_TAGS = frozenset(
    f"envoy.{tag}"
    for tag in (
        "clientssl_prefix",
        "cluster_name",
        "connection_limit_prefix",
        "dns_filter_prefix",
        "dynamo_operation",
        "dynamo_partition_id",
        "dynamo_table",
        "ext_authz_prefix",
        "fault_downstream_cluster",
        "google_grpc_client_prefix",
        "grpc_bridge_method",
        "grpc_bridge_service",
        "http_conn_manager_prefix",
        "http_user_agent",
        "listener_address",
        "local_http_ratelimit_prefix",
        "local_listener_ratelimit_prefix",
        "local_network_ratelimit_prefix",
        "mongo_callsite",
        "mongo_cmd",
        "mongo_collection",
        "mongo_prefix",
        "proxy_protocol_prefix",
        "proxy_protocol_version",
        "ratelimit_prefix",
        "rbac_http_prefix",
        "rbac_policy_name",
        "rbac_prefix",
        "rds_route_config",
        "redis_prefix",
        "response_code",
        "response_code_class",
        "route",
        "scoped_rds_config",
        "ssl_cipher",
        "ssl_curve",
        "ssl_sigalg",
        "ssl_version",
        "tcp_prefix",
        "thrift_prefix",
        "tls_certificate",
        "udp_prefix",
        "virtual_cluster",
        "virtual_host",
        "worker_id",
        "xds_resource_name",
    )
) | {"cipher_suite"}
"""Tags that need no expression of their own: Envoy has one for each."""


def _check_tag(tag: Any, field_path: FieldPath, report: Report) -> None:
    if tag.WhichOneof("tag_value") == "fixed_value":
        return
    if not tag.regex:
        if tag.tag_name not in DEFAULT_TAGS:
            text = f"it has no regex, and Envoy has none of its own for a tag {tag.tag_name!r}"
            report.absent(field_path, ["regex"], text, "add regex, or fixed_value")
        return
    if not tag.tag_name:
        report.absent(field_path, ["tag_name"], "a tag that a regex finds has a name")
    try:
        groups = EcmaRegex(tag.regex).groups
    except BadRegex as e:
        report.error((field_path, "regex"), f"no regular expression of ECMAScript: {e}")
        return
    if not groups:
        text = "without a group this expression finds no tag"
        report.warning((field_path, "regex"), text, "put parentheses around what it is to cut out")


CHECKS = {"envoy.config.metrics.v3.TagSpecifier": _check_tag}
"""The checks of this module."""
