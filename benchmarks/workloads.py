"""The work that every proxy is given, and the figures that come out of it."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import replies
from benchmarks.backends import ECHO_PATH, Backends
from benchmarks.bulk import Transfer
from benchmarks.certificates import Certificates
from benchmarks.counters import Meter
from benchmarks.handshakes import FULL, RESUMED, client_context, handshakes
from benchmarks.load import Load, small_requests
from benchmarks.process import BenchmarkError, Child, tree_descriptors, tree_memory, wait_until
from benchmarks.proxies.route import BARE, CHAIN

Values = dict[str, float]

BULK_TURNS = 4
"""Transfers in a round through each proxy.  One lasts half a second or less, and with three busy
processes on two cores one in ten takes twice as long for no fault of the proxy.  So the median of
several counts, taken in turns with those of the others."""

LONELY_TURNS = 2
"""Runs in a round with one connection: at 8,000 requests a second, one alone would found its p99 on
too few.
"""

FILTER_TURNS = 3
"""Pairs of runs with and without filters in a round: their difference is small."""

_STALLED_BYTES = 64 << 20
_CROSSTALK_CONNECTIONS = 32
_CROSSTALK_REQUESTS = 8


@dataclass(frozen=True)
class Settings:
    """How much of everything.

    :ivar seconds: length of each run of small requests.
    :ivar bulk_bytes: size of each bulk transfer.
    :ivar idle: number of idle connections.
    """

    seconds: int
    bulk_bytes: int
    idle: int


@dataclass(frozen=True)
class Running:
    """A proxy at work: its process, and the ports of its listeners."""

    child: Child
    ports: Mapping[str, int]


@dataclass(frozen=True)
class Bench:
    """What all workloads need: the backends, how much to do, the bulk stream and a folder for
    files.
    """

    backends: Backends
    settings: Settings
    block: bytes
    directory: Path
    certificates: Certificates | None = None


@dataclass(frozen=True)
class Metric:
    """One figure of a workload.

    :ivar steer: whether it belongs to those to steer by, which the chart shows.
    :ivar rising: whether more is better.
    """

    key: str
    title: str
    unit: str
    digits: int
    steer: bool = False
    rising: bool = False


@dataclass(frozen=True)
class Workload:
    """One kind of work.

    :ivar run: does it once through a proxy, and raises `BenchmarkError` where a byte or reply is
        wrong.
    :ivar connections: how many it has open at once; `None` if that is a matter of the settings.
    :ivar turns: how often each proxy does it in a round, in turns with the others.
    :ivar listener: which listener it needs.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    run: Callable[[Bench, Running], Values]
    connections: int | None
    turns: int = 1
    listener: str = "web"

    def combined(self, turns: Sequence[Values]) -> Values:
        """The figures of a round: the medians of those of its turns."""
        return {
            metric.key: median(values[metric.key] for values in turns)
            for metric in self.metrics
            if all(metric.key in values for values in turns)
        }


def _connected(port: int, stack: ExitStack, tls: ssl.SSLContext | None = None) -> socket.socket:
    sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
    return sock if tls is None else stack.enter_context(tls.wrap_socket(sock))


def verify_crosstalk(port: int, tls: ssl.SSLContext | None = None) -> None:
    """Every reply comes back on the connection that asked, in the order of asking.

    :raise BenchmarkError: a reply was swapped, lost or altered.
    """
    with ExitStack() as stack:
        clients = [_connected(port, stack, tls) for _ in range(_CROSSTALK_CONNECTIONS)]
        for request in range(_CROSSTALK_REQUESTS):
            for number, client in enumerate(clients):
                replies.ask(client, f"{ECHO_PATH}{number}-{request}")
            for number, client in enumerate(clients):
                body = replies.answer(client)
                if body != f"{number}-{request}".encode():
                    raise BenchmarkError(f"connection {number} got {body!r} as reply {request}")


def start_memory(bench: Bench, proxy: Running) -> Values:
    """Memory of the proxy when it has just been started and was only probed for its ports."""
    memory = tree_memory(proxy.child.pid)
    return {"resident": memory.resident / 1024, "own": memory.own / 1024}


def _idle(listener: str, tls: ssl.SSLContext | None) -> Callable[[Bench, Running], Values]:
    """Memory for connections that have had one request and now wait."""

    def run(bench: Bench, proxy: Running) -> Values:
        port = proxy.ports[listener]
        verify_crosstalk(port, tls)
        time.sleep(0.2)
        descriptors = tree_descriptors(proxy.child.pid)
        before = tree_memory(proxy.child.pid)
        with ExitStack() as stack:
            for number in range(bench.settings.idle):
                body = replies.get(_connected(port, stack, tls), f"{ECHO_PATH}{number}")
                if body != str(number).encode():
                    raise BenchmarkError(f"connection {number} got the reply {body!r}")
            time.sleep(0.5)
            after = tree_memory(proxy.child.pid)
        wait_until(
            lambda: tree_descriptors(proxy.child.pid) <= descriptors + 8,
            10,
            "all descriptors of closed connections are released",
        )
        return {"kib": (after.own - before.own) / bench.settings.idle}

    return run


def _values(load: Load) -> Values:
    return {
        "cpu": load.cpu,
        "rate": load.rate,
        "p50": load.p50 / 1000,
        "p99": load.p99 / 1000,
        "newcomer": load.newcomer / 1000,
        **load.counted,
    }


def _keepalive(
    connections: int, listener: str = "web", tls: bool = False
) -> Callable[[Bench, Running], Values]:
    def run(bench: Bench, proxy: Running) -> Values:
        return _values(
            small_requests(
                proxy.child,
                proxy.ports[listener],
                bench.backends,
                bench.directory,
                connections,
                bench.settings.seconds,
                tls=tls,
            )
        )

    return run


def _new_connections(listener: str) -> Callable[[Bench, Running], Values]:
    """One request per connection, 64 at a time."""

    def run(bench: Bench, proxy: Running) -> Values:
        load = small_requests(
            proxy.child,
            proxy.ports[listener],
            bench.backends,
            bench.directory,
            64,
            bench.settings.seconds,
            close=True,
        )
        return _values(load)

    return run


def filters(bench: Bench, proxy: Running) -> Values:
    """The same with filters before tcp_proxy, and at once without."""
    bare = _new_connections(BARE)(bench, proxy)
    values = _new_connections(CHAIN)(bench, proxy)
    return {**values, "cost": values["cpu"] / bare["cpu"]}


def _tls_connections(listener: str, version: str, kind: str) -> Callable[[Bench, Running], Values]:
    """One request per connection of a client with TLS."""

    def run(bench: Bench, proxy: Running) -> Values:
        port, seconds = proxy.ports[listener], bench.settings.seconds
        made = handshakes(proxy.child, port, bench.backends, version, kind, seconds)
        return {
            "cpu": made.cpu,
            "rate": made.rate,
            "p50": made.p50 / 1e3,
            "p99": made.p99 / 1e3,
            **made.counted,
        }

    return run


def _bulk(
    transfer: Callable[[Transfer, int], None], listener: str = "bulk", tls: bool = False
) -> Callable[[Bench, Running], Values]:
    def run(bench: Bench, proxy: Running) -> Values:
        count = bench.settings.bulk_bytes
        context = client_context() if tls else None
        with (
            Transfer(proxy.ports[listener], bench.block, 120, context) as bulk,
            Meter(proxy.child) as meter,
        ):
            start = time.monotonic()
            transfer(bulk, count)
            seconds, spent = time.monotonic() - start, meter.read()
        return {"cpu": spent.cpu / count, "rate": count / seconds / 1e9, **spent.per(count)}

    return run


class _Downloads(threading.Thread):
    """Downloads one after the other, until told to stop; `error` holds what went wrong."""

    def __init__(self, port: int, block: bytes, size: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._block = block
        self._size = size
        self._stopped = threading.Event()
        self.done = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                with Transfer(self._port, self._block, 60) as bulk:
                    bulk.download(self._size)
                self.done += 1
        except (OSError, BenchmarkError) as error:
            self.error = error

    def finish(self) -> int:
        """Stop, and return how many bytes came.

        :raise BenchmarkError: one of the downloads was not right.
        """
        self._stopped.set()
        self.join(60)
        if self.error is not None:
            raise BenchmarkError(f"download: {self.error}")
        return self.done * self._size


def fairness(bench: Bench, proxy: Running) -> Values:
    """Small requests while a fast reader downloads all the time and another one does not read at
    all.
    """
    with Transfer(proxy.ports["bulk"], bench.block, 60) as stalled:
        stalled.ask("D", _STALLED_BYTES)
        downloads = _Downloads(proxy.ports["bulk"], bench.block, 32 << 20)
        start = time.monotonic()
        downloads.start()
        try:
            load = small_requests(
                proxy.child,
                proxy.ports["web"],
                bench.backends,
                bench.directory,
                16,
                bench.settings.seconds,
            )
        finally:
            received = downloads.finish()
            seconds = time.monotonic() - start
        stalled.take(_STALLED_BYTES)
    return {**_values(load), "bulk": received / seconds / 1e9}


def _instructions(unit: str) -> tuple[Metric, ...]:
    """Of machines that can count them."""
    return Metric("user", "in the program", unit, 1), Metric("kernel", "in the kernel", unit, 1)


_REQUEST_METRICS = (
    Metric("cpu", "CPU per request", "µs", 1, steer=True),
    Metric("rate", "rate", "requests/s", 0, rising=True),
    Metric("p50", "p50", "ms", 2),
    Metric("p99", "p99", "ms", 2, steer=True),
    *_instructions("thousand instructions per request"),
)

_CROWD_METRICS = (*_REQUEST_METRICS, Metric("newcomer", "longest wait while all connect", "ms", 0))

_NEW_METRICS = (
    Metric("cpu", "CPU per connection", "µs", 1, steer=True),
    Metric("rate", "rate", "connections/s", 0, rising=True),
    Metric("p50", "p50", "ms", 2),
    Metric("p99", "p99", "ms", 2, steer=True),
    *_instructions("thousand instructions per connection"),
)

_FILTERS_METRICS = (
    Metric("cost", "CPU per connection, by that without the filters", "x", 3, steer=True),
    Metric("cpu", "CPU per connection", "µs", 1),
    Metric("rate", "rate", "connections/s", 0, rising=True),
    Metric("p99", "p99", "ms", 2),
)

_BULK_METRICS = (
    Metric("cpu", "CPU per GB", "s", 3, steer=True),
    Metric("rate", "rate", "GB/s", 2, rising=True),
    *_instructions("instructions per byte"),
)

_FAIRNESS_METRICS = (
    Metric("p50", "p50 of small requests", "ms", 2),
    Metric("p99", "p99 of small requests", "ms", 2, steer=True),
    Metric("rate", "rate of small requests", "requests/s", 0, rising=True),
    Metric("bulk", "rate of the fast reader", "GB/s", 2, rising=True),
)

_IDLE_METRICS = (Metric("kib", "memory per connection", "KiB", 2, steer=True),)


def _tls_handshakes() -> Iterator[Workload]:
    """New connections of clients with TLS: what is resumed has no certificate in it."""
    for name, listener, title, version, kind in (
        ("tls-ecdsa", "tls-ecdsa", "TLS 1.3, ECDSA", "1.3", FULL),
        ("tls-rsa", "tls-rsa", "TLS 1.3, RSA", "1.3", FULL),
        ("tls-resumed", "tls-ecdsa", "TLS 1.3, resumed", "1.3", RESUMED),
        ("tls12-ecdsa", "tls-ecdsa", "TLS 1.2, ECDSA", "1.2", FULL),
        ("tls12-rsa", "tls-rsa", "TLS 1.2, RSA", "1.2", FULL),
        ("tls12-resumed", "tls-ecdsa", "TLS 1.2, resumed", "1.2", RESUMED),
    ):
        run = _tls_connections(listener, version, kind)
        yield Workload(name, f"New connections, {title}", _NEW_METRICS, run, 2, listener=listener)


def _through() -> Iterator[Workload]:
    """What the byte path is beside sockets of the same bytes: tunnels, and listeners in a chain."""
    for listener, how in (
        ("tunnel1", "through a tunnel of HTTP/1.1"),
        ("tunnel2", "through a tunnel of HTTP/2"),
        ("inner", "through an internal listener"),
    ):
        new, small = _new_connections(listener), _keepalive(64, listener)
        bulk = _bulk(Transfer.upload, f"{listener}-bulk")
        yield Workload(
            f"{listener}-new", f"New connections {how}", _NEW_METRICS, new, 64, listener=listener
        )
        yield Workload(
            f"{listener}-small",
            f"Small keep-alive requests {how}, 64 connections",
            _REQUEST_METRICS,
            small,
            64,
            listener=listener,
        )
        yield Workload(
            f"{listener}-upload",
            f"Bulk, from the client, {how}",
            _BULK_METRICS,
            bulk,
            1,
            BULK_TURNS,
            f"{listener}-bulk",
        )


TLS_WORKLOADS = (
    Workload(
        "tls-idle",
        "Idle connections with TLS 1.3",
        _IDLE_METRICS,
        _idle("tls-ecdsa", client_context()),
        None,
        listener="tls-ecdsa",
    ),
    *_tls_handshakes(),
    Workload(
        "tls-small",
        "Small keep-alive requests with TLS, 64 connections",
        _REQUEST_METRICS,
        _keepalive(64, "tls-ecdsa", tls=True),
        64,
        listener="tls-ecdsa",
    ),
    Workload(
        "tls-download",
        "Bulk, to the client, with TLS",
        _BULK_METRICS,
        _bulk(Transfer.download, "tls-bulk", tls=True),
        1,
        BULK_TURNS,
        "tls-bulk",
    ),
    Workload(
        "tls-upload",
        "Bulk, from the client, with TLS",
        _BULK_METRICS,
        _bulk(Transfer.upload, "tls-bulk", tls=True),
        1,
        BULK_TURNS,
        "tls-bulk",
    ),
    Workload(
        "out-new",
        "New connections, TLS to the upstream, 64 at a time",
        _NEW_METRICS,
        _new_connections("out"),
        64,
        listener="out",
    ),
    Workload(
        "out-small",
        "Small keep-alive requests, TLS to the upstream, 64 connections",
        _REQUEST_METRICS,
        _keepalive(64, "out"),
        64,
        listener="out",
    ),
    Workload(
        "out-download",
        "Bulk, to the client, TLS to the upstream",
        _BULK_METRICS,
        _bulk(Transfer.download, "out-bulk"),
        1,
        BULK_TURNS,
        "out-bulk",
    ),
    Workload(
        "out-upload",
        "Bulk, from the client, TLS to the upstream",
        _BULK_METRICS,
        _bulk(Transfer.upload, "out-bulk"),
        1,
        BULK_TURNS,
        "out-bulk",
    ),
)
"""Where TLS ends, and where it begins."""

WORKLOADS = (
    Workload(
        "start",
        "Memory at start",
        (
            Metric("resident", "resident", "MiB", 1, steer=True),
            Metric("own", "of it heap and stacks", "MiB", 1),
        ),
        start_memory,
        connections=1,
    ),
    Workload(
        "idle",
        "Idle connections",
        _IDLE_METRICS,
        _idle("web", None),
        connections=None,
    ),
    Workload(
        "small-1",
        "Small keep-alive requests, 1 connection",
        _REQUEST_METRICS,
        _keepalive(1),
        1,
        LONELY_TURNS,
    ),
    Workload(
        "small-64",
        "Small keep-alive requests, 64 connections",
        _REQUEST_METRICS,
        _keepalive(64),
        64,
    ),
    Workload(
        "small-1000",
        "Small keep-alive requests, 1,000 connections",
        _CROWD_METRICS,
        _keepalive(1000),
        1000,
    ),
    Workload(
        "new",
        "New connections, one request each, 64 at a time",
        _NEW_METRICS,
        _new_connections("web"),
        64,
    ),
    Workload(
        "filters",
        "New connections through rbac and local_ratelimit, 64 at a time",
        _FILTERS_METRICS,
        filters,
        64,
        FILTER_TURNS,
        CHAIN,
    ),
    Workload(
        "new-text",
        "New connections, each logged in a file as text",
        _NEW_METRICS,
        _new_connections("text"),
        64,
        listener="text",
    ),
    Workload(
        "new-json",
        "New connections, each logged in a file as JSON",
        _NEW_METRICS,
        _new_connections("json"),
        64,
        listener="json",
    ),
    Workload(
        "download", "Bulk, to the client", _BULK_METRICS, _bulk(Transfer.download), 1, BULK_TURNS
    ),
    Workload(
        "upload", "Bulk, from the client", _BULK_METRICS, _bulk(Transfer.upload), 1, BULK_TURNS
    ),
    Workload(
        "fairness",
        "Small requests, 16 connections, beside a fast and a stalled reader",
        _FAIRNESS_METRICS,
        fairness,
        18,
    ),
    *TLS_WORKLOADS,
    *_through(),
)
"""In the order of a round: memory comes first, while a proxy is fresh."""
