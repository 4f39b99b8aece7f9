"""HAProxy."""

from __future__ import annotations

import resource
from pathlib import Path

from benchmarks import tools
from benchmarks.proxies.route import ORIGINATING, Command, Route, written

_GLOBAL = """\
global
  nbthread 1
  maxconn {maxconn}
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
"""

_TEXT = """\
  log stdout format raw local0
  log-format "%t %ci:%cp %si:%sp %b %ts %U %B %Tt"
"""

_JSON = """\
  log stdout format raw local0
  log-format '{"start":"%t","client":"%ci:%cp","host":"%si:%sp","cluster":"%b","flags":"%ts",\
"received":%U,"sent":%B,"duration":%Tt}'
"""

_LOGS = {"text": _TEXT, "json": _JSON}


def haproxy_command(stem: Path, route: Route) -> Command:
    """How to run HAProxy."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    text = _GLOBAL.format(maxconn=min(9_000, descriptors // 2 - 100))
    text += "".join(_listen(name, port, route) for name, port in route.ports.items())
    return Command([tools.program("haproxy"), "-db", "-f", written(stem.with_suffix(".cfg"), text)])


def _listen(name: str, port: int, route: Route) -> str:
    pair = route.pair(name)
    bind = f"  bind 127.0.0.1:{port}{f' ssl crt {pair.both}' if pair is not None else ''}\n"
    options = " ssl verify none" if name in ORIGINATING else ""
    servers = "".join(
        f"  server s{number} 127.0.0.1:{each}{options}\n"
        for number, each in enumerate(route.servers(name))
    )
    return f"listen {name}\n{bind}  balance roundrobin\n{_LOGS.get(name, '')}{servers}"


def haproxy_version() -> str:
    """The release."""
    return tools.version([tools.program("haproxy"), "-v"], r"version (\d+[.\d]+)")
