"""Whoever asks the admin interface about thousands of connections, or closes and holds them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.attacks.admin import asks, get, leave, sleepers
from tests.attacks.attack import MIB, Attack, Bootstrap, Limits, Scene, Target, listener_filter
from tests.attacks.peers import connect, crowd, swallow, together, until

CLIENTS = 3000

FEW = 25
"""Clients that come and go at once."""

ALL = "/connections?format=json&limit=5000&sort=-sent_rate"

#: A page of five thousand rows is held until its client has it, and there may be sixteen of them.
ROWS = Limits(peak=192 * MIB, kept=96 * MIB)


@contextmanager
def visitors(port: int) -> Iterator[list[socket.socket]]:
    """Thousands of clients that come and go a few at a time: what is measured is not them."""
    with ExitStack() as stack:
        socks: list[socket.socket] = []
        for _ in range(0, CLIENTS, FEW):
            socks += stack.enter_context(_few(port))
            time.sleep(0.01)
        yield socks


@contextmanager
def _few(port: int) -> Iterator[list[socket.socket]]:
    with crowd(port, FEW) as socks:
        yield socks
    time.sleep(0.01)


def among(
    name: str, strike: Callable[[Target, float], object]
) -> Callable[[Target, float], object]:
    """The same while thousands of clients of a listener are there."""

    def struck(target: Target, seconds: float) -> object:
        with visitors(target.ports[name]):
            return strike(target, seconds)

    return struck


def post(path: str) -> bytes:
    """A request that changes something."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def say(target: Target, path: str) -> None:
    """Ask for a change, and wait for the answer."""
    with connect(target.ports["admin"]) as sock:
        sock.sendall(post(path))
        swallow(sock)


def close_all(target: Target, seconds: float) -> None:
    """Thousands of clients are closed at once, time and again."""
    for _ in until(seconds):
        with visitors(target.ports["live"]):
            say(target, "/connections/close?listener=live")


def rebalanced(target: Target, seconds: float) -> None:
    """Everybody of a cluster is asked to come again, time and again, and comes again."""
    with visitors(target.ports["live"]) as socks:
        for _ in until(seconds):
            say(target, "/clusters/rebalance?cluster=live&percent=100")
            for number, sock in enumerate(socks[:200]):
                sock.setblocking(False)
                with suppress(BlockingIOError):
                    if not sock.recv(1):
                        sock.close()
                        socks[number] = connect(target.ports["live"])


def paused(target: Target, seconds: float) -> None:
    """Thousands wait for a cluster, then all of them go on at once."""
    for _ in until(seconds):
        say(target, "/clusters/pause?cluster=live&for=30s")
        with visitors(target.ports["live"]):
            say(target, "/clusters/pause?cluster=live&for=0s")
            time.sleep(0.5)


def drained(target: Target, seconds: float) -> None:
    """A host is drained and enabled as fast as somebody can ask for it."""

    def act() -> None:
        for number in until(seconds):
            what = ("drain", "enable")[number % 2]
            say(target, f"/hosts/{what}?cluster=many&address=127.0.0.1:{1 + number % 5}")

    together(20, act)


def hostile_names(target: Target, seconds: float) -> None:
    """Names in queries that are long, strange, or near to many."""
    names = ("a" * 50_000, "%00%1b]0;x%07", "~" + "(a|b)*" * 2000, "c1", "%F0%9F%92%A9" * 1000)

    def act() -> None:
        for number in until(seconds):
            name = names[number % len(names)]
            for request in (
                get(f"/connections?cluster={name}&sni=~{name[:200]}"),
                get(f"/connections?{name}=x"),
                get(f"/closes?client={name}"),
                post(f"/hosts/drain?cluster={name}&address={name[:5000]}"),
                post(f"/clusters/pause?cluster={name}&for=1s"),
            ):
                with connect(target.ports["admin"]) as sock:
                    sock.sendall(request.replace(b"Host: x", b"Host: x\r\nConnection: close"))
                    swallow(sock)

    together(20, act)


def waiting(target: Target, seconds: float) -> None:
    """Clients that a listener filter waits for are looked at too."""
    asks(get(ALL), get("/connections?phase=peeking"), clients=50)(target, seconds)


def live(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """A proxy with thousands of connections."""
    (echo,) = (
        each["endpoint"]["address"]["socket_address"]["port_value"]
        for each in bootstrap.clusters[0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    )
    bootstrap.add_cluster("live", [echo])
    bootstrap.add_cluster("many", range(1, 6))
    for number in range(2000):
        bootstrap.add_cluster(f"c{number}", [1])
    bootstrap.add_listener("live", "live")
    proxied = [listener_filter("proxy_protocol")]
    bootstrap.add_listener("peeked", "live", listener_filters=proxied)

    def attack(name: str, what: str, strike: Callable[[Target, float], object]) -> Attack:
        return Attack(name, what, strike, 3, ROWS)

    by_rtt = get("/connections?sort=-rtt&limit=1000")
    yield attack(
        "rows", "200 clients ask for all rows.", among("live", asks(get(ALL), clients=200))
    )
    yield attack(
        "kernel",
        "50 clients sort by what the kernel knows.",
        among("live", asks(by_rtt, clients=50)),
    )
    searched = get("/connections?client=127.0.0.0/8&sni=~a*b*c*d*e&limit=5000")
    yield attack("search", "50 clients search.", among("live", asks(searched, clients=50)))
    yield attack(
        "closes", "200 clients ask for the last ends.", asks(get("/closes?limit=1000"), clients=200)
    )
    yield attack("asleep", "100 clients that read no rows.", among("live", sleepers(ALL)))
    yield attack("leaving", "Clients leave while rows are made.", among("live", leave(ALL)))
    yield attack("peeking", "All wait for a listener filter.", among("peeked", waiting))
    yield attack("close-all", "Thousands are closed at once.", close_all)
    yield attack("rebalance", "Thousands are closed gently.", rebalanced)
    yield attack("pause", "Thousands wait for a cluster.", paused)
    yield attack("drain", "Hosts are drained and enabled.", drained)
    yield attack("names", "Hostile names.", hostile_names)


SCENES: dict[str, Scene] = {"admin-live": live}
