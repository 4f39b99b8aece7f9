"""nginx, with its stream module."""

from __future__ import annotations

from pathlib import Path

from benchmarks import tools
from benchmarks.backends import nginx_command, nginx_user
from benchmarks.proxies.route import LOGGED, ORIGINATING, Command, Route, log_path

_MAIN = """\
{load_module}
daemon off;
worker_processes 1;
{user}
pid {stem}.pid;
error_log {stem}-error.log;
events {{ worker_connections 8192; }}
stream {{
  proxy_timeout 1h;
  proxy_half_close {half_close};
  ssl_protocols TLSv1.2 TLSv1.3;
  proxy_ssl_protocols TLSv1.2 TLSv1.3;
  log_format text '$time_iso8601 $remote_addr:$remote_port $upstream_addr web $status '
                  '$bytes_received $bytes_sent $session_time';
  log_format json escape=json
    '{{"start":"$time_iso8601","client":"$remote_addr:$remote_port","host":"$upstream_addr",'
    '"cluster":"web","flags":"$status","received":$bytes_received,"sent":$bytes_sent,'
    '"duration":$session_time}}';
{servers}}}
"""


def nginx_proxy_command(stem: Path, route: Route, half_close: bool = False) -> Command:
    """How to run nginx as a proxy.

    :param half_close: whether one direction of a connection may go on when the other has ended.
    """
    text = _MAIN.format(
        load_module=tools.nginx_stream_directive(),
        user=nginx_user(),
        stem=stem,
        half_close="on" if half_close else "off",
        servers="".join(_server(name, port, route, stem) for name, port in route.ports.items()),
    )
    configuration = stem.with_suffix(".conf")
    configuration.write_text(text)
    return Command(nginx_command(configuration))


def _server(name: str, port: int, route: Route, stem: Path) -> str:
    """Each listener has an upstream of its own, of the same name."""
    more, pair = "", route.pair(name)
    if name in LOGGED:
        more = f" access_log {log_path(stem, name)} {name} buffer=64k flush=10s;"
    if name in ORIGINATING:
        more = " proxy_ssl on;"
    if pair is not None:
        more = f" ssl_certificate {pair.chain}; ssl_certificate_key {pair.key};"
    servers = " ".join(f"server 127.0.0.1:{each};" for each in route.servers(name))
    listen = f"listen 127.0.0.1:{port}{' ssl' if pair is not None else ''};"
    return f"  upstream {name} {{ {servers} }}\n  server {{ {listen} proxy_pass {name};{more} }}\n"
