"""What the proxies forward to: two nginx of one worker each for HTTP, and the bulk peer.

nginx answers 60,000 small requests a second and more on one core, from memory, and needs about a
third of the CPU that a proxy spends on the same request: it is never what holds a proxy back.  For
that it accepts all who wait at once: one at a time, beside 500 busy connections, the last of 500
newcomers waits as long as 500 rounds of requests take.  Its request counter tells how many requests
were done in a window of time, without a look at the load generator.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import replies
from benchmarks.certificates import Certificates, Pair
from benchmarks.process import BenchmarkError, Child, Ports, wait_for_ports
from benchmarks.tools import REPOSITORY, program

ECHO_PATH = "/echo?id="
"""A small request: the reply is what follows."""

_CONFIGURATION = """\
daemon off;
worker_processes 1;
{user}
pid {directory}/{name}.pid;
error_log {directory}/{name}-error.log;
worker_rlimit_nofile {descriptors};
events {{ worker_connections 8192; multi_accept on; }}
http {{
  access_log off;
  default_type text/plain;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_body_temp_path {directory}/{name}-body;
  proxy_temp_path {directory}/{name}-proxy;
  fastcgi_temp_path {directory}/{name}-fastcgi;
  uwsgi_temp_path {directory}/{name}-uwsgi;
  scgi_temp_path {directory}/{name}-scgi;
  server {{
    listen {address}:{port} backlog=4096;
{tls}    location = /echo {{ return 200 "$arg_id"; }}
    location = /status {{ stub_status; }}
  }}
}}
"""


def nginx_user() -> str:
    """The `user` line of an nginx.conf: root's nginx would else give up the right to its own
    files.
    """
    return "user root;" if os.geteuid() == 0 else ""


def nginx_command(configuration: Path) -> list[str]:
    """How to run nginx in the foreground with nothing of the system's configuration."""
    directory = configuration.parent
    return [
        program("nginx"),
        "-p",
        str(directory),
        "-e",
        f"{configuration}.log",
        "-c",
        str(configuration),
    ]


@dataclass(frozen=True)
class Backends:
    """The ports to forward to; all on loopback."""

    web: tuple[int, int]
    bulk: int
    web_tls: tuple[int, ...] = ()
    """The same with TLS, for proxies that are its clients."""
    bulk_tls: tuple[int, ...] = ()
    connect: int = 0
    """Where an HTTP proxy is asked for a tunnel to the others; 0 where nobody will."""

    def requests(self) -> int:
        """How many requests the web backends have answered so far; the question itself counts as
        one for each.
        """
        return sum(_requests(port) for port in self.web)


def _requests(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        text = replies.get(sock, "/status").decode()
    counters = re.search(r"^\s*\d+ \d+ (\d+)", text, re.MULTILINE)
    if counters is None:
        raise BenchmarkError(f"no counters in {text!r}")
    return int(counters[1])


_TLS = """\
    listen 127.0.0.1:{port} ssl backlog=4096;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {pair.chain};
    ssl_certificate_key {pair.key};
"""


def _nginx(
    stack: ExitStack,
    directory: Path,
    name: str,
    ports: tuple[int, int],
    pair: Pair,
    address: str,
) -> None:
    port, tls = ports
    configuration = directory / f"{name}.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            directory=directory,
            name=name,
            port=port,
            address=address,
            user=nginx_user(),
            descriptors=10_000,
            tls=_TLS.format(port=tls, pair=pair),
        )
    )
    wait_for_ports(
        stack.enter_context(Child(nginx_command(configuration), directory, name)), [port, tls]
    )


def start_backends(
    stack: ExitStack,
    directory: Path,
    ports: Ports,
    certificates: Certificates,
    address: str = "127.0.0.1",
) -> Backends:
    """Start all backends; `stack` stops them.

    :param address: where the web backends listen for what is not encrypted.
    :raise BenchmarkError: nginx is missing or something does not start.
    """
    taken = [ports.take() for _ in range(6)]
    one, two, bulk, one_tls, two_tls, bulk_tls = taken
    backends = Backends((one, two), bulk, (one_tls, two_tls), (bulk_tls,))
    for number, pair in enumerate(((one, one_tls), (two, two_tls))):
        _nginx(stack, directory, f"backend{number}", pair, certificates.ecdsa, address)
    _bulk_peer(stack, directory, "bulk-peer", bulk)
    _bulk_peer(stack, directory, "bulk-peer-tls", bulk_tls, str(certificates.ecdsa.both))
    return backends


def _bulk_peer(stack: ExitStack, directory: Path, name: str, port: int, *more: str) -> None:
    command = [sys.executable, "-m", "benchmarks.bulk", str(port), *more]
    child = Child(command, directory, name, {"PYTHONPATH": str(REPOSITORY)})
    wait_for_ports(stack.enter_context(child), [port])
