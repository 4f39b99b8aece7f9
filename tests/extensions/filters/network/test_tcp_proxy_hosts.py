"""What tcp_proxy tells load balancers, hosts and their circuit breakers, and what these tell it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xxhash import xxh64_intdigest

from twisted.internet.error import UserError
from twisted.python.failure import Failure

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.metadata import criteria
from tcpmesh.connection.connection import Connection
from tcpmesh.testing.harness import Client
from tcpmesh.testing.mesh import address_of
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.socket_options import ConnectOptions
from tests.mesh import MeshTestCase, tcp_proxy

HOST = "127.0.0.2:80"
OTHER = "127.0.0.3:80"
ONE_EACH = "circuit_breakers: {per_host_thresholds: [{max_connections: 1}]%s}"


class ContextTests(MeshTestCase):
    """The context of a pick."""

    def picked(
        self, cluster: str = "c", look: Callable[[Any], Any] = lambda context: context
    ) -> list[Any]:
        """What is seen of the context of each pick of a cluster."""
        seen: list[Any] = []
        found: Any = self.mesh.cluster(cluster)
        pick = found.pick

        def spy(context: Any) -> Host | None:
            seen.append(look(context))
            host: Host | None = pick(context)
            return host

        self.patch(found, "pick", spy)
        return seen

    def test_hash_of_source_ip(self) -> None:
        """hash_policy source_ip is the xxHash64 of the client's address as text, whatever its
        port.
        """
        self.mesh.add_cluster("c", HOST)
        self.mesh.upstream(HOST)
        self.mesh.serve("cluster: c, hash_policy: [{source_ip: {}}]")
        seen = self.picked(look=lambda context: context.hash)
        for _ in range(2):
            self.mesh.network.connect(
                address_of("127.0.0.1:1"),
                Client(RecordingProtocol()),
                5,
                ConnectOptions(Address("127.0.0.77")),
            )
            self.mesh.network.pump()
        self.assertEqual([xxh64_intdigest(b"127.0.0.77")] * 2, seen)

    def test_no_hash(self) -> None:
        """Without a hash policy, and for a client of a unix socket, there is no hash."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.upstream(HOST)
        self.mesh.serve()
        self.mesh.add_listener(
            "u", "/run/l", tcp_proxy("cluster: c, hash_policy: [{source_ip: {}}]")
        )
        self.mesh.listeners.start()
        seen = self.picked(look=lambda context: context.hash)
        self.mesh.connect()
        self.mesh.connect("/run/l")
        self.assertEqual([None, None], seen)

    def test_attempted(self) -> None:
        """Each pick after a failure tells which hosts were tried before."""
        self.mesh.add_cluster("c", HOST, OTHER)
        self.mesh.serve("cluster: c, max_connect_attempts: 3")
        seen = self.picked(look=lambda context: [str(host.address) for host in context.attempted])
        self.mesh.connect()
        self.assertEqual([0, 1, 2], [len(each) for each in seen])
        self.assertEqual({HOST, OTHER}, set(seen[-1]))

    def test_metadata_match(self) -> None:
        """metadata_match is told under envoy.lb; there is none where nothing is said."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.upstream(HOST)
        self.mesh.serve(
            "cluster: c, metadata_match: {filter_metadata: {envoy.lb: {a: x, b: 2}, other: {c: y}}}"
        )
        seen = self.picked(look=lambda context: context.metadata_match)
        self.mesh.connect()
        self.mesh.add_listener("m", "127.0.0.1:2", tcp_proxy("cluster: c"))
        self.mesh.connect("127.0.0.1:2")
        self.assertEqual([{"a": ("string_value", "x"), "b": ("number_value", 2.0)}, None], seen)

    def test_dynamic_metadata(self) -> None:
        """What filters have found out under envoy.lb goes before metadata_match, and what they say
        elsewhere does not count.
        """
        self.mesh.upstream(HOST)
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve("cluster: c, metadata_match: {filter_metadata: {envoy.lb: {a: x, b: x}}}")
        take = Connection.makeConnection

        def known(connection: Connection, transport: Any) -> None:
            connection.stream_info.metadata = {"envoy.lb": {"b": "y", "c": 1}, "other": {"a": "z"}}
            take(connection, transport)

        self.patch(Connection, "makeConnection", known)
        seen = self.picked(look=lambda context: context.metadata_match)
        self.mesh.connect()
        expected = {
            "a": ("string_value", "x"),
            "b": ("string_value", "y"),
            "c": ("number_value", 1.0),
        }
        self.assertEqual([expected], seen)

    def test_weighted_metadata_match(self) -> None:
        """What a weighted cluster says goes before what the filter says of the same key, and beside
        it of others.
        """
        self.mesh.add_cluster("c", HOST)
        self.mesh.upstream(HOST)
        self.mesh.serve(
            "metadata_match: {filter_metadata: {envoy.lb: {a: x, b: x}}}, weighted_clusters: "
            "{clusters: "
            "[{name: c, weight: 1, metadata_match: {filter_metadata: {envoy.lb: {b: y, c: y}}}}]}"
        )
        seen = self.picked(look=lambda context: context.metadata_match)
        self.mesh.connect()
        self.assertEqual(
            [{key: ("string_value", value) for key, value in zip("abc", "xyy", strict=True)}], seen
        )
        self.assertEqual({}, criteria(None))


class WaitingTests(MeshTestCase):
    """Circuit breakers under which a client waits or is refused while it connects."""

    def test_no_pending(self) -> None:
        """Above max_pending_requests an attempt fails without a connection, and others follow: URX
        without UF.
        """
        self.mesh.add_cluster(
            "c", HOST, more="circuit_breakers: {thresholds: [{max_pending_requests: 0}]}"
        )
        self.mesh.upstream(HOST)
        self.mesh.serve("cluster: c, max_connect_attempts: 3")
        self.assertTrue(self.mesh.connect().ended)
        self.assertEqual("URX", self.flags())
        expected = {"cx_connect_attempts_exceeded": 1, "rq_pending_overflow": 3}
        self.assertEqual(expected, self.mesh.moved("cluster.c.upstream_"))

    def test_pending(self) -> None:
        """A client that connects counts as pending; another one above the limit is refused, until
        the first is connected.
        """
        self.mesh.add_cluster(
            "c",
            HOST,
            more="connect_timeout: 1s\ncircuit_breakers: {thresholds: [{max_pending_requests: 1}]}",
        )
        self.mesh.upstream(HOST)
        self.mesh.network.silent.add(address_of(HOST))
        self.mesh.serve("cluster: c, max_connect_attempts: 2")
        first = self.mesh.connect()
        self.assertEqual(1, self.mesh.stat("cluster.c.circuit_breakers.default.rq_pending_open"))
        self.assertTrue(self.mesh.connect().ended)
        self.mesh.network.silent.clear()
        self.mesh.network.advance(1)
        self.assertFalse(first.ended)
        self.assertFalse(self.mesh.connect().ended)

    def test_busy_host(self) -> None:
        """A client above the limit of its host waits, without a timeout, until a connection to the
        host ends.
        """
        self.mesh.add_cluster("c", HOST, more=ONE_EACH % "")
        upstream = self.mesh.upstream(HOST)
        self.mesh.serve()
        first, second = self.mesh.connect(), self.mesh.connect()
        self.mesh.network.advance(100)
        self.assertEqual(1, len(upstream.built))
        self.assertFalse(second.ended)
        self.assertEqual((1, 1), self.stats("upstream_rq_pending_active", "upstream_cx_overflow"))
        (host,) = self.mesh.clusters.statuses()[0].hosts
        self.assertEqual({"cx_active": 1, "rq_active": 1, "rq_pending_active": 1}, host.gauges)
        first.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(2, len(upstream.built))
        self.assertEqual((1, 0), self.stats("upstream_cx_active", "upstream_rq_pending_active"))

    def test_attempt_that_fails_fails_for_all(self) -> None:
        """When an attempt to connect to the host fails, it has failed for all who wait for the
        host, as in Envoy.
        """
        self.mesh.add_cluster("c", HOST, more=f"connect_timeout: 1s\n{ONE_EACH % ''}")
        self.mesh.network.silent.add(address_of(HOST))
        self.mesh.serve()
        first, second = self.mesh.connect(), self.mesh.connect()
        self.mesh.network.advance(1)
        self.assertEqual((True, True), (first.ended, second.ended))
        names = (
            "connect_timeout",
            "connect_fail",
            "total",
            "overflow",
            "connect_attempts_exceeded",
        )
        self.assertEqual((1, 1, 1, 1, 2), self.stats(*(f"upstream_cx_{name}" for name in names)))
        self.assertEqual(
            (2, 0), self.stats("upstream_rq_pending_failure_eject", "upstream_rq_pending_active")
        )

    def test_bounded(self) -> None:
        """No more than max_pending_requests wait."""
        self.mesh.add_cluster(
            "c", HOST, more=ONE_EACH % ", thresholds: [{max_pending_requests: 1}]"
        )
        self.mesh.upstream(HOST)
        self.mesh.serve()
        clients = [self.mesh.connect() for _ in range(3)]
        self.assertEqual([False, False, True], [client.ended for client in clients])
        self.assertEqual((1,), self.stats("upstream_rq_pending_overflow"))

    def test_waiting_too_long(self) -> None:
        """A client that waits no more because its time is over has cancelled, and is closed."""
        self.mesh.add_cluster("c", HOST, more=ONE_EACH % "")
        self.mesh.upstream(HOST)
        self.mesh.serve()
        self.mesh.add_listener(
            "short", "127.0.0.1:2", tcp_proxy("cluster: c, max_downstream_connection_duration: 5s")
        )
        first, second = self.mesh.connect(), self.mesh.connect("127.0.0.1:2")
        self.mesh.network.advance(5)
        self.assertEqual((False, True), (first.ended, second.ended))
        self.assertEqual(
            (1, 0, 1),
            self.stats("upstream_rq_cancelled", "upstream_rq_pending_active", "upstream_cx_active"),
        )

    def stats(self, *names: str) -> tuple[int, ...]:
        """Statistics of the cluster."""
        return tuple(self.mesh.stat(f"cluster.c.{name}") for name in names)


class Told:
    """What an outlier detector would hear."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def connect_succeeded(self) -> None:
        """A connection was made."""
        self.words.append("succeeded")

    def connect_failed(self) -> None:
        """A connection was refused, or not answered."""
        self.words.append("failed")


class HostTests(MeshTestCase):
    """The host that was picked."""

    def host(self) -> Host:
        """The only host of the cluster."""
        found: Any = self.mesh.cluster("c")
        return found.hosts[0]  # type: ignore[no-any-return]

    def test_outlier_reports(self) -> None:
        """Outlier detection hears of each attempt's outcome; what only this machine is to blame for
        is not told.

        That is a source that cannot be bound, and a lack of descriptors.
        """
        source = "upstream_bind_config: {source_address: {address: 127.0.0.9, port_value: 0}}"
        self.mesh.add_cluster("c", HOST, more=f"connect_timeout: 1s\n{source}")
        self.mesh.serve()
        told = self.host().outlier = Told()
        self.mesh.connect()
        self.mesh.network.silent.add(address_of(HOST))
        self.mesh.connect()
        self.mesh.network.advance(1)
        self.mesh.network.silent.clear()
        self.mesh.upstream(HOST)
        self.mesh.connect()
        self.mesh.network.unbindable.add(Address("127.0.0.9"))
        self.mesh.connect()
        self.mesh.network.unbindable.clear()
        self.mesh.network.exhausted.add(address_of(HOST))
        self.mesh.connect()
        self.assertEqual(["failed", "failed", "succeeded"], told.words)

    def test_no_descriptor(self) -> None:
        """An attempt for which this machine has no descriptor ends its client, and is no failure of
        the host or its cluster.
        """
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve()
        self.mesh.network.exhausted.add(address_of(HOST))
        self.assertTrue(self.mesh.connect().ended)
        moved = self.mesh.moved("cluster.c.")
        self.assertNotIn("upstream_cx_connect_fail", moved)
        self.assertEqual(1, moved["upstream_cx_destroy_local"])
        self.assertEqual((0, 0), (self.host().cx_connect_fail, self.host().cx_active))

    def test_source_that_cannot_be_bound(self) -> None:
        """Such an attempt counts as a failure of our own, with bind_errors and without UF."""
        source = "upstream_bind_config: {source_address: {address: 127.0.0.9, port_value: 0}}"
        self.mesh.add_cluster("c", HOST, more=source)
        self.mesh.upstream(HOST)
        self.mesh.network.unbindable.add(Address("127.0.0.9"))
        self.mesh.serve()
        self.assertTrue(self.mesh.connect().ended)
        self.assertEqual("URX", self.flags())
        moved = self.mesh.moved("cluster.c.")
        self.assertEqual(
            (1, 1, 1),
            (
                moved["bind_errors"],
                moved["upstream_cx_connect_fail"],
                moved["upstream_cx_destroy_local"],
            ),
        )

    def test_additional_addresses(self) -> None:
        """A further address of the host is tried in the same attempt: one more in cx_total, and no
        failure.
        """
        self.mesh.add_cluster("c", HOST)
        more = address_of(OTHER)
        host = self.host()
        host.learn(HostSpec(host.spec.address, additional_addresses=(more,)))
        upstream = self.mesh.upstream(OTHER)
        self.mesh.serve()
        self.mesh.connect()
        self.assertEqual(1, len(upstream.built))
        moved = self.mesh.moved("cluster.c.upstream_cx_")
        self.assertEqual({"total": 2, "active": 1}, moved)
        self.assertEqual((2, 1, 0), (host.cx_total, host.cx_active, host.cx_connect_fail))

    def test_closed_with_the_host(self) -> None:
        """With close_connections_on_host_health_failure those whose host fails are closed; others
        are not even known to it.
        """
        for more, sessions in (("", 0), ("close_connections_on_host_health_failure: true", 1)):
            self.mesh = self.make_mesh(1)
            self.mesh.add_cluster("c", HOST, more=more)
            upstream = self.mesh.upstream(HOST)
            self.mesh.serve()
            client = self.mesh.connect()
            host = self.host()
            self.assertEqual(sessions, len(host.sessions))
            for _ in host.fail_sessions():
                pass
            self.mesh.network.pump()
            self.assertEqual([bool(sessions)] * 2, [client.ended, upstream.built[0].ended])
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual(set(), host.sessions)

    def test_attempt_ends_with_the_host(self) -> None:
        """An attempt to connect to a host that fails counts as failed, and the client gets another
        one if it may.
        """
        self.mesh.add_cluster("c", HOST, more="close_connections_on_host_health_failure: true")
        self.mesh.network.silent.add(address_of(HOST))
        self.mesh.serve("cluster: c, max_connect_attempts: 2")
        client = self.mesh.connect()
        (session,) = self.host().sessions
        self.mesh.network.silent.clear()
        upstream = self.mesh.upstream(HOST)
        session.host_failed()
        self.mesh.network.pump()
        self.assertEqual(1, len(upstream.built))
        self.assertFalse(client.ended)
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_connect_fail"))

    def test_attempt_given_up_says_no_more(self) -> None:
        """What becomes of an attempt that was given up with its host is not taken for the failure
        of the next one.
        """
        self.mesh.add_cluster("c", HOST, more="close_connections_on_host_health_failure: true")
        self.mesh.network.silent.add(address_of(HOST))
        self.mesh.serve("cluster: c, max_connect_attempts: 3")
        self.mesh.connect()
        (session,) = self.host().sessions
        given_up = session._under_way
        session.host_failed()
        self.mesh.network.pump()
        session.clientConnectionFailed(
            given_up, Failure(UserError())
        )  # the fast transports tell it later than Twisted's own
        self.mesh.network.pump()
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_connect_fail"))
        self.assertEqual(2, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_rq_pending_active"))
