"""Record what Envoy counts and logs in the scenarios of `filter_scenarios`.

    python -m tests.differential.record_filters [ENVOY]

writes `filters.json` beside this file: for each scenario the statistics of the filters and of
tcp_proxy, while all clients are connected and after they have left, and the lines of the log.
Everything is on loopback.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]

from benchmarks import tools
from tcpmesh.testing.child import free_port
from tests.differential.filter_scenarios import (
    ANSWERS,
    FAILS,
    GONE,
    PREFIXES,
    SCENARIOS,
    SILENT,
    TOGETHER,
    TRANSIENT,
    Scenario,
    bootstrap,
)
from tests.extensions.filters.network.asked import service_cluster

RECORDING = Path(__file__).with_name("filters.json")
PAUSE = 0.15
"""Seconds in which what a client does has come to its end."""


class Host(socketserver.BaseRequestHandler):
    """Takes what comes, and ends when its client does."""

    def handle(self) -> None:
        """One connection."""
        with contextlib.suppress(OSError):
            while self.request.recv(1 << 16):
                pass


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The gRPC service, whatever is asked."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.over = threading.Event()

    def service(self, details: Any) -> Any:
        """Answer everything alike."""
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, request: bytes, context: Any) -> bytes:
        if self._scenario.service == FAILS:
            context.abort(grpc.StatusCode.INTERNAL, "")
        if self._scenario.service == SILENT:
            self.over.wait(30)
        return self._scenario.answer


def shown(stats: dict[str, int]) -> dict[str, int]:
    """Those that are compared."""
    return {
        name: value
        for name, value in sorted(stats.items())
        if name.startswith(PREFIXES) and not name.endswith(TRANSIENT)
    }


def _stats(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=5) as answer:
        text = answer.read().decode()
    found = re.findall(r"^(\S+): (\d+)$", text, re.MULTILINE)
    return shown({name: int(value) for name, value in found})


def _wait_ready(port: int) -> None:
    for _ in range(100):
        time.sleep(0.05)
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).close()
            return
    raise RuntimeError("Envoy does not begin")


def _play(scenario: Scenario, front: int, admin: int) -> list[dict[str, int]]:
    clients = []
    for said in scenario.clients:
        client = socket.create_connection(("127.0.0.1", front), 5)
        clients.append(client)
        with contextlib.suppress(OSError):
            if said is not None:
                client.sendall(said)
        time.sleep(PAUSE)
    time.sleep(TOGETHER - PAUSE)
    during = _stats(admin)
    for client in clients:
        client.close()
        time.sleep(PAUSE)
    time.sleep(PAUSE)
    return [during, _stats(admin)]


def run(envoy: str, scenario: Scenario) -> dict[str, Any]:
    """Start an Envoy, and play a scenario."""
    front, admin, answering = free_port(), free_port(), free_port()
    service = Service(scenario)
    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool, handlers=(service,))
    if scenario.service != GONE:
        server.add_insecure_port(f"127.0.0.1:{answering}")
        server.start()
    host = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Host)
    host.daemon_threads = True
    threading.Thread(target=host.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "log")
            at = f"127.0.0.1:{host.server_address[1]}"
            asked = service_cluster(f"127.0.0.1:{answering}")
            config = bootstrap(scenario, f"127.0.0.1:{front}", at, asked)
            address = {"socket_address": {"address": "127.0.0.1", "port_value": admin}}
            text = json.dumps({"admin": {"address": address}, **config})
            text = text.replace('"/log"', json.dumps(str(log)))
            path = Path(folder, "envoy.json")
            path.write_text(text)
            command = [envoy, "-c", str(path), "-l", "off", "--concurrency", "1"]
            command += ["--disable-hot-restart", "--file-flush-interval-msec", "50"]
            with subprocess.Popen(command) as process:
                try:
                    _wait_ready(admin)
                    during, after = _play(scenario, front, admin)
                    # Without what Envoy says as it ends of those whose end it has not seen.
                    lines = log.read_text().splitlines() if log.exists() else []
                finally:
                    service.over.set()
                    process.terminate()
    finally:
        server.stop(0)
        host.shutdown()
        host.server_close()
    return {"during": during, "after": after, "log": lines}


def main(envoy: str) -> None:
    """Write all answers into the file."""
    assert all(each.service in (ANSWERS, FAILS, SILENT, GONE) for each in SCENARIOS.values())
    recorded = {}
    for name, scenario in SCENARIOS.items():
        print(name, flush=True)
        recorded[name] = run(envoy, scenario)
    RECORDING.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tools.envoy())
