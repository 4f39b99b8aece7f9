"""tcp_proxy at the load shed points of the overload manager."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone

from tcpmesh.testing.mesh import address_of
from tcpmesh.testing.recording import RecordingProtocol
from tests.mesh import FRONT
from tests.overloaded import (
    CONNECT_POINT,
    DATA_POINT,
    HOST,
    OTHER,
    POOL_POINT,
    OverloadedTestCase,
)

BYPASSES = ", bypass_overload_manager: true"
LOG = """, access_log: [{name: f, typed_config: {"@type": type.googleapis.com/envoy.extensions.\
access_loggers.file.v3.FileAccessLog, path: log, log_format: {text_format_source: {inline_string: \
"%RESPONSE_FLAGS% %DOWNSTREAM_LOCAL_CLOSE_REASON% %UPSTREAM_HOST% %BYTES_RECEIVED% \
%UPSTREAM_LOCAL_CLOSE_REASON% %TCPMESH(close_reason)%\\n"}}}}]"""


class SheddingTestCase(OverloadedTestCase):
    """A tcp_proxy that says what became of its clients."""

    def logged(self) -> list[str]:
        """The records of the listener."""
        return [each.rstrip("\n") for each in self.mesh.logged("log")]

    def shed(self, point: str) -> int:
        """How often something was shed at a point."""
        return self.mesh.stat(f"overload.{point}.shed_load_count")

    def pair(self) -> tuple[RecordingProtocol, Any]:
        """A client and the host's end of its connection."""
        client = self.mesh.connect(FRONT)
        return client, self.host.built[-1]

    def say(self, client: Any, data: bytes) -> None:
        """The client sends this."""
        client.transport.write(data)
        self.mesh.pump()


class ConnectTests(SheddingTestCase):
    """tcp_proxy_upstream_connect."""

    def test_shed(self) -> None:
        """No client is connected while it is active; each is closed with the flag OM and counted,
        and those that are connected stay.
        """
        self.begin(points=[CONNECT_POINT], listener=LOG)
        client, host = self.pair()
        self.tell(CONNECT_POINT, 1)
        late = self.mesh.connect(FRONT)
        self.assertTrue(late.ended)
        self.say(client, b"ping")
        self.assertEqual(b"ping", host.received)
        self.assertEqual(
            [
                "OM overload_manager_close - 0 - shed by the overload manager: "
                "tcp_proxy_upstream_connect"
            ],
            self.logged(),
        )
        self.assertEqual(1, self.shed(CONNECT_POINT))
        self.assertEqual(1, self.mesh.stat("tcp.t.downstream_cx_overload_close"))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.tell(CONNECT_POINT, 0)
        self.assertTrue(self.serves())

    def test_tunnel(self) -> None:
        """No tunnel is asked for while it is active."""
        proxy = "cluster: c, tunneling_config: {hostname: 'h:1'}"
        self.begin(points=[CONNECT_POINT], proxy=proxy, listener=LOG)
        _, host = self.pair()
        self.assertIn(b"CONNECT h:1", host.received)
        self.tell(CONNECT_POINT, 1)
        self.assertTrue(self.mesh.connect(FRONT).ended)
        self.assertEqual((1, 1), (len(self.host.built), self.shed(CONNECT_POINT)))

    def test_first(self) -> None:
        """It is asked before a route is looked for."""
        self.begin(points=[CONNECT_POINT], proxy="cluster: nowhere", listener=LOG)
        self.tell(CONNECT_POINT, 1)
        self.mesh.connect(FRONT)
        self.assertEqual("OM", self.logged()[0].split()[0])
        self.assertEqual(0, self.mesh.stat("tcp.t.downstream_cx_no_route"))

    def test_attempts(self) -> None:
        """It is asked for each attempt, as long as there may be another one."""
        for attempts, expected in ((1, 150), (3, 262)):
            proxy = f"cluster: c, max_connect_attempts: {attempts}"
            self.begin(points=[CONNECT_POINT], proxy=proxy)
            self.mesh.network.refused.add(address_of(HOST))
            self.tell(CONNECT_POINT, 0.5)
            for _ in range(300):
                self.mesh.connect(FRONT)
            shed = self.shed(CONNECT_POINT)
            self.assertTrue(expected - 30 < shed < expected + 30, shed)
            exceeded = self.mesh.stat("cluster.c.upstream_cx_connect_attempts_exceeded")
            self.assertEqual(300 - shed, exceeded)

    def test_bypass(self) -> None:
        """A listener that bypasses the overload manager connects its clients."""
        self.begin(points=[CONNECT_POINT], other=BYPASSES)
        self.tell(CONNECT_POINT, 1)
        self.assertEqual([False, True], [self.serves(FRONT), self.serves(OTHER)])


class NewConnectionTests(SheddingTestCase):
    """connection_pool_new_connection."""

    def test_shed(self) -> None:
        """No connection is made while it is active, which counts as an attempt of the client, and
        not as a failure of the host.
        """
        self.begin(points=[POOL_POINT], listener=LOG, proxy="cluster: c, max_connect_attempts: 3")
        self.tell(POOL_POINT, 1)
        self.assertFalse(self.serves())
        self.assertEqual(3, self.shed(POOL_POINT))
        self.assertEqual(
            {
                "membership_change": 1,
                "membership_total": 1,
                "membership_healthy": 1,
                "default.total_match_count": 1,
                "upstream_rq_pending_total": 3,
                "upstream_cx_connect_attempts_exceeded": 1,
            },
            self.mesh.moved("cluster.c."),
        )
        self.assertEqual(
            [
                "URX tcp_initializion_failure:0 - 0 - shed by the overload manager: "
                "connection_pool_new_connection"
            ],
            self.logged(),
        )
        self.assertEqual(0, self.mesh.stat("tcp.t.downstream_cx_overload_close"))
        self.tell(POOL_POINT, 0)
        self.assertTrue(self.serves())

    def test_no_bypass(self) -> None:
        """It holds for a listener that bypasses the overload manager too."""
        self.begin(points=[POOL_POINT], listener=BYPASSES)
        self.tell(POOL_POINT, 1)
        self.assertFalse(self.serves())
        self.assertEqual(1, self.shed(POOL_POINT))

    def test_pool(self) -> None:
        """A client of a pool gets a connection that is there already, while none is made, neither
        for it nor ahead.
        """
        ahead = "preconnect_policy: {per_upstream_preconnect_ratio: 2}"
        self.begin(points=[POOL_POINT], cluster=ahead, listener=LOG)
        self.assertTrue(self.serves())
        self.assertEqual(2, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.tell(POOL_POINT, 1)
        client = self.mesh.connect(FRONT)
        self.say(client, b"ping")
        self.assertEqual(b"ping", self.host.built[1].received)
        self.assertEqual(2, len(self.host.built))
        late = self.mesh.connect(FRONT)
        self.assertTrue(late.ended)
        self.assertEqual(2, self.shed(POOL_POINT))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_rq_pending_active"))
        self.assertIn("URX tcp_initializion_failure:0", self.logged()[0])
        self.tell(POOL_POINT, 0)
        self.assertTrue(self.serves())

    def test_waiting(self) -> None:
        """Who waits for a host to have a connection less is turned away when there is none any
        more, and none is made.
        """
        one = "circuit_breakers: {per_host_thresholds: [{max_connections: 1}]}"
        self.begin(points=[POOL_POINT], cluster=one)
        client, host = self.pair()
        waits = self.mesh.connect(FRONT)
        self.tell(POOL_POINT, 1)
        self.assertFalse(waits.ended)
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertTrue(waits.ended)
        self.assertTrue(host.ended)
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_rq_pending_active"))
        self.tell(POOL_POINT, 0)
        self.assertTrue(self.serves())


class DataTests(SheddingTestCase):
    """tcp_proxy_on_data."""

    def test_data(self) -> None:
        """While it is active a client that sends something is closed, with the flag OM, and so is
        its host, which does not get that; what the host sends passes.
        """
        self.begin(points=[DATA_POINT], listener=LOG)
        client, host = self.pair()
        self.say(client, b"ping")
        self.tell(DATA_POINT, 1)
        host.transport.write(b"pong")
        self.mesh.pump()
        self.assertEqual((b"pong", False), (client.received, client.ended))
        self.say(client, b"secret")
        self.assertTrue(client.ended)
        self.assertEqual((b"ping", True), (host.received, host.ended))
        for each in (client, host):
            each.transport.loseConnection()
        self.mesh.pump()
        self.assertTrue(client.lost_to(ConnectionDone), client.reason)
        words = "overload_manager_close"
        self.assertEqual(
            [f"OM {words} {HOST} 10 {words} shed by the overload manager: tcp_proxy_on_data"],
            self.logged(),
        )
        self.assertEqual(
            (1, 1, 10, 4, 4),
            (
                self.shed(DATA_POINT),
                self.mesh.stat("tcp.t.downstream_cx_overload_close"),
                self.mesh.stat("tcp.t.downstream_cx_rx_bytes_total"),
                self.mesh.stat("cluster.c.upstream_cx_tx_bytes_total"),
                self.mesh.stat("tcp.t.downstream_cx_tx_bytes_total"),
            ),
        )

    def test_end(self) -> None:
        """A client that ends is closed as one that sends something."""
        self.begin(points=[DATA_POINT])
        client, host = self.pair()
        self.tell(DATA_POINT, 1)
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertTrue(client.ended and host.ended)
        self.assertEqual(1, self.shed(DATA_POINT))

    def test_reset(self) -> None:
        """A client that resets is gone as ever."""
        self.begin(points=[DATA_POINT])
        client, host = self.pair()
        self.tell(DATA_POINT, 1)
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertTrue(host.ended)
        self.assertEqual(0, self.shed(DATA_POINT))

    def test_new_client(self) -> None:
        """A client that comes meanwhile is connected, and closed when it sends something."""
        self.begin(points=[DATA_POINT])
        self.tell(DATA_POINT, 1)
        client, host = self.pair()
        self.assertFalse(client.ended)
        self.say(client, b"ping")
        self.assertEqual((True, b""), (client.ended, host.received))

    def test_flapping(self) -> None:
        """It may come and go: what is sent in between passes, and nobody looks at it any more."""
        self.begin(points=[DATA_POINT])
        client, host = self.pair()
        usual = type(self.mesh.worker.listeners.clients()[0][0].transport.protocol)
        for number in range(1, 6):
            self.tell(DATA_POINT, 1)
            self.tell(DATA_POINT, 0.5)
            self.tell(DATA_POINT, 0)
            self.say(client, b"x")
            self.assertEqual(b"x" * number, host.received)
        (connection,), *_ = self.mesh.worker.listeners.clients()
        self.assertIs(usual, type(connection.transport.protocol))
        self.tell(DATA_POINT, 1)
        self.say(client, b"x")
        self.assertTrue(client.ended)

    def test_early(self) -> None:
        """What a client sends before it is connected is asked for, and so is its end."""
        early = "cluster: c, max_early_data_bytes: 100, upstream_connect_mode: ON_DOWNSTREAM_DATA"
        for ends in (False, True):
            self.begin(points=[DATA_POINT], proxy=early, listener=LOG)
            self.tell(DATA_POINT, 1)
            client = self.mesh.connect(FRONT)
            if ends:
                client.transport.loseWriteConnection()
                self.mesh.pump()
            else:
                self.say(client, b"ping")
            self.assertTrue(client.ended)
            self.assertEqual([], self.host.built)
            self.assertEqual(1, self.shed(DATA_POINT))
            client.transport.loseConnection()
            self.mesh.pump()
            received = 0 if ends else 4
            self.assertIn(f"OM overload_manager_close - {received} ", self.logged()[0])

    def test_early_and_not_shed(self) -> None:
        """As long as nothing is shed a client that has to speak first is connected when it does,
        and closed when it ends without a word.
        """
        early = "cluster: c, max_early_data_bytes: 100, upstream_connect_mode: ON_DOWNSTREAM_DATA"
        self.begin(points=[DATA_POINT], proxy=early)
        client = self.mesh.connect(FRONT)
        self.say(client, b"ping")
        self.assertEqual(b"ping", self.host.built[0].received)
        silent = self.mesh.connect(FRONT)
        silent.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertEqual((True, 1), (silent.ended, len(self.host.built)))

    def test_bypass(self) -> None:
        """Clients of a listener that bypasses the overload manager may send what they like."""
        self.begin(points=[DATA_POINT], listener=BYPASSES)
        client, host = self.pair()
        self.tell(DATA_POINT, 1)
        self.say(client, b"ping")
        self.assertEqual(b"ping", host.received)

    def test_filters_gone(self) -> None:
        """A filter that is gone is told of nothing."""
        self.begin(points=[DATA_POINT])
        watchers = self.mesh.worker.context.overload._watchers[DATA_POINT]
        self.assertEqual(2, len(watchers))
        self.mesh.listeners.remove("front")
        self.mesh.pump()
        self.assertEqual(1, len(watchers))

    def test_draining(self) -> None:
        """A connection that a drain looks at is asked for as well."""
        self.begin(points=[DATA_POINT], proxy="cluster: c, check_drain_close: true")
        client, host = self.pair()
        self.mesh.main.listeners.fail_health_checks(True)
        self.tell(DATA_POINT, 1)
        self.say(client, b"ping")
        self.assertEqual((b"", True), (host.received, client.ended))
        client, host = self.pair()
        self.tell(DATA_POINT, 0)
        self.say(client, b"ping")
        self.assertEqual((b"ping", True), (host.received, client.ended))
        self.assertEqual(1, self.mesh.stat("tcp.t.downstream_cx_drain_close"))


class NothingTests(SheddingTestCase):
    """An overload manager without points for tcp_proxy."""

    def test_usual_sessions(self) -> None:
        """Sessions are the usual ones, which ask for nothing."""
        self.begin()
        self.pair()
        usual = self.mesh.worker.listeners.clients()[0][0].transport.protocol.relay.observer
        self.begin(points=[DATA_POINT])
        self.pair()
        asking = self.mesh.worker.listeners.clients()[0][0].transport.protocol.relay.observer
        self.assertEqual(
            ("Session", "SheddingSession"), (type(usual).__name__, type(asking).__name__)
        )
