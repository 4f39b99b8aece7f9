"""Takes the pictures of the live page that the documentation shows: `make screenshots`.

The proxy on them has a minute of traffic: clients that talk, come and go, a replica that falls ill
and one that resets its clients.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

from tests.attacks.attack import address
from tests.integration.browser import Browser, missing
from tests.integration.live_scene import Host, Scene, chain, checks, cluster, listener
from tests.wire.hellos import hello, server_name

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"

SECONDS = 75
"""Of traffic, before the pictures."""

POSTGRES, TLS, REDIS = 15432, 10443, 16379

PRIMARY = "127.0.10.1"
REPLICAS = ("127.0.10.2", "127.0.10.3", "127.0.10.4")
OTHERS = {"redis": "127.0.20.1", "kafka": "127.0.30.1", "mqtt": "127.0.40.1"}


def made_of(name: str, ips: tuple[str, ...], port: int, **more: Any) -> dict[str, Any]:
    """A cluster of hosts at these addresses."""
    made = cluster(name, [], **more)
    places = [{"endpoint": {"address": address(port, ip)}} for ip in ips]
    made["load_assignment"]["endpoints"] = [{"lb_endpoints": places}]
    return made


def scene() -> Scene:
    """What is to be seen."""
    return Scene(
        [
            listener("postgres", POSTGRES, [chain("postgres-primary", name="writes")]),
            listener("postgres-read", POSTGRES + 1, [chain("postgres-replicas", name="reads")]),
            listener(
                "tls-ingress",
                TLS,
                [
                    chain("kafka", "kafka.example.com", name="kafka"),
                    chain("mqtt", "mqtt.example.com", "*.devices.example.com", name="mqtt"),
                ],
                inspects=True,
            ),
            listener("redis", REDIS, [chain("redis")]),
        ],
        [
            made_of("postgres-primary", (PRIMARY,), 5432),
            made_of("postgres-replicas", REPLICAS, 5432, health_checks=[checks("0.5s")]),
            *(made_of(name, (ip,), 9000) for name, ip in OTHERS.items()),
            cluster("archive", []),
        ],
        node={"id": "edge-3", "cluster": "edge"},
    )


class Traffic:
    """Clients, each in a thread of its own, until the pictures are taken."""

    def __init__(self) -> None:
        self._random = Random(7)
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, port: int, first: bytes, pause: float, lives: float | None) -> None:
        """A client that talks after each pause, and comes back after so many seconds."""
        source = f"127.0.1.{self._random.randrange(2, 250)}"
        size = self._random.choice((200, 2000, 20_000))
        work = (port, source, first, size, pause, lives)
        thread = threading.Thread(target=self._run, args=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(
        self, port: int, source: str, first: bytes, size: int, pause: float, lives: float | None
    ) -> None:
        while not self._is_over.is_set():
            with contextlib.suppress(OSError):
                self._talk(port, source, first or b"x" * size, size, pause, lives)
            self._is_over.wait(pause)

    def _talk(
        self, port: int, source: str, first: bytes, size: int, pause: float, lives: float | None
    ) -> None:
        until = time.monotonic() + (lives or 1e9)
        with socket.create_connection(("127.0.0.1", port), 5.0, (source, 0)) as client:
            client.settimeout(5.0)
            client.sendall(first)
            while time.monotonic() < until and not self._is_over.is_set():
                client.sendall(b"x" * size)
                if not client.recv(1 << 20):
                    return
                self._is_over.wait(pause)
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 20):
                pass

    def stop(self) -> None:
        """They leave."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(10)


def talk(traffic: Traffic) -> None:
    """Some clients for each listener."""
    random = Random(3)
    for name, port, number in (("", POSTGRES, 9), ("", POSTGRES + 1, 12), ("", REDIS, 4)):
        for _ in range(number):
            lives = random.choice((None, 1.5, 4.0))
            traffic.add(port, name.encode(), random.uniform(0.05, 0.4), lives)
    for name in ("kafka.example.com", *(f"d{each}.devices.example.com" for each in range(6))):
        first = hello(server_name(name.encode()))
        traffic.add(TLS, first, random.uniform(0.1, 0.5), random.choice((None, 6.0)))


def take(browser: Browser, url: str) -> None:
    """All pictures."""
    IMAGES.mkdir(exist_ok=True)
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        browser.size(1280, 1000)
        browser.open(url)
        browser.wait_text("#timeline", "healthy again")
        browser.wait_text("#connections-table", "127.0.1.")
        time.sleep(3)
        bottom = "return document.querySelector('#map').getBoundingClientRect().bottom + scrollY"
        browser.picture(IMAGES / f"live-{scheme}.png", int(browser.run(bottom)) + 24)
    browser.scheme("light")
    browser.size(1280, 1000)
    for name, height in (("connections", 640), ("closes", 760)):
        top = f"return document.querySelector('#{name}').getBoundingClientRect().top + scrollY"
        begin = int(browser.run(top)) - 24
        browser.part(IMAGES / f"live-{name}.png", begin, begin + height)
    browser.size(320, 900)
    browser.picture(IMAGES / "live-narrow.png", 900)


def main() -> int:
    """Exit status 1 where there is no browser."""
    if missing():
        print(f"This needs {missing()}.", file=sys.stderr)
        return 1
    hosts = [Host(ip=PRIMARY, port=5432), *(Host(ip=ip, port=9000) for ip in OTHERS.values())]
    hosts += [Host(ip=ip, port=5432) for ip in REPLICAS[:2]]
    resetting = Host(resets=True, ip=REPLICAS[2], port=5432)
    traffic = Traffic()
    with scene() as shown:
        talk(traffic)
        time.sleep(SECONDS / 3)
        hosts[-1].stop()
        time.sleep(SECONDS / 3)
        hosts[-1].start()
        time.sleep(SECONDS / 6)
        hosts[-2].stop()
        time.sleep(SECONDS / 6)
        browser = Browser()
        try:
            take(browser, shown.url)
        finally:
            browser.close()
            traffic.stop()
    for host in (*hosts[:-2], hosts[-1], resetting):
        host.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
