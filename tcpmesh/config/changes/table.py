"""Which fields of the bootstrap may change while the proxy runs: each has a row here.

- `APPLIED`: what a reload brings is in effect once it is through.
- `settled(reason)`: another value needs a restart, and a reload that brings one is refused as a
  whole; the reason says why.
- `UNUSED`: nothing reads the field, so nothing has to be done.

Of a message some of whose fields may change, each field has a row, and it has the rows of these
(`within`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import Enum
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import RuntimeLayer

from tcpmesh.facts import dataclass


class Treatment(Enum):
    """What a reload does with another value."""

    APPLIED = "applied"
    SETTLED = "needs a restart"
    UNUSED = "not read"


@dataclass(frozen=True)
class Row:
    """What a reload does with one field."""

    treatment: Treatment
    reason: str = ""
    fields: Mapping[str, Row] = field(default_factory=dict)
    """Where some of the fields of its message differ in that: each of them."""

    settled_part: Callable[[Any], object] | None = None
    """What of the value may not change, of a field that is applied otherwise."""


APPLIED = Row(Treatment.APPLIED)
UNUSED = Row(Treatment.UNUSED)


def settled(reason: str) -> Row:
    """Another value needs a restart."""
    return Row(Treatment.SETTLED, reason)


def within(fields: Mapping[str, Row]) -> Row:
    """It depends on the field of the message."""
    return Row(Treatment.APPLIED, fields=fields)


def other_layers(layered: Any) -> list[Any]:
    """The layers of a `LayeredRuntime` that are no static ones, by what they say: those on disk are
    watched, and that of operators has what they have set.
    """
    if layered is None:
        return []
    layers = list(layered.layers) or [RuntimeLayer(admin_layer=RuntimeLayer.AdminLayer())]
    return [each for each in layers if not each.HasField("static_layer")]


STATIC = within({"listeners": APPLIED, "clusters": APPLIED, "secrets": APPLIED})

ADMIN = within(
    {
        "address": settled("its clients, and those who look after the proxy, know it there"),
        "socket_options": settled("they are set when its address is bound"),
        "access_log": APPLIED,
        "access_log_path": APPLIED,
        "profile_path": APPLIED,
        "allow_paths": APPLIED,
        "ignore_global_conn_limit": UNUSED,
    }
)

RESOLVER = settled("clusters ask the resolver that they were made with, also those that stay")

FIELDS: Mapping[str, Row] = {
    "node": settled("it is what the proxy is called, by itself and by others"),
    "node_context_params": UNUSED,
    "static_resources": STATIC,
    "dynamic_resources": settled("the files of discovery are followed from the start"),
    "cluster_manager": settled("all clusters are made with it, also those that stay"),
    "hds_config": UNUSED,
    "flags_path": UNUSED,
    "stats_sinks": APPLIED,
    "deferred_stat_options": UNUSED,
    "stats_config": settled("statistics have their names, tags and buckets for good"),
    "stats_flush_interval": APPLIED,
    "stats_flush_on_admin": APPLIED,
    "stats_eviction_interval": UNUSED,
    "watchdog": UNUSED,
    "watchdogs": UNUSED,
    "tracing": UNUSED,
    "layered_runtime": Row(
        Treatment.APPLIED,
        "layers on disk are watched from the start, and operators have set what is in theirs: only "
        "static layers may change",
        settled_part=other_layers,
    ),
    "admin": ADMIN,
    "overload_manager": settled(
        "what it watches, and the limits it sets, are there from the start"
    ),
    "enable_dispatcher_stats": UNUSED,
    "header_prefix": UNUSED,
    "stats_server_version_override": APPLIED,
    "use_tcp_for_dns_lookups": RESOLVER,
    "dns_resolution_config": RESOLVER,
    "typed_dns_resolver_config": RESOLVER,
    "bootstrap_extensions": settled("they are part of the start"),
    "fatal_actions": UNUSED,
    "config_sources": UNUSED,
    "default_config_source": UNUSED,
    "default_socket_interface": UNUSED,
    "certificate_provider_instances": UNUSED,
    "inline_headers": UNUSED,
    "perf_tracing_file_path": UNUSED,
    "default_regex_engine": UNUSED,
    "xds_delegate_extension": UNUSED,
    "xds_config_tracker_extension": UNUSED,
    "listener_manager": UNUSED,
    "application_log_config": settled("the log has its format from the start"),
    "grpc_async_client_manager_config": UNUSED,
    "memory_allocator_manager": UNUSED,
    "enable_worker_cpu_affinity": UNUSED,
}
"""Of `envoy.config.bootstrap.v3.Bootstrap`."""
