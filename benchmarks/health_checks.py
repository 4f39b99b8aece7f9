"""What it costs to check the health of many hosts every second: `python -m benchmarks.health_checks [hosts]`.

The hosts are addresses of the loopback network, all served by one other process.  Reported is the CPU of the process that
checks, in percent of a core, for each kind of check; and, for checks that only connect, what the kernel alone takes for it: a
loop of `socket`, `connect` and `close`.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import subprocess
import sys
import time
from random import Random
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf.json_format import ParseDict

from tcpmesh.cluster.manager import ClusterManager
from tcpmesh.registry import Context
from tcpmesh.server.networks import default_network
from tcpmesh.stats.store import Store

KINDS: dict[str, dict[str, Any]] = {
    "connect": {"tcp_health_check": {}},
    "send and receive": {"tcp_health_check": {"send": {"text": "50"}, "receive": [{"text": "51"}]}},
    "HTTP": {"http_health_check": {"path": "/"}},
}
TIMES = {"timeout": "1s", "interval": "1s", "no_traffic_interval": "1s", "unhealthy_threshold": 2, "healthy_threshold": 2}
WARM_UP = 3.0
MEASURED = 5.0


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
        client.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" if len(asked) > 1 else b"Q"[: len(asked)])
    except OSError:
        return False
    return bool(asked)


def addresses(count: int) -> list[str]:
    """So many addresses of the loopback network."""
    return [f"127.{1 + i // 60000}.{1 + i // 250 % 240}.{1 + i % 250}" for i in range(count)]


def cluster(kind: str, hosts: list[str], port: int) -> Any:
    """A cluster with a check of this kind, once a second."""
    places = [{"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}} for host in hosts]
    checks = [{**TIMES, **KINDS[kind]}]
    body = {"name": "c", "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": places}]}, "health_checks": checks}
    return ParseDict(body, cluster_pb2.Cluster())


def measure(kind: str, hosts: list[str], port: int) -> None:
    """Check for a while and print what it cost."""
    from twisted.internet import reactor

    clock: Any = reactor
    store = Store()
    clusters = ClusterManager(Context(default_network(clock), store, lambda name: None, Random(1)))
    clusters.add_or_update(cluster(kind, hosts, port))
    attempts = store.counter("cluster.c.health_check.attempt")
    failures = store.counter("cluster.c.health_check.failure")

    def begin() -> None:
        clock.callLater(MEASURED, end, time.process_time(), time.monotonic(), attempts.value)

    def end(cpu: float, began: float, made: int) -> None:
        spent, lasted = time.process_time() - cpu, time.monotonic() - began
        rate = (attempts.value - made) / lasted
        print(f"{kind}: {rate:.0f} checks/s, {100 * spent / lasted:.0f} % of a core, {failures.value} failed")
        clock.stop()

    clock.callLater(WARM_UP, begin)
    clock.run()


def floor(hosts: list[str], port: int) -> None:
    """Print what the kernel takes for connecting to each host once."""
    before = os.times()
    for host in hosts:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((host, port))
        client.close()
    after = os.times()
    print(f"connect, the kernel alone: {100 * (after.system - before.system):.0f} % of a core, once a second")


def main(count: int) -> None:
    """Measure all kinds, each in a process of its own."""
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.health_checks", "serve"], stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        port = server.stdout.readline().decode().strip()
        for kind in (*KINDS, "floor"):
            subprocess.run([sys.executable, "-m", "benchmarks.health_checks", kind, str(count), port], check=True)
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["floor", number, at]:
            floor(addresses(int(number)), int(at))
        case [kind, number, at]:
            measure(kind, addresses(int(number)), int(at))
        case rest:
            main(int(rest[0]) if rest else 10_000)
