"""What network filters before tcp_proxy do to a client, and what counts where they are silent."""

from __future__ import annotations

from functools import partial

from tcpmesh.config.explain.rows import Default, Defaults

_NETWORK = "envoy.extensions.filters.network."

_own = partial(Default, is_ours=True)


FILTERS: dict[str, Defaults] = {
    _NETWORK + "connection_limit.v3.ConnectionLimit": {
        "stat_prefix": Default("names its statistics"),
        "max_connections": Default("so many clients at a time, further ones are closed"),
        "delay": Default("a client too many is closed after it", unset="at once"),
    },
    _NETWORK + "local_ratelimit.v3.LocalRateLimit": {
        "stat_prefix": Default("names its statistics"),
        "token_bucket": Default("a client that finds no token is closed"),
        "share_key": Default("filters with this key and such a bucket draw from one", unset="none"),
    },
    _NETWORK + "tcp_bandwidth_limit.v3.TcpBandwidthLimit": {
        "stat_prefix": Default("names its statistics"),
        "read_limit_kbps": Default(
            "KiB a second from all clients of the chain together; more waits", unset="no limit"
        ),
        "write_limit_kbps": Default("the same of what is for them", unset="no limit"),
        "fill_interval": Default("what waits is looked at this often", "0.050s"),
    },
    "tcpmesh.extensions.filters.network.client_limit.v1.ClientLimit": {
        "stat_prefix": _own("names its statistics"),
        "client": _own("what one client is", "ADDRESS"),
        "ipv4_prefix_len": _own("so many bits of an address are one client", 32),
        "ipv6_prefix_len": _own("the same for IPv6", 64),
        "max_connections": _own("so many connections of a client at a time", unset="any number"),
        "new_connections": _own("new connections of a client", unset="any number"),
        "over_limit": _own("what becomes of a connection too many", "CLOSE"),
        "max_wait": _own("with QUEUE: how long one waits, and is closed then", "5s"),
        "max_waiting": _own("with QUEUE: so many of a client wait, others are closed", 16),
        "exempt": _own("addresses that are not limited", unset="none"),
        "max_entries": _own(
            "so many clients are known at a time; for a new one the one is forgotten that came "
            "longest ago and has no connections",
            65536,
        ),
        "share_key": _own("filters with this key and such limits count together", unset="none"),
        "shadow_mode": _own("whether connections too many are counted only", False),
    },
    _NETWORK + "rbac.v3.RBAC": {
        "stat_prefix": Default("names its statistics"),
        "rules": Default(unset="none: nobody is closed"),
        "matcher": Default("clients for whom it does not choose ALLOW or LOG are closed"),
        "shadow_rules": Default("counted, and nobody is closed", unset="none"),
        "enforcement_type": Default("when a client is looked at", "ONE_TIME_ON_FIRST_BYTE"),
        "delay_deny": Default("who is denied is closed after it", unset="at once"),
    },
    "envoy.config.rbac.v3.RBAC": {
        "action": Default("for whom a policy is; ALLOW closes all others", "ALLOW"),
        "policies": Default("asked in the order of their names", unset="none"),
    },
    _NETWORK + "ext_authz.v3.ExtAuthz": {
        "stat_prefix": Default("names its statistics"),
        "grpc_service": Default(
            "asked with a client's first data; whom it denies is closed, and after 200ms without "
            "an answer it has failed, where it has no timeout of its own"
        ),
        "failure_mode_allow": Default("whether clients go on where it has failed", False),
        "include_peer_certificate": Default("whether it is shown the client's", False),
        "shadow_mode": Default("whether answers are counted only", False),
    },
    _NETWORK + "sni_dynamic_forward_proxy.v3.FilterConfig": {
        "dns_cache_config": Default("a client waits until it has the name that it asks for"),
        "port_value": Default("of the host, unless filter state says another", 0),
    },
    _NETWORK + "ratelimit.v3.RateLimit": {
        "stat_prefix": Default("names its statistics"),
        "rate_limit_service": Default("asked about each new client; one too many is closed"),
        "timeout": Default("without an answer by then it has failed", "0.020s"),
        "failure_mode_deny": Default("whether clients are closed where it has failed", False),
    },
}
