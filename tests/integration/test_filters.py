"""Network filters in a real process with real sockets, over each kind of transports."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import Child, free_port
from tests.integration.test_serve import PATIENCE, TCP_PROXY, bootstrap, cluster, received, tcp
from tests.net.uring.available import uring

if TYPE_CHECKING:
    TestCase = SynchronousTestCase
else:
    TestCase = object

FILTERS = "type.googleapis.com/envoy.extensions.filters.network"


def chain(name: str, port: int, *filters: str) -> str:
    """A listener with these filters."""
    return (
        f"  - {{name: {name}, address: {tcp('127.0.0.1', port)}, filter_chains: [{{filters: "
        f"[{', '.join(filters)}]}}]}}\n"
    )


def a_filter(kind: str, fields: str) -> str:
    """A network filter."""
    return f'{{name: f, typed_config: {{"@type": {FILTERS}.{kind}, {fields}}}}}'


class ChainContract(TestCase):
    """Chains of several filters; the upstreams are listeners of the same process that say their
    names.
    """

    transport: str

    def begin(self, *before: str) -> None:
        """Start with these filters before the tcp_proxy, and clusters named for addresses of
        clients.
        """
        self.front, one, other = free_port(), free_port(), free_port()
        self.one = one
        says = [
            a_filter("direct_response.v3.Config", f"response: {{inline_string: {name}}}")
            for name in ("one", "other")
        ]
        proxy = (
            f'{{name: t, typed_config: {{"@type": {TCP_PROXY}, stat_prefix: t, cluster: '
            f"to-other}}}}"
        )
        listeners = (
            chain("front", self.front, *before, proxy)
            + chain("one", one, says[0])
            + chain("other", other, says[1])
        )
        clusters = cluster("to-127.0.0.7", tcp("127.0.0.1", one)) + cluster(
            "to-other", tcp("127.0.0.1", other)
        )
        self.proxy = Child(
            bootstrap(listeners, clusters), environ={"TCPMESH_TRANSPORT": self.transport}
        )
        self.addCleanup(self.proxy.stop)
        self.proxy.wait_ready()

    def client(self, source: str) -> socket.socket:
        """A client that comes from an address."""
        return socket.create_connection(("127.0.0.1", self.front), PATIENCE, (source, 0))

    def who(self, source: str) -> bytes:
        """Who answers a client from an address; nobody where it is closed."""
        with self.client(source) as client:
            return received(client)

    def test_filter_state(self) -> None:
        """set_filter_state sends each client to the cluster of its address, and one without such a
        cluster nowhere.
        """
        text = (
            "object_key: envoy.tcp_proxy.cluster, format_string: {text_format: "
            "'to-%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%'}"
        )
        self.begin(a_filter("set_filter_state.v3.Config", f"on_new_connection: [{{{text}}}]"))
        self.assertEqual(
            [self.who("127.0.0.7"), self.who("127.0.0.8"), self.who("127.0.0.7")],
            [b"one", b"", b"one"],
        )
        self.assertEqual(self.proxy.stat("tcp.t.downstream_cx_no_route"), 1)

        for _ in range(10):
            self.check_speaks_first()

    def check_speaks_first(self) -> None:
        """A client that speaks before direct_response has answered gets the answer and FIN: no
        reset that may take the answer away.
        """
        with socket.create_connection(("127.0.0.1", self.one), PATIENCE) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(b"one", received(client))

    def test_connection_limit(self) -> None:
        """With a limit of one a second client is held for the delay and closed without an
        answer.
        """
        limit = a_filter(
            "connection_limit.v3.ConnectionLimit", "stat_prefix: l, max_connections: 1, delay: 0.2s"
        )
        self.begin(limit)
        with self.client("127.0.0.1") as first:
            self.assertEqual(received(first, 5), b"other")
            self.assertEqual(self.who("127.0.0.1"), b"")
        self.proxy.wait_stat("connection_limit.l.active_connections", 0)
        self.assertEqual(self.who("127.0.0.1"), b"other")
        self.assertEqual(self.proxy.stat("connection_limit.l.limited_connections"), 1)


class StockTests(ChainContract, SynchronousTestCase):
    """On Twisted's own transports."""

    transport = "stock"


class EpollTests(ChainContract, SynchronousTestCase):
    """On the epoll transports."""

    transport = "epoll"


@uring
class UringTests(ChainContract, SynchronousTestCase):
    """On the transports of io_uring."""

    transport = "uring-only"
