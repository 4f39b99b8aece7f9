"""Chains of network filters, and what clients do: for the real Envoy and for us alike.

Clients connect one after the other, say something or nothing, and are connected together for a
moment, in which one statistic or the other may be up; then all leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.extensions.filters.network.filtered import (
    cluster,
    listener_filter,
    network_filter,
    tcp_proxy,
    typed,
)
from tests.listener.test_sni_router import hello

#: What a service answers: the bytes of a message, `b""`; an error; nothing at all; nobody is there.
ANSWERS, FAILS, SILENT, GONE = "answers", "fails", "silent", "gone"

TOGETHER = 0.6
"""Seconds for which all clients are connected."""

PREFIXES = ("p.", "local_rate_limit.", "connection_limit.", "ratelimit.", "ext_authz.", "tcp.t.")
"""How the names of statistics begin that are compared, all of them, by name and value."""

TRANSIENT = ("downstream_cx_rx_bytes_buffered", "downstream_cx_tx_bytes_buffered")
"""Ends of names of those that depend on the moment."""

LINE = (
    "%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG% %RESPONSE_CODE_DETAILS% "
    "%CONNECTION_TERMINATION_DETAILS% %DOWNSTREAM_LOCAL_CLOSE_REASON% "
    "%UPSTREAM_TRANSPORT_FAILURE_REASON% %UPSTREAM_CLUSTER% %BYTES_RECEIVED% %BYTES_SENT%"
)
"""What the log says of each connection."""

ADDRESS = {"address_prefix": "127.0.0.0", "prefix_len": 8}
OTHER = {"address_prefix": "10.0.0.0", "prefix_len": 8}
ANY = {"any": True}


@dataclass(frozen=True)
class Scenario:
    """One chain, and its clients."""

    filters: tuple[dict[str, Any], ...]
    clients: tuple[bytes | None, ...] = (b"x",)
    """What each says when it is connected."""

    service: str = GONE
    """What the gRPC service does."""

    answer: bytes = b""
    listener: Mapping[str, Any] = field(default_factory=dict)
    clusters: tuple[str, ...] = ()
    """Names of further ones, whose host is the same."""

    runtime: Mapping[str, Any] = field(default_factory=dict)


def rbac(**fields: Any) -> dict[str, Any]:
    """The filter."""
    return network_filter("rbac.v3.RBAC", **{"stat_prefix": "p", **fields})


def rules(action: str, principal: Any, name: str = "a policy") -> dict[str, Any]:
    """Of one policy."""
    policy = {"permissions": [ANY], "principals": [principal]}
    return {"action": action, "policies": {name: policy}}


def local_ratelimit(**fields: Any) -> dict[str, Any]:
    """The filter: two tokens, and no more for an hour."""
    bucket = {"max_tokens": 2, "fill_interval": "3600s"}
    fields = {"stat_prefix": "p", "token_bucket": bucket, **fields}
    return network_filter("local_ratelimit.v3.LocalRateLimit", **fields)


def connection_limit(**fields: Any) -> dict[str, Any]:
    """The filter: one client."""
    fields = {"stat_prefix": "p", "max_connections": 1, **fields}
    return network_filter("connection_limit.v3.ConnectionLimit", **fields)


def ratelimit(**fields: Any) -> dict[str, Any]:
    """The filter."""
    grpc = {"envoy_grpc": {"cluster_name": "s"}}
    return network_filter(
        "ratelimit.v3.RateLimit",
        stat_prefix="p",
        domain="d",
        descriptors=[{"entries": [{"key": "k", "value": "v"}]}],
        timeout=fields.pop("timeout", "5s"),
        rate_limit_service={"transport_api_version": "V3", "grpc_service": grpc},
        **fields,
    )


def ext_authz(timeout: str = "5s", **fields: Any) -> dict[str, Any]:
    """The filter."""
    grpc = {"envoy_grpc": {"cluster_name": "s"}, "timeout": timeout}
    return network_filter("ext_authz.v3.ExtAuthz", stat_prefix="p", grpc_service=grpc, **fields)


def state(name: str, text: str) -> dict[str, Any]:
    """The filter set_filter_state."""
    source = {"text_format_source": {"inline_string": text}}
    values = [{"object_key": name, "format_string": source}]
    return network_filter("set_filter_state.v3.Config", on_new_connection=values)


def flag(value: bool) -> dict[str, Any]:
    """A runtime flag."""
    return {"default_value": value, "runtime_key": "k"}


PROXY = tcp_proxy(LINE)
ECHO = network_filter("echo.v3.Echo")
RESPONSE = network_filter("direct_response.v3.Config", response={"inline_string": "no"})
SNI = {"listener_filters": [listener_filter("tls_inspector.v3.TlsInspector")]}
LOGGED = {
    "access_log": [
        typed(
            "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            path="/log",
            log_format={"text_format_source": {"inline_string": LINE + "\n"}},
        )
    ]
}
"""Of a listener, where no tcp_proxy logs."""

OVER = b"\x08\x02"
"""OVER_LIMIT, as a RateLimitResponse; `b"\\x08\\x01"` is OK."""

DENIED = b"\x0a\x02\x08\x07"
"""PERMISSION_DENIED, as a CheckResponse; `b""` is OK."""

X = b"x"

SCENARIOS: dict[str, Scenario] = {
    "rbac_allow": Scenario((rbac(rules=rules("ALLOW", {"remote_ip": ADDRESS})), PROXY), (X, None)),
    "rbac_allow_others": Scenario((rbac(rules=rules("ALLOW", {"remote_ip": OTHER})), PROXY)),
    "rbac_deny": Scenario((rbac(rules=rules("DENY", {"remote_ip": ADDRESS})), PROXY), (X, None)),
    "rbac_deny_others": Scenario((rbac(rules=rules("DENY", {"remote_ip": OTHER})), PROXY)),
    "rbac_log": Scenario((rbac(rules=rules("LOG", ANY)), PROXY)),
    "rbac_none": Scenario((rbac(), PROXY)),
    "rbac_shadow": Scenario(
        (
            rbac(
                shadow_rules=rules("DENY", {"direct_remote_ip": ADDRESS}),
                shadow_rules_stat_prefix="next.",
            ),
            PROXY,
        )
    ),
    "rbac_both": Scenario(
        (rbac(rules=rules("DENY", ANY), shadow_rules=rules("ALLOW", ANY)), PROXY), (X, X)
    ),
    "rbac_delay": Scenario((rbac(rules=rules("DENY", ANY), delay_deny="0.2s"), PROXY)),
    "rbac_continuous": Scenario(
        (rbac(rules=rules("ALLOW", ANY), enforcement_type="CONTINUOUS"), PROXY)
    ),
    "rbac_echo": Scenario((rbac(rules=rules("DENY", ANY)), ECHO), listener=LOGGED),
    "rbac_direct_response": Scenario((rbac(rules=rules("DENY", ANY)), RESPONSE), listener=LOGGED),
    "local_ratelimit": Scenario((local_ratelimit(), PROXY), (X, None, X, None)),
    "local_ratelimit_off": Scenario(
        (local_ratelimit(runtime_enabled=flag(True)), PROXY), (X, X, X), runtime={"k": False}
    ),
    "local_ratelimit_share_key": Scenario(
        (local_ratelimit(share_key="a"), local_ratelimit(share_key="a"), PROXY), (X, X)
    ),
    "local_ratelimit_echo": Scenario((local_ratelimit(), ECHO), (X, X, X), listener=LOGGED),
    "connection_limit": Scenario((connection_limit(), PROXY), (X, X, None)),
    "connection_limit_delay": Scenario((connection_limit(delay="0.2s"), PROXY), (X, X)),
    "connection_limit_late": Scenario((connection_limit(delay="5s"), PROXY), (X, X)),
    "connection_limit_echo": Scenario((connection_limit(), ECHO), (X, X), listener=LOGGED),
    "ratelimit": Scenario((ratelimit(), PROXY), (X, None), ANSWERS, b"\x08\x01"),
    "ratelimit_over": Scenario((ratelimit(), PROXY), (X, X), ANSWERS, OVER),
    "ratelimit_not_enforced": Scenario(
        (ratelimit(), PROXY),
        service=ANSWERS,
        answer=OVER,
        runtime={"ratelimit.tcp_filter_enforcing": 0},
    ),
    "ratelimit_off": Scenario(
        (ratelimit(), PROXY), service=ANSWERS, runtime={"ratelimit.tcp_filter_enabled": 0}
    ),
    "ratelimit_fails": Scenario((ratelimit(), PROXY), service=FAILS),
    "ratelimit_fails_deny": Scenario((ratelimit(failure_mode_deny=True), PROXY), service=FAILS),
    "ratelimit_silent": Scenario((ratelimit(timeout="0.1s"), PROXY), service=SILENT),
    "ratelimit_waits": Scenario((ratelimit(), PROXY), service=SILENT),
    "ratelimit_gone_deny": Scenario((ratelimit(failure_mode_deny=True), PROXY)),
    "ratelimit_unknown": Scenario((ratelimit(), PROXY), service=ANSWERS, answer=b""),
    "ext_authz": Scenario((ext_authz(), PROXY), (X, None), ANSWERS),
    "ext_authz_denied": Scenario((ext_authz(), PROXY), (X, X, None), ANSWERS, DENIED),
    "ext_authz_shadow": Scenario(
        (ext_authz(shadow_mode=True), PROXY), service=ANSWERS, answer=DENIED
    ),
    "ext_authz_disabled": Scenario(
        (
            ext_authz(
                filter_enabled_metadata={
                    "filter": "a",
                    "path": [{"key": "k"}],
                    "value": {"present_match": True},
                }
            ),
            PROXY,
        ),
        service=ANSWERS,
        answer=DENIED,
    ),
    "ext_authz_fails": Scenario((ext_authz(), PROXY), service=FAILS),
    "ext_authz_fails_allow": Scenario((ext_authz(failure_mode_allow=True), PROXY), service=FAILS),
    "ext_authz_silent": Scenario((ext_authz("0.1s"), PROXY), service=SILENT),
    "ext_authz_waits": Scenario((ext_authz(), PROXY), service=SILENT),
    "ext_authz_gone": Scenario((ext_authz(), PROXY)),
    "ext_authz_echo": Scenario((ext_authz(), ECHO), (X,), ANSWERS, DENIED, LOGGED),
    "echo": Scenario((ECHO,), (X, None), listener=LOGGED),
    "direct_response": Scenario((RESPONSE,), (X, None), listener=LOGGED),
    "sni_cluster": Scenario(
        (network_filter("sni_cluster.v3.SniCluster"), PROXY),
        (hello("one.test"), hello("two.test"), b"plain text"),
        listener=SNI,
        clusters=("one.test",),
    ),
    "set_filter_state": Scenario((state("envoy.tcp_proxy.cluster", "one.test"), PROXY)),
    "set_filter_state_known": Scenario(
        (state("envoy.tcp_proxy.cluster", "one.test"), PROXY), clusters=("one.test",)
    ),
    "all": Scenario(
        (
            connection_limit(max_connections=2),
            local_ratelimit(),
            rbac(rules=rules("ALLOW", {"remote_ip": ADDRESS})),
            PROXY,
        ),
        (X, None, X),
    ),
}


def bootstrap(scenario: Scenario, front: str, host: str, service: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a scenario.

    :param service: the cluster of the gRPC service.
    """
    address, _, port = front.rpartition(":")
    listener = {
        "name": "l",
        "address": {"socket_address": {"address": address, "port_value": int(port)}},
        "filter_chains": [{"filters": list(scenario.filters)}],
        **scenario.listener,
    }
    names = ("c", *scenario.clusters)
    clusters = [*(cluster(name, host) for name in names), service]
    layers = [{"name": "s", "static_layer": dict(scenario.runtime)}] if scenario.runtime else []
    return {
        "static_resources": {"listeners": [listener], "clusters": clusters},
        "layered_runtime": {"layers": layers},
    }
