"""What a tcp_proxy and its listener leave in the `StreamInfo` of a connection, in every situation.

What is expected of flags, local close reasons, failure reasons, close types, hosts and bytes is
what Envoy 1.40 logs in the same situation.
"""

from __future__ import annotations

from errno import ECONNREFUSED, ENETUNREACH
from typing import Any

from google.protobuf import wrappers_pb2

from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.error import UserError, getConnectError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.extensions.filters.network.tcp_proxy.attempts import failure_of
from tcpmesh.registry import extension
from tcpmesh.testing.mesh import address_of
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.hosts import HealthFlag
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.phase import Phase
from tcpmesh.values.stream.relay_state import DirectionState, RelayState, SourceState
from tcpmesh.values.stream.stream_info import (
    NO_CLUSTER,
    NO_UPSTREAM,
    ClusterInfo,
    ListenerInfo,
    StreamInfo,
    UpstreamInfo,
)
from tests.mesh import FRONT, MeshTestCase, listener_message, tcp_proxy

HOST = "127.0.0.2:80"
OTHER = "127.0.0.3:80"

BEGAN = 1000.0
"""Seconds of the network's clock at the start of each test."""

INT = "type.googleapis.com/google.protobuf.Int64Value"


@extension(wrappers_pb2.Int64Value)
class Denying(ReadFilter):
    """Lets every client pass, and closes it when it is told to."""

    managers: list[FilterManager]

    def __init__(self, message: Any, context: Any) -> None:
        type(self).managers = []

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        self.managers.append(manager)
        return FilterStatus.CONTINUE


class StreamInfoTestCase(MeshTestCase):
    """A proxy, some time after its start."""

    def setUp(self) -> None:
        super().setUp()
        self.mesh.clock.advance(BEGAN)

    def begin(
        self, *hosts: str, fields: str = "cluster: c", cluster: str = "", more: str = ""
    ) -> None:
        """Serve a cluster of these hosts, one that is there where none is named."""
        if not hosts:
            self.backend = self.mesh.upstream(HOST)
        self.mesh.add_cluster("c", *(hosts or (HOST,)), more=cluster)
        self.mesh.serve(fields, more)

    @property
    def info(self) -> StreamInfo:
        """What is known of the client accepted last."""
        return self.mesh.connections[-1].stream_info

    @property
    def upstream(self) -> UpstreamInfo:
        """What is known of its upstream."""
        return self.info.upstream

    def assert_why(
        self, by: EndedBy, phase: Phase, cause: Cause, errno: int | None = None, detail: str = ""
    ) -> None:
        """The connection is closed, for this reason."""
        self.assertEqual(Phase.CLOSED, self.info.phase)
        self.assertEqual(CloseReason(by, phase, cause, errno, detail), self.info.close_reason)

    def assert_logged(
        self,
        flags: str = "-",
        local: str = "",
        types: str = "Normal Normal",
        upstream_local: str = "",
    ) -> None:
        """The fields that Envoy has are these; `types` are the detected close types of both
        sides.
        """
        info, upstream = self.info, self.info.upstream
        self.assertEqual(
            (flags, local, types, upstream_local),
            (
                str(info.flags),
                info.local_close_reason,
                f"{info.close_type.value} {upstream.close_type.value}",
                upstream.local_close_reason,
            ),
        )

    def let_pass(self, seconds: float) -> None:
        """Let time pass as it does, step by step."""
        for _ in range(int(4 * seconds)):
            self.mesh.advance(0.25)

    def leave(self, client: Any) -> None:
        """The client goes, whatever there is."""
        client.transport.loseConnection()
        self.mesh.pump()


class ServedTests(StreamInfoTestCase):
    """Clients that are connected to a host."""

    def test_all(self) -> None:
        """After an ordinary connection everything is known: who, where to, when, how much, and who
        ended it.
        """
        self.begin()
        client = self.mesh.dial().given
        self.mesh.pump()
        self.mesh.advance(2.0)
        client.transport.write(b"hello")
        self.mesh.pump()
        server = self.backend.built[-1]
        server.transport.write(b"hi")
        self.mesh.pump()
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertEqual(Phase.HALF_CLOSED, self.info.phase)
        self.mesh.advance(1.0)
        server.transport.loseWriteConnection()
        self.mesh.pump()

        self.assert_logged()
        self.assert_why(EndedBy.DOWNSTREAM, Phase.RELAYING, Cause.END_OF_STREAM)
        info, upstream = self.info, self.upstream
        self.assertEqual((5, 5, 2, 2), info.bytes)
        self.assertEqual(ListenerInfo("l", "", has_filters=True), info.listener)
        self.assertEqual((BEGAN, BEGAN + 3.0), (info.started, info.ended))
        self.assertEqual((BEGAN, BEGAN), (upstream.connect_began, upstream.connect_ended))
        self.assertEqual(ClusterInfo("c", "c"), upstream.cluster)
        assert upstream.host is not None
        self.assertEqual(HOST, str(upstream.host.address))
        self.assertEqual((upstream.host,), upstream.attempted)
        self.assertEqual(HOST, str(upstream.remote_address))
        self.assertEqual(server.transport.getPeer(), upstream.local_address)
        self.assertEqual((FRONT, None), (str(info.direct_local_address), info.filters_began))
        self.assertEqual((1, 3000.0), self.mesh.times("cluster.c.upstream_cx_length_ms"))
        self.assertEqual((1, 0.0), self.mesh.times("cluster.c.upstream_cx_connect_ms"))
        self.assertEqual(
            (1, 3000.0), self.mesh.times("listener.127.0.0.1_1.downstream_cx_length_ms")
        )
        self.assertEqual(info.id + 1, info.upstream_id)

    def test_names(self) -> None:
        """The chain has its name, and the cluster besides the one it is counted by."""
        self.mesh.upstream(HOST)
        self.mesh.add_cluster("c", HOST, more="alt_stat_name: other")
        message = listener_message("l", FRONT, tcp_proxy())
        message.filter_chains[0].name = "chain"
        self.mesh.listeners.add_or_update(message)
        self.mesh.listeners.start()
        self.mesh.connect()
        self.assertEqual(ListenerInfo("l", "chain", has_filters=True), self.info.listener)
        self.assertEqual(ClusterInfo("c", "other"), self.upstream.cluster)

    def test_host_first(self) -> None:
        """Where the host sends its end of stream first, it is the host that ended it."""
        self.begin()
        client = self.mesh.connect()
        self.backend.built[-1].transport.loseWriteConnection()
        self.mesh.pump()
        self.leave(client)
        self.assert_logged()
        self.assert_why(EndedBy.UPSTREAM, Phase.RELAYING, Cause.END_OF_STREAM)

    def test_client_resets(self) -> None:
        """A client that resets: no flag, and its side has that close type."""
        self.begin()
        self.mesh.connect().transport.abortConnection()
        self.mesh.pump()
        self.assert_logged(types="RemoteReset Normal")
        self.assert_why(EndedBy.DOWNSTREAM, Phase.RELAYING, Cause.RESET)

    def test_host_resets(self) -> None:
        """A host that resets: UR, and the client is reset by this side."""
        self.begin()
        self.mesh.connect()
        self.backend.built[-1].transport.abortConnection()
        self.mesh.pump()
        self.assert_logged("UR", types="LocalReset RemoteReset")
        self.assert_why(EndedBy.UPSTREAM, Phase.RELAYING, Cause.RESET)

    def test_host_resets_later(self) -> None:
        """A reset goes before the end of stream that half-closed the connection."""
        self.begin()
        client = self.mesh.connect()
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.backend.built[-1].transport.abortConnection()
        self.mesh.pump()
        self.assert_logged("UR", types="LocalReset RemoteReset")
        self.assert_why(EndedBy.UPSTREAM, Phase.HALF_CLOSED, Cause.RESET)

    def test_idle(self) -> None:
        """The idle timeout closes both sides, without a flag."""
        self.begin(fields="cluster: c, idle_timeout: 8s")
        self.mesh.connect()
        self.let_pass(10.0)
        words = "tcp_session_idle_timeout"
        self.assert_logged(local=words, upstream_local=words)
        self.assert_why(EndedBy.PROXY, Phase.RELAYING, Cause.IDLE_TIMEOUT, detail="8 s")

    def test_flush_timeout(self) -> None:
        """Both sides have sent all, and the client does not take it: a timer ends that."""
        self.begin(fields="cluster: c, idle_timeout: 8s")
        client = self.mesh.connect()
        client.transport.loseWriteConnection()
        client.transport.pauseProducing()
        self.mesh.pump()
        server = self.backend.built[-1]
        server.transport.write(b"x" * 500_000)
        server.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertIs(Phase.FLUSHING, self.info.phase)
        self.let_pass(10.0)
        words = "tcp_session_idle_timeout"
        self.assert_logged(local=words, upstream_local=words)
        self.assert_why(EndedBy.PROXY, Phase.FLUSHING, Cause.FLUSH_TIMEOUT)

    def test_duration(self) -> None:
        """The maximum duration: DT."""
        self.begin(fields="cluster: c, max_downstream_connection_duration: 5s")
        self.mesh.connect()
        self.mesh.advance(5.0)
        words = "max_connection_duration_reached"
        self.assert_logged("DT", local=words, upstream_local=words)
        self.assert_why(EndedBy.PROXY, Phase.RELAYING, Cause.MAX_DURATION)

    def test_unhealthy(self) -> None:
        """A host that health checks take out, and whose connections are closed then."""
        self.begin(cluster="close_connections_on_host_health_failure: true")
        self.mesh.connect()
        (host,) = self.mesh.cluster("c").hosts  # type: ignore[union-attr]
        for session in tuple(host.sessions):
            session.host_failed()
        self.mesh.pump()
        self.assert_logged()
        self.assert_why(EndedBy.PROXY, Phase.RELAYING, Cause.HOST_UNHEALTHY)

    def test_stopped(self) -> None:
        """The proxy ends: both sides are closed, with Envoy's words for that."""
        self.begin()
        self.mesh.connect()
        self.mesh.listeners.stop()
        self.mesh.pump()
        words = "purging_socket_that_have_not_progressed_to_connections"
        self.assert_logged(local=words, upstream_local=words)
        self.assert_why(EndedBy.PROXY, Phase.RELAYING, Cause.STOPPED)

    def test_state(self) -> None:
        """What a session is doing at a moment is a value, with its phase."""
        self.begin(
            fields="cluster: c, max_early_data_bytes: 100",
            cluster="close_connections_on_host_health_failure: true",
        )
        client = self.mesh.connect()
        client.transport.write(b"hello")
        client.transport.loseWriteConnection()
        self.mesh.pump()
        (host,) = self.mesh.cluster("c").hosts  # type: ignore[union-attr]
        (session,) = host.sessions
        self.assertEqual(
            RelayState(
                Phase.HALF_CLOSED,
                DirectionState(SourceState.ENDED, paused=False, read=5, written=5, buffered=0),
                DirectionState(SourceState.OPEN, paused=False, read=0, written=0, buffered=0),
            ),
            session.state(),
        )
        self.leave(client)


class NowhereTests(StreamInfoTestCase):
    """Clients that get no upstream connection."""

    def test_no_cluster(self) -> None:
        """NC; nothing is known of an upstream, and the record that all share is as empty as it
        was.
        """
        self.mesh.serve()
        self.leave(self.mesh.connect())
        self.assert_logged("NC", "tcp_initializion_failure:3")
        self.assert_why(EndedBy.PROXY, Phase.CONNECTING, Cause.NO_CLUSTER, detail="c")
        self.assertIs(NO_UPSTREAM, self.upstream)
        self.assertEqual(
            (NO_CLUSTER, (), None), (NO_UPSTREAM.cluster, NO_UPSTREAM.attempted, NO_UPSTREAM.host)
        )

    def test_no_host(self) -> None:
        """UH; the cluster is known, and there was no attempt."""
        self.mesh.add_cluster("c")
        self.mesh.serve()
        self.leave(self.mesh.connect())
        self.assert_logged("UH", "tcp_initializion_failure:1")
        self.assert_why(
            EndedBy.PROXY, Phase.CONNECTING, Cause.NO_HOST, detail="cluster c has no hosts"
        )
        self.assertEqual(("c", ()), (self.upstream.cluster.name, self.upstream.attempted))

    def test_overflow(self) -> None:
        """UO."""
        self.begin(HOST, cluster="circuit_breakers: {thresholds: [{max_connections: 0}]}")
        self.leave(self.mesh.connect())
        self.assert_logged("UO", "tcp_initializion_failure:2")
        self.assert_why(EndedBy.PROXY, Phase.CONNECTING, Cause.OVERFLOW, detail="max_connections")
        self.assertEqual((), self.upstream.attempted)

    def test_pending_overflow(self) -> None:
        """URX without UF: a host was chosen, and not connected to."""
        self.begin(HOST, cluster="circuit_breakers: {thresholds: [{max_pending_requests: 0}]}")
        self.leave(self.mesh.connect())
        self.assert_logged("URX", "tcp_initializion_failure:0")
        self.assert_why(
            EndedBy.PROXY, Phase.CONNECTING, Cause.OVERFLOW, detail="max_pending_requests"
        )
        self.assertEqual((1, None), (len(self.upstream.attempted), self.upstream.host))

    def test_timeout(self) -> None:
        """An attempt that takes too long: UF,URX, and no failure reason, as in Envoy."""
        self.mesh.network.silent.add(address_of(HOST))
        self.begin(HOST)
        client = self.mesh.connect()
        self.assertEqual((Phase.CONNECTING, None), (self.info.phase, self.upstream.host))
        self.assertEqual(1, len(self.upstream.attempted))
        self.mesh.advance(5.0)
        self.leave(client)
        self.assert_logged("UF,URX", "tcp_initializion_failure:0")
        self.assert_why(EndedBy.PROXY, Phase.CONNECTING, Cause.CONNECT_TIMEOUT)
        self.assertEqual("", self.upstream.failure_reason)
        self.assertEqual((BEGAN, None), (self.upstream.connect_began, self.upstream.connect_ended))
        self.assertEqual(HOST, str(self.upstream.host and self.upstream.host.address))

    def test_no_longer_pending(self) -> None:
        """An attempt that has failed counts towards max_pending_requests no more."""
        self.mesh.network.silent.add(address_of(HOST))
        self.begin(HOST, cluster="circuit_breakers: {thresholds: [{max_pending_requests: 1}]}")
        for _ in range(3):
            self.mesh.connect()
            self.mesh.advance(5.0)
            self.assertEqual("UF,URX", self.flags())
        breakers = self.mesh.cluster("c").breakers  # type: ignore[union-attr]
        self.assertEqual(0, breakers.pending.own)

    def test_two_attempts(self) -> None:
        """Each attempt has its host, also where it is the same again."""
        self.mesh.network.silent.add(address_of(HOST))
        self.begin(HOST, fields="cluster: c, max_connect_attempts: 2")
        client = self.mesh.connect()
        self.mesh.advance(5.0)
        self.mesh.advance(5.0)
        self.leave(client)
        self.assert_logged("UF,URX", "tcp_initializion_failure:0")
        self.assertEqual([HOST] * 2, [str(each.address) for each in self.upstream.attempted])

    def test_retry(self) -> None:
        """A further attempt that succeeds: UF stays, and so does the failure of the first, but
        that is not why the connection ended.
        """
        self.mesh.network.silent.add(address_of(HOST))
        self.mesh.upstream(OTHER)
        self.begin(HOST, OTHER, fields="cluster: c, max_connect_attempts: 2")
        client = self.mesh.connect()
        while self.info.phase is not Phase.CONNECTING:
            client = self.mesh.connect()
        self.mesh.advance(5.0)
        self.assertIs(Phase.RELAYING, self.info.phase)
        client.transport.abortConnection()
        self.mesh.pump()
        self.assert_logged("UF", types="RemoteReset Normal")
        self.assert_why(EndedBy.DOWNSTREAM, Phase.RELAYING, Cause.RESET)
        self.assertEqual([HOST, OTHER], [str(each.address) for each in self.upstream.attempted])
        self.assertEqual(OTHER, str(self.upstream.host and self.upstream.host.address))
        assert self.upstream.failure is not None
        self.assertEqual(Cause.CONNECT_TIMEOUT, self.upstream.failure.cause)

    def test_idle(self) -> None:
        """The idle timeout while connecting."""
        self.mesh.network.silent.add(address_of(HOST))
        self.begin(HOST, fields="cluster: c, idle_timeout: 1s")
        client = self.mesh.connect()
        self.let_pass(2.0)
        self.leave(client)
        self.assert_logged(local="tcp_session_idle_timeout")
        self.assert_why(EndedBy.PROXY, Phase.CONNECTING, Cause.IDLE_TIMEOUT, detail="1 s")

    def test_duration(self) -> None:
        """The maximum duration while connecting."""
        self.mesh.network.silent.add(address_of(HOST))
        self.begin(HOST, fields="cluster: c, max_downstream_connection_duration: 1s")
        client = self.mesh.connect()
        self.mesh.advance(1.0)
        self.leave(client)
        self.assert_logged("DT", local="max_connection_duration_reached")
        self.assert_why(EndedBy.PROXY, Phase.CONNECTING, Cause.MAX_DURATION)

    def test_client_leaves(self) -> None:
        """A client that is read early, and that resets while its upstream is connected to."""
        self.mesh.network.silent.add(address_of(HOST))
        self.begin(HOST, fields="cluster: c, max_early_data_bytes: 100")
        client = self.mesh.connect()
        client.transport.write(b"hello")
        self.mesh.pump()
        client.transport.abortConnection()
        self.mesh.pump()
        self.assert_logged(types="RemoteReset Normal")
        self.assert_why(EndedBy.DOWNSTREAM, Phase.CONNECTING, Cause.RESET)
        self.assertEqual((5, 0, 0, 0), self.info.bytes)

    def test_nothing_sent(self) -> None:
        """A client that had to speak first, and sent its end of stream alone."""
        fields = "cluster: c, upstream_connect_mode: ON_DOWNSTREAM_DATA, max_early_data_bytes: 9"
        self.begin(fields=fields)
        client = self.mesh.connect()
        self.leave(client)
        self.assert_logged()
        self.assert_why(EndedBy.DOWNSTREAM, Phase.CONNECTING, Cause.END_OF_STREAM)
        self.assertIs(NO_UPSTREAM, self.upstream)


class FailureTests(SynchronousTestCase):
    """Why an attempt failed, as a value and in Envoy's words."""

    def assert_said(self, error: Exception, by: EndedBy, errno: int | None, words: str) -> None:
        """This is what is made of an error."""
        expected = CloseReason(by, Phase.CONNECTING, Cause.CONNECT_FAILED, errno, words)
        self.assertEqual(expected, failure_of(Failure(error)))

    def test_refused(self) -> None:
        """A refusal is the host's."""
        words = "delayed_connect_error:_Connection_refused"
        error = getConnectError((ECONNREFUSED, ""))
        self.assert_said(error, EndedBy.UPSTREAM, ECONNREFUSED, words)

    def test_at_once(self) -> None:
        """What this machine says at once is not."""
        words = "immediate_connect_error:_Network_is_unreachable"
        error = getConnectError((ENETUNREACH, ""))
        self.assert_said(error, EndedBy.PROXY, ENETUNREACH, words)

    def test_without_number(self) -> None:
        """An error without a number has no words."""
        self.assert_said(UserError(), EndedBy.PROXY, None, "")

    def test_late(self) -> None:
        """A timeout has none either, and a cause of its own."""
        expected = CloseReason(EndedBy.PROXY, Phase.CONNECTING, Cause.CONNECT_TIMEOUT)
        self.assertEqual(expected, failure_of(Failure(ConnectTimeout())))


class PoolTests(StreamInfoTestCase):
    """Clients that wait for a connection of a pool."""

    POOL = "circuit_breakers: {per_host_thresholds: [{max_connections: 1}]}"

    def test_served(self) -> None:
        """The upstream connection is known like one of its own."""
        self.begin(cluster=self.POOL)
        client = self.mesh.connect()
        self.assertEqual((BEGAN, BEGAN), (self.upstream.connect_began, self.upstream.connect_ended))
        self.assertEqual(HOST, str(self.upstream.remote_address))
        self.leave(client)

    def test_timeout(self) -> None:
        """So is an attempt that takes too long."""
        self.mesh.network.silent.add(address_of(HOST))
        self.begin(HOST, cluster=self.POOL)
        client = self.mesh.connect()
        self.mesh.advance(5.0)
        self.leave(client)
        self.assert_logged("UF,URX", "tcp_initializion_failure:0")
        self.assert_why(EndedBy.PROXY, Phase.CONNECTING, Cause.CONNECT_TIMEOUT)
        self.assertEqual(HOST, str(self.upstream.host and self.upstream.host.address))

    def test_full(self) -> None:
        """A client for whom there is no room in the queue."""
        limits = "thresholds: [{max_pending_requests: 0}], per_host_thresholds: [{}]"
        more = f"circuit_breakers: {{{limits}}}"
        self.begin(HOST, cluster=more)
        self.leave(self.mesh.connect())
        self.assert_logged("URX", "tcp_initializion_failure:0")
        self.assert_why(
            EndedBy.PROXY, Phase.CONNECTING, Cause.OVERFLOW, detail="max_pending_requests"
        )

    def test_leaves(self) -> None:
        """A client that gives up waiting."""
        self.mesh.network.silent.add(address_of(HOST))
        self.begin(HOST, cluster=self.POOL, fields="cluster: c, max_early_data_bytes: 9")
        self.mesh.connect().transport.abortConnection()
        self.mesh.pump()
        self.assert_why(EndedBy.DOWNSTREAM, Phase.CONNECTING, Cause.RESET)
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_rq_cancelled"))

    def test_unhealthy(self) -> None:
        """A host that becomes unhealthy while clients wait for its connection."""
        self.mesh.network.silent.add(address_of(HOST))
        more = f"{self.POOL}\nclose_connections_on_host_health_failure: true"
        self.begin(HOST, cluster=more)
        client = self.mesh.connect()
        self.mesh.set_flags("c", HOST, HealthFlag.failed_active_hc)
        self.mesh.pump()
        self.leave(client)
        self.assert_why(EndedBy.PROXY, Phase.CONNECTING, Cause.HOST_UNHEALTHY)


class FilterTests(StreamInfoTestCase):
    """Clients that a filter closes."""

    def serve(self, fields: str = "cluster: c") -> None:
        """A chain with a filter that closes when it is told to."""
        before = f'{{name: d, typed_config: {{"@type": {INT}, value: 1}}}}'
        self.mesh.add_cluster("c", HOST)
        self.mesh.add_listener("l", FRONT, f"[{before}, {tcp_proxy(fields)[1:-1]}]")
        self.mesh.listeners.start()

    def test_relayed(self) -> None:
        """A filter that closes gives the connection flags and details, also while it is relayed,
        and then both of its sides the reason.
        """
        self.backend = self.mesh.upstream(HOST)
        self.serve()
        client = self.mesh.connect()
        Denying.managers[-1].close("denied", ResponseFlag.UAEX, "ext_authz_denied")
        self.mesh.pump()
        self.leave(client)
        self.assert_logged("UAEX", "denied", upstream_local="denied")
        self.assertEqual("ext_authz_denied", self.info.termination_details)
        self.assert_why(EndedBy.PROXY, Phase.RELAYING, Cause.FILTER, detail="denied")
        self.assertTrue(self.backend.built[-1].ended)

    def assert_nothing_left(self) -> None:
        """No count is left of the client, and its filter, once removed, is gone."""
        self.assert_why(EndedBy.PROXY, Phase.CONNECTING, Cause.FILTER, detail="denied")
        gauges = ("cluster.c.upstream_cx_active", "cluster.c.upstream_rq_active")
        self.assertEqual([0, 0], [self.mesh.stat(each) for each in gauges])
        self.mesh.listeners.remove("l")
        self.assertEqual({}, self.mesh.stats("tcp."))

    def test_before_connected(self) -> None:
        """A filter closes a client, and only then its upstream answers: that is closed too."""
        backend = self.mesh.upstream(HOST)
        self.serve()
        client = self.mesh.dial().given
        while not Denying.managers:
            self.mesh.network.step()
        self.assertIs(Phase.CONNECTING, self.info.phase)
        Denying.managers[-1].close("denied")
        self.mesh.pump()
        self.leave(client)
        self.assertEqual([True], [each.ended for each in backend.built])
        self.assert_nothing_left()

    def test_never_connected(self) -> None:
        """A filter closes a client whose upstream never answers."""
        self.mesh.network.silent.add(address_of(HOST))
        self.serve()
        client = self.mesh.connect()
        Denying.managers[-1].close("denied")
        self.mesh.pump()
        self.leave(client)
        self.mesh.advance(5.0)
        self.assert_nothing_left()


class ListenerTests(StreamInfoTestCase):
    """Clients that do not come to a network filter."""

    def test_no_chain(self) -> None:
        """A client that no filter chain is for is no connection of its listener: it is counted as
        that alone, and closed.
        """
        message = listener_message("l", FRONT)
        del message.filter_chains[:]
        self.mesh.listeners.add_or_update(message)
        self.mesh.listeners.start()
        self.leave(self.mesh.connect())
        self.assert_logged("NR")
        self.assertEqual("filter_chain_not_found", self.info.details)
        self.assert_why(EndedBy.PROXY, Phase.ACCEPTING, Cause.NO_FILTER_CHAIN)
        self.assertEqual((ListenerInfo("l"), BEGAN), (self.info.listener, self.info.ended))
        moved = self.mesh.moved("listener.127.0.0.1_1.")
        self.assertEqual({"no_filter_chain_match": 1}, moved)

    def test_no_filters(self) -> None:
        """A chain without filters closes its clients."""
        self.mesh.add_listener("l", FRONT, "[]")
        self.mesh.listeners.start()
        self.leave(self.mesh.connect())
        self.assert_logged(local="no_filters")
        self.assert_why(EndedBy.PROXY, Phase.FILTERING, Cause.NO_FILTERS)
