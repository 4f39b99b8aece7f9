"""tcpmesh and Envoy: both read the same file."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import tools
from benchmarks.process import BenchmarkError, Child, tree_files
from benchmarks.proxies.route import (
    CHAIN,
    INNER,
    LOGGED,
    ORIGINATING,
    TUNNELS,
    Command,
    Route,
    log_path,
    written,
)
from benchmarks.terminator import authority

_NETWORK = "type.googleapis.com/envoy.extensions.filters.network"

_LISTENER = """\
  - name: {name}
    {address}
    filter_chains:
    - filters:
{before}\
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {name}
          cluster: {name}
{more}"""

_ADDRESS = "address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}"
_TUNNEL = "          tunneling_config: {{ hostname: {authority} }}\n"

_INTERNAL = """\
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener
"""

_HTTP2 = """\
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
"""

_FILTERS = f"""\
      - name: envoy.filters.network.rbac
        typed_config:
          "@type": {_NETWORK}.rbac.v3.RBAC
          stat_prefix: chain
          rules:
            action: ALLOW
            policies:
              here:
                permissions: [{{ any: true }}]
                principals: [{{ remote_ip: {{ address_prefix: 127.0.0.0, prefix_len: 8 }} }}]
      - name: envoy.filters.network.local_ratelimit
        typed_config:
          "@type": {_NETWORK}.local_ratelimit.v3.LocalRateLimit
          stat_prefix: chain
          token_bucket: {{ max_tokens: 1000000, tokens_per_fill: 1000000, fill_interval: 1s }}
"""

_LOG = """\
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {path}
              log_format: {format}
"""

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"

_TERMINATION = f"""\
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": {_TLS}.DownstreamTlsContext
          common_tls_context:
            tls_params: {{{{ tls_maximum_protocol_version: TLSv1_3 }}}}
            tls_certificates:
            - certificate_chain: {{{{ filename: {{chain}} }}}}
              private_key: {{{{ filename: {{key}} }}}}
"""

_ORIGINATION = f"""\
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": {_TLS}.UpstreamTlsContext
        common_tls_context: {{ tls_params: {{ tls_maximum_protocol_version: TLSv1_3 }} }}
"""

_OPERATORS = {
    "start": "START_TIME",
    "client": "DOWNSTREAM_REMOTE_ADDRESS",
    "host": "UPSTREAM_HOST",
    "cluster": "UPSTREAM_CLUSTER",
    "flags": "RESPONSE_FLAGS",
    "received": "BYTES_RECEIVED",
    "sent": "BYTES_SENT",
    "duration": "DURATION",
}
"""What a line says of a connection, the same for all proxies as far as they know it."""

TEXT_LINE = " ".join(f"%{name}%" for name in _OPERATORS.values()) + "\n"
JSON_LINE = {key: f"%{name}%" for key, name in _OPERATORS.items()}

_FORMATS = {
    "text": {"text_format_source": {"inline_string": TEXT_LINE}},
    "json": {"json_format": JSON_LINE},
}

_CLUSTER = """\
  - name: {name}
    connect_timeout: 5s
    type: STATIC
    lb_policy: ROUND_ROBIN
    circuit_breakers:
      thresholds:
      - {{ max_connections: 100000 }}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
"""

_INTERNAL_ENDPOINT = """\
        - endpoint: {{ address: {{ envoy_internal_address: {{ server_listener_name: {name} }} }} }}
"""

_ENDPOINT = """\
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: %d } } }
"""


def envoy_configuration(route: Route, stem: Path | None = None) -> str:
    """The bootstrap that Envoy and tcpmesh both run.

    :param stem: what the names of log files begin with.
    """
    listeners = "".join(_listener(name, port, route, stem) for name, port in route.ports.items())
    clusters = "".join(_cluster(name, route) for name in route.ports)
    before = ""
    for name in INNER:
        if name in route.ports:
            before = _INTERNAL
            listeners += _LISTENER.format(
                name=_behind(name), address="internal_listener: {}", before="", more=""
            )
            clusters += _cluster(_behind(name), route)
    return f"{before}static_resources:\n  listeners:\n{listeners}  clusters:\n{clusters}"


def _behind(name: str) -> str:
    """The listener, and its cluster, that a listener forwards to in the same process."""
    return f"behind-{name}"


def _listener(name: str, port: int, route: Route, stem: Path | None) -> str:
    before, more = _FILTERS if name == CHAIN else "", ""
    if name in TUNNELS:
        more = _TUNNEL.format(authority=authority("bulk" if name.endswith("bulk") else "web"))
    address = _ADDRESS.format(port=port)
    text = _LISTENER.format(name=name, address=address, before=before, more=more)
    if name in LOGGED and stem is not None:
        text += _LOG.format(path=log_path(stem, name), format=json.dumps(_FORMATS[name]))
    pair = route.pair(name)
    return text if pair is None else text + _TERMINATION.format(chain=pair.chain, key=pair.key)


def _cluster(name: str, route: Route) -> str:
    """Each listener has a cluster of its own, of the same name."""
    endpoints = "".join(_ENDPOINT % port for port in route.servers(name))
    if name in INNER:
        endpoints = _INTERNAL_ENDPOINT.format(name=_behind(name))
    text = _CLUSTER.format(name=name) + endpoints
    if name.startswith("tunnel2"):
        text += _HTTP2
    return text + (_ORIGINATION if name in ORIGINATING else "")


def tcpmesh_command(
    stem: Path, route: Route, workers: int = 1, transport: str = "epoll"
) -> Command:
    """How to run tcpmesh.

    :param transport: the kind of its transports.
    """
    configuration = written(stem.with_suffix(".yaml"), envoy_configuration(route, stem))
    return Command(
        [
            *(tools.twistd(), "-n", "--pidfile=", "tcpmesh"),
            *("-c", configuration, "--concurrency", str(workers), "--disable-hot-restart"),
        ],
        {"PYTHONPATH": str(tools.REPOSITORY), "TCPMESH_TRANSPORT": transport},
    )


def uses_io_uring(child: Child) -> None:
    """Where io_uring cannot be had tcpmesh runs on epoll, which would be measured under a wrong
    name.

    :raise BenchmarkError: no process of `child` has an io_uring.
    """
    if "anon_inode:[io_uring]" not in tree_files(child.pid):
        raise BenchmarkError("io_uring cannot be had here, it runs on epoll")


def envoy_command(stem: Path, route: Route, workers: int = 1) -> Command:
    """How to run Envoy."""
    configuration = written(stem.with_suffix(".yaml"), envoy_configuration(route, stem))
    options = ["--log-level", "warning", "--disable-hot-restart", "--concurrency", str(workers)]
    return Command([tools.envoy(), "-c", configuration, *options])


def tcpmesh_version() -> str:
    """The commit, and whether there is more; but for the reports of earlier runs."""
    git = ["git", "-C", str(tools.REPOSITORY)]
    commit = tools.version([*git, "describe", "--always", "--abbrev=8"], r"(?m)^(\S*[0-9a-f]{8})$")
    changes = [*git, "status", "--porcelain", "--untracked-files=no"]
    changes += ["--", ".", ":(exclude)docs/benchmarks"]
    changed = tools.version(changes, r"(?m)^([ MADRCU]{2}) ") != "unknown"
    return f"commit {commit}{', changed' if changed else ''}"


def envoy_version() -> str:
    """The release."""
    return tools.version([tools.envoy(), "--version"], r"/(\d+\.\d+\.\d+)/")
