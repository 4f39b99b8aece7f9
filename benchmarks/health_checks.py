"""What it costs to check the health of many hosts every second: `python -m benchmarks.health_checks
[hosts] [rounds]`.

The hosts are addresses of the loopback network, all served by one other process.  Reported is the
CPU of tcpmesh and of the real Envoy with the same file, in percent of a core for a check of every
host once a second, for each kind of check: medians over the rounds, in which the two take turns.
For checks that only connect the last line says what the kernel alone takes, which on loopback does
the work of both ends: a loop of `socket`, `connect` and `close`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

from benchmarks import tools
from benchmarks.command import status_of
from benchmarks.process import Child, Ports, wait_for_ports, wait_until

KINDS: dict[str, dict[str, Any]] = {
    "connect only": {"tcp_health_check": {}},
    "send and receive": {"tcp_health_check": {"send": {"text": "50"}, "receive": [{"text": "51"}]}},
    "HTTP": {"http_health_check": {"path": "/"}},
}
TIMES = {
    "timeout": "1s",
    "interval": "1s",
    "no_traffic_interval": "1s",
    "unhealthy_threshold": 2,
    "healthy_threshold": 2,
}
WARM_UP = 2.0
MEASURED = 5.0
FIELDS = (
    "Server: nginx/1.26.0",
    "Content-Type: text/html",
    "Content-Length: 2",
    "Last-Modified: Tue, 23 Apr 2024 14:04:32 GMT",
    "Connection: keep-alive",
    'ETag: "6627bff0-2"',
    "Accept-Ranges: bytes",
)


def serve() -> None:
    """The other process: accept at all addresses, answer what is asked, print the port."""
    listener = socket.create_server(("0.0.0.0", 0), backlog=4096)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    while True:
        for fd, _ in epoll.poll():
            if fd == listener.fileno():
                client, _ = listener.accept()
                clients[client.fileno()] = client
                epoll.register(client, select.EPOLLIN)
            elif not answer(clients[fd]):
                epoll.unregister(fd)
                clients.pop(fd).close()


def answer(client: socket.socket) -> bool:
    """Answer one request; False where there is none any more."""
    try:
        asked = client.recv(1000)
        client.send(http_response() if len(asked) > 1 else b"Q"[: len(asked)])
    except OSError:
        return False
    return bool(asked)


def http_response() -> bytes:
    """What a web server says, no two times the same."""
    return "\r\n".join(
        ["HTTP/1.1 200 OK", f"X-Request-Id: {time.monotonic_ns()}", *FIELDS, "", "ok"]
    ).encode()


def addresses(count: int) -> list[str]:
    """So many addresses of the loopback network."""
    return [f"127.{1 + i // 60000}.{1 + i // 250 % 240}.{1 + i % 250}" for i in range(count)]


def configuration(kind: str, hosts: list[str], port: int, admin: int) -> str:
    """A cluster with a check of this kind, once a second."""
    places = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}
        for host in hosts
    ]
    assignment = {"cluster_name": "c", "endpoints": [{"lb_endpoints": places}]}
    cluster = {
        "name": "c",
        "load_assignment": assignment,
        "health_checks": [{**TIMES, **KINDS[kind]}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": admin}}
    return json.dumps({"admin": {"address": address}, "static_resources": {"clusters": [cluster]}})


def commands(path: Path) -> dict[str, list[str]]:
    """How each of the two is started with this file."""
    return {
        "tcpmesh": [
            *(tools.twistd(), "--nodaemon", "--pidfile=", "tcpmesh"),
            *("--config", str(path), "--concurrency", "1", "--disable-hot-restart"),
        ],
        "envoy": [
            tools.envoy(),
            "-c",
            str(path),
            "--concurrency",
            "1",
            "--log-level",
            "warning",
            "--disable-hot-restart",
        ],
    }


def measure(kind: str, name: str, hosts: list[str], port: int, ports: Ports, folder: Path) -> float:
    """Percent of a core, for as many checks a second as there are hosts."""
    admin = ports.take()
    path = folder / "envoy.json"
    path.write_text(configuration(kind, hosts, port, admin))

    def made() -> int:
        with urlopen(
            f"http://127.0.0.1:{admin}/stats?filter=health_check.attempt", timeout=10
        ) as found:
            return int(found.read().decode().partition(":")[2] or 0)

    with Child(commands(path)[name], folder, name) as child:
        wait_for_ports(child, [admin])
        wait_until(lambda: made() >= 2 * len(hosts), 30, f"{name}: a second round of checks")
        time.sleep(WARM_UP)
        before, cpu, began = made(), child.cpu_ns(), time.monotonic()
        time.sleep(MEASURED)
        spent, checks, lasted = child.cpu_ns() - cpu, made() - before, time.monotonic() - began
    share = 100 * spent / 1e9 / checks * len(hosts)
    print(f"  {kind}, {name}: {checks / lasted:.0f} checks/s, {share:.1f} %", file=sys.stderr)
    return share


def floor(hosts: list[str], port: int) -> float:
    """Percent of a core that the kernel takes for connecting to each host once a second."""
    before = os.times()
    for host in hosts:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((host, port))
        client.close()
    return 100 * (os.times().system - before.system)


def report(hosts: list[str], port: int, rounds: int) -> None:
    """Measure all, in turns, and print the medians."""
    ports = Ports()
    seen: dict[tuple[str, str], list[float]] = {}
    floors = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for kind in KINDS:
                for name in ("tcpmesh", "envoy"):
                    seen.setdefault((kind, name), []).append(
                        measure(kind, name, hosts, port, ports, Path(folder))
                    )
            floors.append(floor(hosts, port))
    print(f"{len(hosts)} hosts checked every second, percent of a core; medians of {rounds}\n")
    print(f"{'':20}{'tcpmesh':>10}{'Envoy':>10}{'ratio':>10}")
    for kind in KINDS:
        ours, theirs = seen[kind, "tcpmesh"], seen[kind, "envoy"]
        ratio = median(ours[i] / theirs[i] for i in range(rounds))
        print(f"{kind:20}{median(ours):10.1f}{median(theirs):10.1f}{ratio:10.2f}")
    print(f"{'the kernel alone':20}{median(floors):10.1f}   for connect only")


def main() -> int:
    """Start the hosts and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.health_checks", description=(__doc__ or "").partition(":")[0]
    )
    parser.add_argument("hosts", type=int, nargs="?", default=10_000, help="how many (10000)")
    parser.add_argument("rounds", type=int, nargs="?", default=1, help="how often each is run (1)")
    options = parser.parse_args()
    if not (1 <= options.hosts <= 60_000 and 1 <= options.rounds <= 100):
        parser.error("between 1 and 60000 hosts, 1 and 100 rounds")
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.health_checks", "serve"], stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    try:
        report(addresses(options.hosts), int(server.stdout.readline()), options.rounds)
    finally:
        server.kill()
        server.wait()
    return 0


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        sys.exit(status_of(main))
