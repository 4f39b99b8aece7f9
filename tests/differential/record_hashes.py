"""Record which host Envoy chooses for each client of the scenarios in `hash_scenarios`.

    TCPMESH_ENVOY=/path/to/envoy python -m tests.differential.record_hashes

writes `hashes.json` beside this file: for each scenario its cluster, the `metadata_match` of its
tcp_proxy, the host of each client (a letter, `-` where Envoy closed the connection), and the
statistics that moved.  Everything is on loopback: backends on 127.0.1.x:7001, [::1]:7001 and an
abstract socket, clients from 127.0.0.2 on.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.differential.hash_scenarios import (
    ADDRESSES,
    HELD,
    PIPE,
    SCENARIOS,
    SOURCES,
    STATS,
    Fields,
)

RECORDING = Path(__file__).with_name("hashes.json")
FIRST_PORT = 17000
ADMIN = 16999
TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_HOST = "127.0.0.1"


def scenario(name: str) -> tuple[Fields, Fields]:
    """The cluster and the tcp_proxy of a scenario, named as it is."""
    fields = dict(SCENARIOS[name])
    proxy: Fields = {"stat_prefix": name, "cluster": name, "hash_policy": [{"source_ip": {}}]}
    if "match" in fields:
        proxy["metadata_match"] = {"filter_metadata": {"envoy.lb": fields.pop("match")}}
    fields["load_assignment"] = {"cluster_name": name, **fields["load_assignment"]}
    return {"name": name, "connect_timeout": "5s", **fields}, proxy


def bootstrap() -> Fields:
    """A configuration of all scenarios, a listener for each."""
    listeners, clusters = [], []
    for port, name in enumerate(SCENARIOS, FIRST_PORT):
        cluster, proxy = scenario(name)
        filters = [{"name": "tcp", "typed_config": {"@type": TCP_PROXY, **proxy}}]
        listeners.append(
            {"name": name, "address": _address(port), "filter_chains": [{"filters": filters}]}
        )
        clusters.append(cluster)
    return {
        "admin": {"address": _address(ADMIN)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def _address(port: int) -> Fields:
    return {"socket_address": {"address": _HOST, "port_value": port}}


def listen(stack: ExitStack) -> None:
    """Start the backends: each says its letter, then waits for the client to go."""
    addresses: dict[str, Any] = {**ADDRESSES, "p": "\0" + PIPE[1:]}
    for name, address in addresses.items():
        family = (
            socket.AF_UNIX
            if name == "p"
            else socket.AF_INET6
            if ":" in address[0]
            else socket.AF_INET
        )
        sock = stack.enter_context(socket.socket(family))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(256)
        threading.Thread(target=_serve, args=(sock, name.encode()), daemon=True).start()


def _serve(sock: socket.socket, name: bytes) -> None:
    while True:
        try:
            client, _ = sock.accept()
        except OSError:
            return
        client.sendall(name)
        threading.Thread(target=_wait, args=(client,), daemon=True).start()


def _wait(client: socket.socket) -> None:
    with client:
        try:
            client.recv(1)
        except OSError:
            return


def connect(port: int, source: str) -> tuple[socket.socket, str]:
    """A client from this address, and the letter that it got."""
    client = socket.create_connection((_HOST, port), 5, (source, 0))
    return client, client.recv(1).decode() or "-"


def picks(name: str, port: int) -> str:
    """What each client gets, one after the other; those of a scenario in `HELD` stay until the last
    has come.
    """
    with ExitStack() as held:
        seen = []
        for source in SOURCES:
            client, letter = connect(port, source)
            seen.append(letter)
            if name in HELD:
                held.enter_context(client)
            else:
                client.close()
        return "".join(seen)


def stats() -> dict[str, dict[str, int]]:
    """By cluster, what is not 0."""
    with closing(urlopen(f"http://{_HOST}:{ADMIN}/stats?format=json")) as page:
        values = {
            each["name"]: each["value"] for each in json.load(page)["stats"] if "value" in each
        }
    found: dict[str, dict[str, int]] = {}
    for name, value in values.items():
        if value and re.search(STATS, name):
            _, cluster, rest = name.split(".", 2)
            found.setdefault(cluster, {})[rest] = value
    return found


def wait_until_ready(envoy: subprocess.Popen[bytes]) -> None:
    """Return once Envoy serves.

    :raise RuntimeError: where it has ended, or not begun in 30 seconds.
    """
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and envoy.poll() is None:
        try:
            with closing(urlopen(f"http://{_HOST}:{ADMIN}/ready")):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"Envoy is not ready, exit status {envoy.poll()}")


def record(binary: str) -> Fields:
    """Run all scenarios."""
    with ExitStack() as stack:
        listen(stack)
        file = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".json"))
        json.dump(bootstrap(), file)
        file.flush()
        command = [
            binary,
            "-c",
            file.name,
            "--concurrency",
            "1",
            "--log-level",
            "error",
            "--use-dynamic-base-id",
        ]
        envoy = subprocess.Popen(command)
        try:
            wait_until_ready(envoy)
            seen = {name: picks(name, port) for port, name in enumerate(SCENARIOS, FIRST_PORT)}
            counted = stats()
        finally:
            envoy.terminate()
            envoy.wait(30)
    version = subprocess.run(
        [binary, "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[-1]
    found: Fields = {"version": version.split("/")[1], "sources": SOURCES, "scenarios": {}}
    for name in SCENARIOS:
        cluster, proxy = scenario(name)
        match = proxy.get("metadata_match")
        facts = {
            "cluster": cluster,
            "metadata_match": match,
            "held": name in HELD,
            "picks": seen[name],
            "stats": counted.get(name, {}),
        }
        found["scenarios"][name] = facts
    return found


def main() -> None:
    """Write the recording, a scenario a line."""
    found = record(os.environ["TCPMESH_ENVOY"])
    scenarios = found.pop("scenarios")
    lines = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(facts, sort_keys=True)}"
        for name, facts in scenarios.items()
    )
    RECORDING.write_text(f'{{"envoy": {json.dumps(found)},\n"scenarios": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
