"""Runs the demo of `make upgrade-demo`: one client counts aloud over one connection, others come
and go without a pause, and the proxy between them and their server is upgraded three times.  The
connection moves each time: of the process that it began in nothing is left.

It uses nothing of tcpmesh but its command line.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.request import urlopen

TCPMESH = [sys.executable, "-m", "tcpmesh"]
UPGRADES = 3
COUNTS = 8
"""Numbers that are counted between two upgrades, two a second."""

START_TIMEOUT = 20.0

MOVING = 0.5
"""Seconds after which the connection has moved."""


class Server:
    """Sends back what it gets."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listening.accept()
            threading.Thread(target=self._echo, args=(client,), daemon=True).start()

    def _echo(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while data := client.recv(64):
                client.sendall(data)


class Newcomers:
    """Clients that connect, say a word, hear it and go, one after the other."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.served = 0
        self.failed: list[str] = []
        threading.Thread(target=self._come, daemon=True).start()

    def _come(self) -> None:
        while True:
            try:
                if ask(connect(self._port), b"word") == b"word":
                    self.served += 1
                else:
                    self.failed.append("a wrong answer")
            except OSError as e:
                self.failed.append(str(e))
            time.sleep(0.005)


def connect(port: int) -> socket.socket:
    """A client of the proxy."""
    return socket.create_connection(("127.0.0.1", port), timeout=10.0)


def ask(client: socket.socket, word: bytes) -> bytes:
    """Say something, once, and go."""
    with client:
        client.sendall(word)
        return client.recv(64)


def configuration(port: int, admin: int, upstream: int) -> str:
    """A listener, a cluster and the admin interface."""

    def at(port: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "front",
        "cluster": "server",
    }
    host = {"endpoint": {"address": at(upstream)}}
    cluster = {
        "name": "server",
        "load_assignment": {"cluster_name": "server", "endpoints": [{"lb_endpoints": [host]}]},
    }
    filters = [{"name": "tcp_proxy", "typed_config": proxy}]
    listener = {"name": "front", "address": at(port), "filter_chains": [{"filters": filters}]}
    resources = {"listeners": [listener], "clusters": [cluster]}
    return json.dumps({"admin": {"address": at(admin)}, "static_resources": resources})


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in taken]
    for each in taken:
        each.close()
    return ports


def wait_for(port: int) -> None:
    """Wait until somebody accepts there."""
    limit = time.monotonic() + START_TIMEOUT
    while time.monotonic() < limit:
        with contextlib.suppress(OSError):
            connect(port).close()
            return
        time.sleep(0.1)
    sys.exit("the proxy does not start: see above")


def count_aloud(client: socket.socket, first: int) -> int:
    """Count on, each number through the proxy and back; the next one."""
    for number in range(first, first + COUNTS):
        client.sendall(b"%d" % number)
        print(client.recv(64).decode(), end=" ", flush=True)
        time.sleep(0.5)
    print()
    return first + COUNTS


def upgrade(admin: int) -> None:
    """Have the running process replaced, and print what it says."""
    command = [*TCPMESH, "upgrade", "--admin", f"127.0.0.1:{admin}"]
    subprocess.run(command, check=True)
    time.sleep(MOVING)
    with urlopen(f"http://127.0.0.1:{admin}/connections?format=json&sort=-age") as page:
        first = json.load(page)["connections"][0]
    print(f"  it has the connection that counts, which is {first['age']:.0f} s old")


def play(port: int, admin: int) -> bool:
    """All of it; whether nobody was refused or cut off."""
    newcomers, number = Newcomers(port), 1
    with connect(port) as client:
        for left in reversed(range(UPGRADES + 1)):
            number = count_aloud(client, number)
            if left:
                upgrade(admin)
    print(
        f"{number - 1} numbers over one connection, {newcomers.served} other connections, "
        f"{len(newcomers.failed)} of them refused or cut off, {UPGRADES} upgrades"
    )
    return not newcomers.failed


def main() -> None:
    """Play, and leave nothing."""
    port, admin = free_ports(2)
    with tempfile.TemporaryDirectory() as folder:
        config, pid_file = Path(folder) / "envoy.json", Path(folder) / "pid"
        config.write_text(configuration(port, admin, Server().port))
        twistd = str(Path(sys.executable).with_name("twistd"))
        command = [twistd, "--nodaemon", f"--pidfile={pid_file}", "tcpmesh"]
        command += ["--disable-hot-restart", "--log-level", "warning"]
        subprocess.Popen([*command, "--config-path", str(config)])
        wait_for(port)
        try:
            is_well = play(port, admin)
        finally:
            os.kill(int(pid_file.read_text()), signal.SIGTERM)
            while pid_file.exists():
                time.sleep(0.05)
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
