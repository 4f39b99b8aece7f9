"""Clients that make one TLS connection after the other, with one small request each.

wrk cannot be told which version to speak, nor whether to resume; this can.  Python's clients are
slow, but what a proxy spends on a connection does not depend on how soon the next one comes.
`python -m benchmarks.handshakes PORT VERSION KIND SECONDS` is one of them: it prints how many
connections it made, and how long each took, in microseconds.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import quantiles

from benchmarks import replies
from benchmarks.backends import ECHO_PATH, Backends
from benchmarks.counters import Meter
from benchmarks.process import BenchmarkError, Child
from benchmarks.tools import REPOSITORY

FULL, RESUMED = "full", "resumed"

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_CLIENTS = 2
_RAMP_SECONDS, _TAIL_SECONDS = 0.5, 0.2


@dataclass(frozen=True)
class Handshakes:
    """What it took.

    :ivar cpu: microseconds of CPU that the proxy spent on a connection.
    :ivar rate: connections a second.
    :ivar p50: median microseconds from the first packet to the end of the reply.
    :ivar p99: what one connection in a hundred exceeds.
    :ivar counted: thousands of instructions for a connection, where they can be counted.
    """

    cpu: float
    rate: float
    p50: float
    p99: float
    counted: Mapping[str, float] = field(default_factory=dict)


def client_context(version: str = "1.3") -> ssl.SSLContext:
    """A client that speaks this version alone, and believes every server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def handshakes(
    child: Child,
    port: int,
    backends: Backends,
    version: str,
    kind: str,
    seconds: int,
    name: str = "",
) -> Handshakes:
    """Have clients connect for so long.

    :param name: the server name that they ask for (SNI), if any.

    The proxy's CPU is taken over a window that leaves out the start, and the backends tell how many
    connections fell into it.

    :raise BenchmarkError: a wrong reply, or a session that was not resumed.
    """
    words = ["-m", "benchmarks.handshakes", str(port), version, kind, str(seconds), name]
    clients = [
        subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, cwd=REPOSITORY)
        for _ in range(_CLIENTS)
    ]
    try:
        time.sleep(_RAMP_SECONDS)
        requests = backends.requests()
        with Meter(child) as meter:
            time.sleep(max(seconds - _RAMP_SECONDS - _TAIL_SECONDS, 0.5))
            requests = backends.requests() - requests - len(backends.web)
            spent = meter.read()
        outputs = [client.communicate(timeout=30)[0] for client in clients]
    except subprocess.TimeoutExpired:
        raise BenchmarkError("the TLS clients do not end") from None
    finally:
        for client in clients:
            client.kill()
            client.wait()
    waits = [wait for output in outputs for wait in _waits(output)]
    if requests <= 0 or len(waits) < 2:
        raise BenchmarkError("no connection was made in the middle of the run")
    parts = quantiles(waits, n=100)
    return Handshakes(
        spent.cpu / 1000 / requests,
        len(waits) / seconds,
        parts[49],
        parts[98],
        spent.per(requests * 1000),
    )


def _waits(output: bytes) -> list[float]:
    try:
        found = json.loads(output)
    except ValueError:
        raise BenchmarkError("a TLS client failed; its complaint stands above") from None
    if found["error"]:
        raise BenchmarkError(f"a TLS client failed: {found['error']}")
    waits: list[float] = found["waits"]
    return waits


class Client:
    """Makes connections, and keeps the session of the last one where it is to be resumed."""

    def __init__(self, port: int, version: str, kind: str, name: str = "") -> None:
        self._port = port
        self._name = name or None
        self._context = client_context(version)
        self._resumes = kind == RESUMED
        self._session: ssl.SSLSession | None = None

    def connect(self, number: int) -> None:
        """Connect, ask, and close.

        :raise BenchmarkError: a wrong reply, or a session that was not resumed.
        """
        raw = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._context.wrap_socket(
            raw, server_hostname=self._name, session=self._session
        ) as sock:
            if self._session is not None and not sock.session_reused:
                raise BenchmarkError("a session was not resumed")
            if replies.get(sock, f"{ECHO_PATH}{number}") != str(number).encode():
                raise BenchmarkError("a wrong reply")
            if self._resumes:
                self._session = sock.session


def main(port: int, version: str, kind: str, seconds: float, name: str) -> None:
    """Be one client for so many seconds."""
    client, error = Client(port, version, kind, name), ""
    waits: list[float] = []
    deadline = time.monotonic() + seconds
    try:
        while (start := time.monotonic()) < deadline:
            client.connect(len(waits))
            waits.append((time.monotonic() - start) * 1e6)
    except (OSError, BenchmarkError) as e:
        error = str(e)
    print(json.dumps({"waits": waits, "error": error}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5])
