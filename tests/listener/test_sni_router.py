"""configs/sni-router.yaml: TLS that is passed through by the name a client asks for."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.mesh import Mesh

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "sni-router.yaml"
FRONT = "127.0.0.1:10443"
SERVERS = {"api": "127.0.0.1:8441", "web": "127.0.0.1:8442", "grpc": "127.0.0.1:8443"}


def hello(name: str | None, *protocols: str) -> bytes:
    """What a client of TLS sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


class SniRouterTests(SynchronousTestCase):
    """The example."""

    def setUp(self) -> None:
        """The proxy that it describes, and its servers."""
        self.mesh = Mesh(CONFIG.read_text())
        self.servers = {name: self.mesh.upstream(at) for name, at in SERVERS.items()}

    def served(self, first: bytes) -> str:
        """Which server gets a client that sends this, byte for byte."""
        before = {name: len(server.built) for name, server in self.servers.items()}
        client = self.mesh.connect(FRONT)
        client.transport.write(first)
        self.mesh.pump()
        reached = [
            name for name, server in self.servers.items() if len(server.built) > before[name]
        ]
        for name in reached:
            self.assertEqual(first, self.servers[name].built[-1].received)
        end = "reset" if client.lost_to(ConnectionLost) else "closed"
        return ", ".join(reached) or (end if client.ended else "waits")

    def test_names(self) -> None:
        """An exact name, a wildcard, and what is left over by protocol."""
        self.assertEqual(
            ["api", "web", "web", "grpc", "grpc"],
            [
                self.served(hello("API.example.com", "h2")),
                self.served(hello("www.example.com")),
                self.served(hello("a.b.example.com")),
                self.served(hello("example.com", "h2")),
                self.served(hello(None, "h2", "http/1.1")),
            ],
        )

    def test_nobody(self) -> None:
        """Any other name, and what is not TLS, is closed with a reset, as is everybody with bytes
        that nobody took, and counted as a client for whom there is no chain.
        """
        self.assertEqual("reset", self.served(hello("example.com")))
        self.assertEqual("reset", self.served(b"GET / HTTP/1.1\r\n\r\n"))
        self.assertEqual(2, self.mesh.stat("listener.127.0.0.1_10443.no_filter_chain_match"))
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_10443.downstream_cx_total"))

    def test_slow(self) -> None:
        """Half a hello is waited for as long as the listener filters may take."""
        first = hello("api.example.com")
        client = self.mesh.connect(FRONT)
        client.transport.write(first[:40])
        self.mesh.advance(4.9)
        self.assertFalse(client.ended)
        client.transport.write(first[40:])
        self.mesh.pump()
        self.assertEqual(first, self.servers["api"].built[0].received)
        silent = self.mesh.connect(FRONT)
        self.mesh.advance(5)
        self.assertTrue(silent.ended)
        self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_10443.downstream_pre_cx_timeout"))
