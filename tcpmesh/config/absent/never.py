"""Extensions that tcpmesh will not have, and why: what speaks a protocol with clients (layer 7),
runs code that was compiled for Envoy, or needs what only others have.
"""

from __future__ import annotations

_NETWORK = "envoy.extensions.filters.network."

#: The protocols that network filters of layer 7 speak with clients.
_PROTOCOLS = {
    "dubbo_proxy.v3.DubboProxy": "Dubbo",
    "generic_proxy.v3.GenericProxy": "the protocol of its codec",
    "http_connection_manager.v3.EnvoyMobileHttpConnectionManager": "HTTP",
    "http_connection_manager.v3.HttpConnectionManager": "HTTP",
    "kafka_mesh.v3alpha.KafkaMesh": "Kafka",
    "redis_proxy.v3.RedisProxy": "Redis",
    "reverse_tunnel.v3.DrainAwareHttpConnectionManager": "HTTP",
    "rocketmq_proxy.v3.RocketmqProxy": "RocketMQ",
    "sip_proxy.v3alpha.SipProxy": "SIP",
    "thrift_proxy.v3.ThriftProxy": "Thrift",
}


def _of_layer_7(protocol: str) -> str:
    return (
        f"it answers clients in {protocol} and sends each of their requests where that belongs "
        f"(layer 7); tcpmesh passes bytes on without reading them (layer 4): tcp_proxy gives a "
        f"whole connection to one host"
    )


_REASONS = {
    **{_NETWORK + name: _of_layer_7(protocol) for name, protocol in _PROTOCOLS.items()},
    f"{_NETWORK}client_ssl_auth.v3.ClientSSLAuth": (
        "it asks a service which certificates may connect, which newer Envoys have no more; rbac "
        "goes by certificates"
    ),
    f"{_NETWORK}ext_proc.v3.NetworkExternalProcessor": (
        "it sends all bytes of a client to a service and goes on with what that makes of them; "
        "ext_authz asks a service whether a client may connect, and a filter of your own that "
        "changes bytes can be a Python module"
    ),
    f"{_NETWORK}geoip.v3.Geoip": (
        "it looks for the countries of clients in a database that only its maker may hand out; "
        "rbac and filter chains go by addresses"
    ),
    f"{_NETWORK}golang.v3alpha.Config": (
        "it runs Go that was compiled for Envoy; a filter of your own can be a Python module"
    ),
    f"{_NETWORK}peer_metadata.v3.Config": "it talks to the other proxies of Istio alone",
    f"{_NETWORK}reverse_tunnel.v3.ReverseTunnel": (
        "it takes connections of hosts that dial in, and sends them requests of HTTP/2 (layer 7)"
    ),
    "envoy.extensions.filters.listener.postgres_inspector.v3alpha.PostgresInspector": (
        "it reads what a client of PostgreSQL says before TLS (layer 7); filter chains go by "
        "addresses and ports, and by what tls_inspector finds"
    ),
    "envoy.tcp.metadataexchange.config.MetadataExchange": (
        "it talks to the other proxies of Istio alone"
    ),
    "envoy.extensions.transport_sockets.alts.v3.Alts": (
        "ALTS works between machines of Google's cloud alone, by a service there"
    ),
    "envoy.extensions.transport_sockets.http_11_proxy.v3.Http11ProxyUpstreamTransport": (
        "it sends a CONNECT request ahead of HTTP, which tcpmesh does not speak for its clients"
    ),
    "envoy.config.metrics.v3.HystrixSink": (
        "the Hystrix dashboard shows requests of HTTP, and nobody maintains it any more"
    ),
}

#: What other builds of Envoy load, of every kind, by a part of the names of types.
_LOADED = {
    ".dynamic_modules.": "it loads a library that was compiled for Envoy",
    ".wasm.": "tcpmesh runs no WebAssembly",
}


def why_never(full_name: str) -> str:
    """Why tcpmesh will not have an extension; empty where it has it, or may have it one day."""
    reason = _REASONS.get(full_name, "")
    for part, text in _LOADED.items():
        if part in full_name and not reason:
            reason = f"{text}; an extension of your own can be a Python module"
    return reason
