"""What there is to be more of, and what is measured while there is."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.request import urlopen

from benchmarks import replies
from benchmarks.backends import ECHO_PATH, Backends
from benchmarks.growth import bootstraps, picks
from benchmarks.handshakes import FULL, handshakes
from benchmarks.health_checks import commands
from benchmarks.load import small_requests
from benchmarks.process import (
    BenchmarkError,
    Child,
    Ports,
    tree_memory,
    wait_for_ports,
    wait_until,
)
from benchmarks.workloads import Metric, Values

PROXIES = ("tcpmesh", "envoy")

_CONNECTIONS = 64
_PATIENCE = 180
_LOOK_SECONDS = 0.5
_SCRAPES = 3


@dataclass(frozen=True)
class Site:
    """What all measures need: the backends, a folder for files, ports, and the seconds of a run."""

    backends: Backends
    directory: Path
    ports: Ports
    seconds: int


@dataclass(frozen=True)
class Subject:
    """One thing that there is little or much of.

    :ivar title: a heading.
    :ivar what: what the sizes count.
    :ivar measure: takes the figures for a size, through the proxy of a name.
    :ivar proxies: those that can be measured.
    """

    name: str
    title: str
    what: str
    sizes: tuple[int, ...]
    metrics: tuple[Metric, ...]
    measure: Callable[[Site, str, int], Values]
    proxies: tuple[str, ...] = PROXIES


@contextmanager
def _running(site: Site, proxy: str, text: str, suffix: str) -> Iterator[Child]:
    """A proxy with this bootstrap."""
    path = site.directory / f"growth{suffix}"
    path.write_text(text)
    with Child(commands(path)[proxy], site.directory, proxy) as child:
        yield child


@contextmanager
def _serving(site: Site, proxy: str, text: str, port: int) -> Iterator[Child]:
    """The same, once it listens on `port` and has done what a start leaves for later."""
    with _running(site, proxy, text, ".json") as child:
        wait_for_ports(child, [port], _PATIENCE)
        wait_until(lambda: is_quiet(child), _PATIENCE, f"{proxy} has nothing to do")
        yield child


def is_quiet(child: Child) -> bool:
    """Whether it uses less than a hundredth of a processor."""
    before = child.cpu_ns()
    time.sleep(_LOOK_SECONDS)
    return child.cpu_ns() - before < _LOOK_SECONDS * 1e9 / 100


def _cost(site: Site, child: Child, port: int, close: bool) -> float:
    """Microseconds of CPU for a request, each over a connection of its own or not."""
    load = small_requests(
        child, port, site.backends, site.directory, _CONNECTIONS, site.seconds, close=close
    )
    return load.cpu


def _hosts(site: Site) -> list[tuple[str, int]]:
    return [("127.0.0.1", port) for port in site.backends.web]


def connections(site: Site, proxy: str, count: int) -> Values:
    """What a connection and a request cost beside so many that are silent."""
    admin, port = site.ports.take(), site.ports.take()
    text = bootstraps.of_hosts(admin, port, _hosts(site))
    with _serving(site, proxy, text, port) as child, ExitStack() as stack:
        before = tree_memory(child.pid)
        for number in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            if replies.get(client, f"{ECHO_PATH}{number}") != str(number).encode():
                raise BenchmarkError(f"connection {number} got a wrong reply")
        time.sleep(0.5)
        memory = (tree_memory(child.pid).own - before.own) / 1024
        return {
            "new": _cost(site, child, port, close=True),
            "small": _cost(site, child, port, close=False),
            "memory": memory,
        }


def hosts(policy: str, site: Site, proxy: str, count: int) -> Values:
    """What a connection costs with so many hosts to choose from."""
    admin, port = site.ports.take(), site.ports.take()
    places = [(host, site.backends.web[0]) for host in bootstraps.loopback(count)]
    with _serving(site, proxy, bootstraps.of_hosts(admin, port, places, policy), port) as child:
        return {"new": _cost(site, child, port, close=True)}


def sources(site: Site, proxy: str, count: int) -> Values:
    """What a connection costs where so many filter chains are matched by its source address."""
    admin, port = site.ports.take(), site.ports.take()
    text = bootstraps.of_sources(admin, port, count, _hosts(site))
    with _serving(site, proxy, text, port) as child:
        return {"new": _cost(site, child, port, close=True)}


def server_names(site: Site, proxy: str, count: int) -> Values:
    """What a connection costs where so many filter chains are matched by its server name."""
    admin, port = site.ports.take(), site.ports.take()
    tls = [("127.0.0.1", each) for each in site.backends.web_tls]
    text = bootstraps.of_server_names(admin, port, count, tls)
    name = bootstraps.server_name(count - 1)
    with _serving(site, proxy, text, port) as child:
        made = handshakes(child, port, site.backends, "1.3", FULL, site.seconds, name)
        return {"new": made.cpu}


def clusters(site: Site, proxy: str, count: int) -> Values:
    """What the start, the memory and a scrape are with so many clusters."""
    admin = site.ports.take()
    with _running(site, proxy, bootstraps.of_clusters(admin, count), ".yaml") as child:
        began = time.monotonic()
        wait_until(lambda: _is_live(child, admin), _PATIENCE, f"{proxy} is live")
        values = {
            "start": child.cpu_ns() / 1e9,
            "wall": time.monotonic() - began,
            "resident": tree_memory(child.pid).resident / 1024,
        }
        costs, size = [], 0
        for _ in range(_SCRAPES):
            cpu = child.cpu_ns()
            with urlopen(f"http://127.0.0.1:{admin}/stats/prometheus", timeout=_PATIENCE) as page:
                size = len(page.read())
            costs.append((child.cpu_ns() - cpu) / 1e9)
        return {**values, "scrape": min(costs), "page": size / 1e6}


def _is_live(child: Child, admin: int) -> bool:
    child.check()
    try:
        with urlopen(f"http://127.0.0.1:{admin}/ready", timeout=_PATIENCE) as answer:
            return b"LIVE" in answer.read()
    except OSError:
        return False


_NEW = Metric("new", "CPU per new connection", "µs", 1)
_PICK = Metric("pick", "CPU per pick", "µs", 2)

_POLICIES = {
    "ROUND_ROBIN": "round robin",
    "LEAST_REQUEST": "least request",
    "RANDOM": "random",
    "RING_HASH": "ring hash",
    "MAGLEV": "Maglev",
}


def _host_subjects() -> Iterator[Subject]:
    sizes = (10, 10_000)
    for policy, title in _POLICIES.items():
        name = policy.lower().replace("_", "-")
        yield Subject(
            f"hosts-{name}", f"Hosts, {title}", "hosts", sizes, (_NEW,), partial(hosts, policy)
        )
        yield Subject(
            f"picks-{name}",
            f"Picks alone, {title}",
            "hosts",
            sizes,
            (_PICK,),
            partial(picks.measured, policy),
            ("tcpmesh",),
        )


SUBJECTS = (
    Subject(
        "connections",
        "Open connections",
        "open connections",
        (10, 1_000, 9_000),
        (
            _NEW,
            Metric("small", "CPU per small request", "µs", 1),
            Metric("memory", "memory for those that are open", "MiB", 1),
        ),
        connections,
    ),
    *_host_subjects(),
    Subject("sources", "Filter chains by source address", "chains", (10, 10_000), (_NEW,), sources),
    Subject(
        "server-names",
        "Filter chains by server name",
        "chains",
        (10, 10_000),
        (_NEW,),
        server_names,
    ),
    Subject(
        "clusters",
        "Clusters",
        "clusters",
        (10, 1_000, 10_000),
        (
            Metric("start", "CPU until it is live", "s", 2),
            Metric("wall", "time until it is live", "s", 2),
            Metric("resident", "resident memory", "MiB", 1),
            Metric("scrape", "CPU of a scrape of /stats/prometheus", "s", 3),
            Metric("page", "size of that page", "MB", 2),
        ),
        clusters,
    ),
)
"""In the order of the report."""
