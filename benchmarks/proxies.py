"""The proxies of the comparison: how each is configured and started, with one worker and its
defaults.

Every proxy gets two ports, one for the web backends in turn, one for the bulk peer; and two more
for the web backends where each connection is logged in a file, as text and as JSON, if it can do
that.  tcpmesh and Envoy read the same file.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as package_version
from pathlib import Path

from benchmarks import tools
from benchmarks.backends import Backends, nginx_command, nginx_user


@dataclass(frozen=True)
class Command:
    """How to run a proxy: words and additions to the environment."""

    words: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """What a proxy is to do: listen on `web` and `bulk`, forward to the backends; on `text` and
    `json`, where they are given, also log each connection.
    """

    web: int
    bulk: int
    backends: Backends
    text: int = 0
    json: int = 0


@dataclass(frozen=True)
class Proxy:
    """One contestant.

    :ivar require: finds or installs the program; raises `BenchmarkError` where it cannot be had.
    :ivar prepare: writes a configuration below a path without suffix and returns the command.
    :ivar version: what to call its version in the report.
    :ivar logs: whether it can log connections.
    """

    name: str
    require: Callable[[], object]
    prepare: Callable[[Path, Route], Command]
    version: Callable[[], str]
    logs: bool = True


_ENVOY_LISTENER = """\
  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {name}
          cluster: {cluster}
"""

_ENVOY_LOG = """\
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {path}
              log_format: {format}
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

_ENVOY_CLUSTER = """\
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

_ENVOY_ENDPOINT = """\
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: %d } } }
"""


def envoy_configuration(route: Route, stem: Path | None = None) -> str:
    """The bootstrap that Envoy and tcpmesh both run.

    :param stem: what the names of log files begin with; without it nothing is logged.
    """
    listeners = "".join(
        _ENVOY_LISTENER.format(name=name, cluster=name, port=port)
        for name, port in (("web", route.web), ("bulk", route.bulk))
    )
    if stem is not None:
        for name, port, line in (
            ("text", route.text, {"text_format_source": {"inline_string": TEXT_LINE}}),
            ("json", route.json, {"json_format": JSON_LINE}),
        ):
            listeners += _ENVOY_LISTENER.format(name=name, cluster="web", port=port)
            listeners += _ENVOY_LOG.format(path=log_path(stem, name), format=json.dumps(line))
    web = _ENVOY_CLUSTER.format(name="web") + "".join(
        _ENVOY_ENDPOINT % port for port in route.backends.web
    )
    bulk = _ENVOY_CLUSTER.format(name="bulk") + _ENVOY_ENDPOINT % route.backends.bulk
    return f"static_resources:\n  listeners:\n{listeners}  clusters:\n{web}{bulk}"


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def log_path(stem: Path, name: str) -> Path:
    """The access log of a proxy."""
    return stem.with_name(f"{stem.name}-{name}.access")


def _tcpmesh(stem: Path, route: Route) -> Command:
    configuration = _written(stem.with_suffix(".yaml"), envoy_configuration(route, stem))
    return Command(
        [tools.twistd(), "-n", "--pidfile=", "tcpmesh", "-c", configuration],
        {"PYTHONPATH": str(tools.REPOSITORY)},
    )


def _envoy(stem: Path, route: Route) -> Command:
    configuration = _written(stem.with_suffix(".yaml"), envoy_configuration(route, stem))
    return Command(
        [
            tools.envoy(),
            "-c",
            configuration,
            "--concurrency",
            "1",
            "--log-level",
            "warning",
            "--disable-hot-restart",
        ]
    )


_HAPROXY = """\
global
  nbthread 1
  maxconn {maxconn}
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen web
  bind 127.0.0.1:{web}
  balance roundrobin
  server one 127.0.0.1:{one}
  server two 127.0.0.1:{two}
listen bulk
  bind 127.0.0.1:{bulk}
  server peer 127.0.0.1:{peer}
listen text
  bind 127.0.0.1:{text}
  balance roundrobin
  log stdout format raw local0
  log-format "%t %ci:%cp %si:%sp %b %ts %U %B %Tt"
  server one 127.0.0.1:{one}
  server two 127.0.0.1:{two}
listen json
  bind 127.0.0.1:{json}
  balance roundrobin
  log stdout format raw local0
  log-format '{{"start":"%t","client":"%ci:%cp","host":"%si:%sp",{more}}}'
  server one 127.0.0.1:{one}
  server two 127.0.0.1:{two}
"""

_HAPROXY_MORE = '"cluster":"%b","flags":"%ts","received":%U,"sent":%B,"duration":%Tt'


def _haproxy(stem: Path, route: Route) -> Command:
    one, two = route.backends.web
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    text = _HAPROXY.format(
        maxconn=min(9_000, descriptors // 2 - 100),
        web=route.web,
        one=one,
        two=two,
        bulk=route.bulk,
        peer=route.backends.bulk,
        text=route.text,
        json=route.json,
        more=_HAPROXY_MORE,
    )
    return Command(
        [tools.program("haproxy"), "-db", "-f", _written(stem.with_suffix(".cfg"), text)]
    )


_NGINX = """\
{load_module}
daemon off;
worker_processes 1;
{user}
pid {stem}.pid;
error_log {stem}-error.log;
events {{ worker_connections 8192; }}
stream {{
  upstream web {{ server 127.0.0.1:{one}; server 127.0.0.1:{two}; }}
  upstream bulk {{ server 127.0.0.1:{peer}; }}
  proxy_timeout 1h;
  log_format text '$time_iso8601 $remote_addr:$remote_port $upstream_addr web $status '
                  '$bytes_received $bytes_sent $session_time';
  log_format json escape=json
    '{{"start":"$time_iso8601","client":"$remote_addr:$remote_port","host":"$upstream_addr",'
    '"cluster":"web","flags":"$status","received":$bytes_received,"sent":$bytes_sent,'
    '"duration":$session_time}}';
  server {{ listen 127.0.0.1:{web}; proxy_pass web; }}
  server {{ listen 127.0.0.1:{bulk}; proxy_pass bulk; }}
  server {{
    listen 127.0.0.1:{text}; proxy_pass web;
    access_log {text_log} text buffer=64k flush=10s;
  }}
  server {{
    listen 127.0.0.1:{json}; proxy_pass web;
    access_log {json_log} json buffer=64k flush=10s;
  }}
}}
"""


def _nginx(stem: Path, route: Route) -> Command:
    one, two = route.backends.web
    text = _NGINX.format(
        load_module=tools.nginx_stream_directive(),
        user=nginx_user(),
        stem=stem,
        one=one,
        two=two,
        peer=route.backends.bulk,
        web=route.web,
        bulk=route.bulk,
        text=route.text,
        json=route.json,
        text_log=log_path(stem, "text"),
        json_log=log_path(stem, "json"),
    )
    configuration = stem.with_suffix(".conf")
    configuration.write_text(text)
    return Command(nginx_command(configuration))


def _portforward(stem: Path, route: Route) -> Command:
    pairs = [f"{route.web}:{route.backends.web[0]}", f"{route.bulk}:{route.backends.bulk}"]
    return Command(
        [sys.executable, "-m", "benchmarks.portforward", *pairs],
        {"PYTHONPATH": str(tools.REPOSITORY)},
    )


def _tcpmesh_version() -> str:
    git = [
        "git",
        "-C",
        str(tools.REPOSITORY),
        "describe",
        "--always",
        "--dirty=, changed",
        "--abbrev=8",
    ]
    return "commit " + tools.version(git, r"(?m)^(\S*[0-9a-f]{8}(?:, changed)?)$")


def _envoy_version() -> str:
    return tools.version([tools.envoy(), "--version"], r"/(\d+\.\d+\.\d+)/")


def _haproxy_version() -> str:
    return tools.version([tools.program("haproxy"), "-v"], r"version (\d+[.\d]+)")


def _twisted_version() -> str:
    return f"Twisted {package_version('Twisted')}"


PROXIES = (
    Proxy("tcpmesh", tools.twistd, _tcpmesh, _tcpmesh_version),
    Proxy("envoy", tools.envoy, _envoy, _envoy_version),
    Proxy("haproxy", lambda: tools.program("haproxy"), _haproxy, _haproxy_version),
    Proxy("nginx", tools.nginx_stream_directive, _nginx, tools.nginx_version),
    Proxy("portforward", tools.twistd, _portforward, _twisted_version, logs=False),
)
"""All contestants in the order of the report's columns; Envoy is the measure of the others."""
