"""Calls to a server that a `google_grpc` names by itself."""

from __future__ import annotations

from envoy.config.core.v3.grpc_service_pb2 import GrpcService

from twisted.internet.defer import Deferred, fail, succeed

from tcpmesh.net.dns.resolve import ResolutionFailed
from tcpmesh.rpc import target
from tcpmesh.rpc.client import GrpcClient, grpc_client
from tcpmesh.testing.mesh import address_of
from tcpmesh.wire.names import Found
from tests.mesh import parse
from tests.rpc.called import HEAD, HOST, RpcTestCase, Server


class TargetTestCase(RpcTestCase):
    """A test of calls to a target."""

    def of(self, uri: str) -> GrpcClient:
        """A client of this target."""
        message = parse(GrpcService, f"google_grpc: {{target_uri: '{uri}', stat_prefix: g}}")
        return grpc_client(message, self.mesh.worker.context)

    def grpc(self, *names: str) -> list[int]:
        """What is counted of it."""
        stats = self.mesh.stats("grpc.g.")
        return [stats[name] for name in names]


class TargetTests(TargetTestCase):
    """Calls."""

    def test_address(self) -> None:
        """Calls to an address share a connection, and are counted under the `stat_prefix`."""
        self.client = self.of(HOST)
        self.assertEqual([["a"], ["a"]], [self.call(), self.call()])
        self.assertEqual(1, len(self.server.connections))
        self.assertEqual(HOST, self.server.calls[0].fields[":authority"])
        self.assertEqual(
            [2, 2, 0], self.grpc("streams_total", "streams_closed_0", "streams_closed_7")
        )
        self.assertEqual([1], self.grpc("google_grpc_client_creation"))
        self.assertEqual([0], self.moved("upstream_cx_total"))

    def test_closed(self) -> None:
        """How a call ends is counted by its status."""
        self.client = self.of(HOST)
        self.server.reply = lambda call: call.head((*HEAD, ("grpc-status", "7")), ended=True)
        self.assertEqual("PERMISSION_DENIED", self.status(self.call()))
        self.assertEqual([1], self.grpc("streams_closed_7"))

    def test_several(self) -> None:
        """Of several addresses the next is tried where one refuses."""
        self.client = self.of("ipv4:127.0.0.9:80,127.0.0.2:80")
        self.assertEqual(["a"], self.call())

    def test_socket(self) -> None:
        """A unix socket."""
        server = Server(self, "/run/grpc")
        self.client = self.of("unix:///run/grpc")
        self.assertEqual(["a"], self.call())
        self.assertEqual("localhost", server.calls[0].fields[":authority"])

    def test_closing(self) -> None:
        """With its client a target's connection is closed, and its statistics go."""
        self.client = self.of(HOST)
        self.call()
        self.client.close()
        self.pump()
        self.assertTrue(self.mesh.network.transports[-1].lost)
        self.assertEqual({}, self.mesh.stats("grpc.g."))

    def test_backoff(self) -> None:
        """After a failure calls fail at once for a while, longer each time, and no attempt is
        made.
        """
        self.client = self.of(HOST)
        self.mesh.network.refused.add(address_of(HOST))
        found = [self.status(self.call()) for _ in range(3)]
        self.assertEqual(["UNAVAILABLE"] * 3, found)
        self.mesh.network.refused.clear()
        again = self.call()
        self.assertEqual("UNAVAILABLE", self.status(again))
        self.assertIn("refused", again[0].message)
        self.mesh.network.advance(1)
        self.assertEqual(["a"], self.call())

    def test_pauses(self) -> None:
        """The pause doubles with each failure, and begins anew once there was a connection."""
        self.patch(self.mesh.worker.context.random, "random", lambda: 1.0)
        self.client = self.of(HOST)
        refused = self.mesh.network.refused
        refused.add(address_of(HOST))
        self.call()
        self.mesh.network.advance(1)
        self.call()
        refused.clear()
        self.mesh.network.advance(1.9)
        self.assertEqual("UNAVAILABLE", self.status(self.call()))
        self.mesh.network.advance(0.1)
        self.assertEqual(["a"], self.call())

        self.server.connections[0].transport.loseConnection()
        self.pump()
        refused.add(address_of(HOST))
        self.call()
        refused.clear()
        self.mesh.network.advance(1)
        self.assertEqual(["a"], self.call())


class NameTests(TargetTestCase):
    """Targets with a name."""

    def setUp(self) -> None:
        """A resolver that knows what the test says."""
        super().setUp()
        self.asked: list[str] = []
        self.answer: Deferred[tuple[Found, ...]] = succeed((Found("127.0.0.2"),))

        def find(name: str, family: object, addresses: object) -> Deferred[tuple[Found, ...]]:
            self.asked.append(name)
            return self.answer

        self.patch(target, "find", find)
        self.client = self.of("dns:///a.example:80")

    def test_found(self) -> None:
        """A name is resolved for the connection."""
        self.assertEqual(["a"], self.call())
        self.assertEqual(["a.example"], self.asked)
        self.assertEqual("a.example:80", self.server.calls[0].fields[":authority"])

    def test_not_found(self) -> None:
        """A name that has no address, or of which nobody knows, is UNAVAILABLE."""
        self.answer = succeed(())
        self.assertEqual("UNAVAILABLE", self.status(self.call()))
        self.mesh.network.advance(3)
        self.answer = fail(ResolutionFailed("no server has an answer"))
        found = self.call()
        self.assertEqual("UNAVAILABLE", self.status(found))
        self.assertIn("no server has an answer", found[0].message)

    def test_closed_while_asking(self) -> None:
        """A client that is closed asks no more."""
        cancelled: list[object] = []
        self.answer = Deferred(cancelled.append)
        found = self.call()
        self.client.close()
        self.pump()
        self.assertEqual(("CANCELLED", 1), (self.status(found), len(cancelled)))
