"""A proxy that is well and one that has every kind of trouble, and what Prometheus would scrape of
either: for tests of what looks at that.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from threading import Thread
from typing import Any, NamedTuple

from tcpmesh.testing.certificates import Authority
from tcpmesh.testing.child import Child, free_port
from tests.attacks.tls import pair, tls_socket
from tests.integration.embedded import unanswering

TYPES = "type.googleapis.com/envoy"
CHECK = {"timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1}
PATIENCE = 10.0


class Scrapes(NamedTuple):
    """What a scraper gets: before there were clients, and after."""

    before: str
    after: str


def place(port: int) -> dict[str, Any]:
    """An address of this machine."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(name: str, port: int, cluster: str, **chain: Any) -> dict[str, Any]:
    """A listener with a tcp_proxy."""
    typed = {"@type": f"{TYPES}.extensions.filters.network.tcp_proxy.v3.TcpProxy"}
    proxy = {"name": "p", "typed_config": {**typed, "stat_prefix": name, "cluster": cluster}}
    return {
        "name": name,
        "address": place(port),
        "filter_chains": [{"filters": [proxy], **chain}],
    }


def cluster(name: str, *ports: int, **fields: Any) -> dict[str, Any]:
    """A cluster of hosts at these ports."""
    hosts = [{"endpoint": {"address": place(port)}} for port in ports]
    return {
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
        **fields,
    }


def checked(name: str, *ports: int, panic: float) -> dict[str, Any]:
    """One whose hosts are checked, and that goes by this panic threshold."""
    return cluster(
        name,
        *ports,
        health_checks=[{**CHECK, "tcp_health_check": {}}],
        outlier_detection={},
        common_lb_config={"healthy_panic_threshold": {"value": panic}},
    )


def certificate(days: int) -> dict[str, Any]:
    """A transport socket with a certificate that is good for so many days."""
    context = {"tls_certificates": [pair(*Authority().issue("server.test", days=days))]}
    return tls_socket("Downstream", common_tls_context=context)


def ask(port: int, data: bytes = b"GET / HTTP/1.0\r\n\r\n") -> bytes:
    """What a client gets until its connection ends, or for the first bytes of it."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(data)
        return client.recv(100)
    return b""


def ask_by_tls(port: int) -> bytes:
    """The same of a client with TLS, that believes anybody."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    with context.wrap_socket(client) as tls:
        tls.sendall(b"x")
        return tls.recv(100)


class Echo:
    """A host that sends back what it gets."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *error: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                Thread(target=self._serve, args=self._listening.accept()[:1], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while data := client.recv(100):
                client.sendall(data)


def scrapes(
    config: dict[str, Any], act: Callable[[], object], last: str, program: Sequence[str]
) -> Scrapes:
    """Run a proxy, let clients act, and look before and after: once the connections to the cluster
    `last` are in its histograms, which a flush puts there.
    """
    options: dict[str, Any] = {"program": program} if program else {}
    with Child(json.dumps({**config, "stats_flush_interval": "0.2s"}), **options) as child:

        def scrape() -> str:
            return child.admin("/stats/prometheus")[1]

        child.wait_ready()
        before = scrape()
        act()
        name = f'envoy_cluster_upstream_cx_connect_ms_count{{envoy_cluster_name="{last}"}}'
        child.wait(lambda: f"{name} 0" not in scrape(), f"a connection to {last} in histograms")
        return Scrapes(before, scrape())


def well(program: Sequence[str] = ()) -> Scrapes:
    """A proxy whose clients get what they want."""
    front, tls = free_port(), free_port()
    with Echo() as echo:
        listeners = [
            listener("front", front, "web"),
            listener("tls", tls, "web", transport_socket=certificate(days=90)),
        ]
        config = {
            "admin": {"address": place(0)},
            "static_resources": {
                "listeners": listeners,
                "clusters": [checked("web", echo.port, panic=50)],
            },
        }
        return scrapes(config, lambda: [ask(front), ask_by_tls(tls)], "web", program)


NAMES = ("dead", "panic", "half", "slow", "tight", "plain", "full", "picky", "lost", "tls")


def troubled(program: Sequence[str] = ()) -> Scrapes:
    """A proxy where all that can go wrong does."""
    ports = {name: free_port() for name in NAMES}
    refusing = free_port()
    with ExitStack() as stack:
        echo = stack.enter_context(Echo())
        held = unanswering()
        for sock in held:
            stack.enter_context(sock)

        def connect_slowly() -> None:
            """The first SYN is dropped; when it comes again there is room in the queue."""
            client = Thread(target=ask, args=(ports["slow"],), daemon=True)
            client.start()
            client.join(0.5)
            # Of those that fill the queue not all may ever come out of it: their place may be taken
            # by whoever sends its SYN again.
            filling = [each.getsockname() for each in held[1:]]
            held[0].settimeout(PATIENCE)
            peer = filling[0]
            while peer in filling:
                accepted, peer = held[0].accept()
                stack.enter_context(accepted)

        def act() -> None:
            for name in ("dead", "panic", "half", "plain", "picky", "lost", "tls", "full"):
                ask(ports[name])
            with socket.create_connection(("127.0.0.1", ports["tight"])) as first:
                first.sendall(b"x")
                first.recv(1)
                ask(ports["tight"])
            connect_slowly()

        config = trouble(ports, refusing, echo.port, held[0].getsockname()[1])
        return scrapes(config, act, "slow", program)


def trouble(ports: dict[str, int], refusing: int, echo: int, slow: int) -> dict[str, Any]:
    """The configuration: a listener for each cluster, and some that are in trouble themselves."""
    upstream = tls_socket("Upstream", common_tls_context={})
    breakers = {"thresholds": [{"max_connections": 1}]}
    clusters = [
        checked("dead", refusing, panic=0),
        checked("panic", refusing, panic=50),
        checked("half", echo, refusing, panic=0),
        cluster("slow", slow, connect_timeout="5s"),
        cluster("tight", echo, circuit_breakers=breakers),
        cluster("plain", echo, transport_socket=upstream),
        cluster("web", echo),
    ]
    own = [listener(each["name"], ports[each["name"]], each["name"]) for each in clusters[:-1]]
    match = {"destination_port": 1}
    listeners = [
        *own,
        listener("full", ports["full"], "web"),
        listener("picky", ports["picky"], "web", filter_chain_match=match),
        listener("lost", ports["lost"], "nowhere"),
        listener("tls", ports["tls"], "web", transport_socket=certificate(days=1)),
    ]
    layer = {"envoy": {"resource_limits": {"listener": {"full": {"connection_limit": 0}}}}}
    return {
        "admin": {"address": place(0)},
        "layered_runtime": {"layers": [{"name": "a", "static_layer": layer}]},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }
