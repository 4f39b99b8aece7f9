"""A transport socket is made for clients or for hosts, and its type says for which."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type, unpack
from tcpmesh.config.text.problems import FieldPath


def _check_upstream_socket(cluster: Any, field_path: FieldPath, report: Report) -> None:
    _check_direction(
        cluster.transport_socket, "Downstream", (field_path, "transport_socket"), report
    )
    for index, match in enumerate(cluster.transport_socket_matches):
        here: FieldPath = (((field_path, "transport_socket_matches"), index), "transport_socket")
        _check_direction(match.transport_socket, "Downstream", here, report)


def _check_inner_socket(outer: Any, field_path: FieldPath, report: Report) -> None:
    _check_direction(outer.transport_socket, "Downstream", (field_path, "transport_socket"), report)


def _check_downstream_socket(chain: Any, field_path: FieldPath, report: Report) -> None:
    _check_direction(chain.transport_socket, "Upstream", (field_path, "transport_socket"), report)


def _check_direction(socket: Any, wrong: str, field_path: FieldPath, report: Report) -> None:
    name = extension_type(socket.typed_config)
    if name == _TCP_STATS:
        inner: Any = unpack(socket.typed_config)
        here: FieldPath = ((field_path, "typed_config"), "transport_socket")
        if inner is not None:
            _check_direction(inner.transport_socket, wrong, here, report)
    elif name.startswith(_SOCKETS) and wrong in name.rpartition(".")[2]:
        sides = {
            "Upstream": ("for connections to hosts", "for those of clients"),
            "Downstream": ("for clients", "for hosts"),
        }
        made, needed = sides[wrong]
        report.error(
            ((field_path, "typed_config"), "@type"),
            f"{name} is a transport socket {made}, here one {needed} is needed",
        )


_SOCKETS = "envoy.extensions.transport_sockets."

_TCP_STATS = _SOCKETS + "tcp_stats.v3.Config"
"""Stands on either side, if what is within does."""

CHECKS = {
    "envoy.config.cluster.v3.Cluster": _check_upstream_socket,
    "envoy.config.listener.v3.FilterChain": _check_downstream_socket,
    _SOCKETS + "proxy_protocol.v3.ProxyProtocolUpstreamTransport": _check_inner_socket,
}
