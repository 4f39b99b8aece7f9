"""tcp_bandwidth_limit: what is too much waits, in both directions."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.tcp_bandwidth_limit.v3 import tcp_bandwidth_limit_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpmesh.runtime.entries import entry_of_text
from tcpmesh.testing.harness import pattern
from tests.mesh import FRONT, MeshTestCase, tcp_proxy

FILTER = f"type.googleapis.com/{tcp_bandwidth_limit_pb2.TcpBandwidthLimit.DESCRIPTOR.full_name}"
HOST = "127.0.0.2:80"
KEY = "runtime_enabled: {runtime_key: limit.on, default_value: true}"


class LimitTestCase(MeshTestCase):
    """A proxy with limits."""

    def begin(
        self, fields: str = "read_limit_kbps: 1, write_limit_kbps: 2", more: str = ""
    ) -> None:
        """Serve with these limits, in KiB a second."""
        self.backend = self.mesh.upstream(HOST)
        self.mesh.add_cluster("c", HOST)
        limit = f'{{name: b, typed_config: {{"@type": {FILTER}, stat_prefix: p, {fields}}}}}'
        self.mesh.add_listener("l", FRONT, f"[{limit}, {tcp_proxy()[1:-1]}]", more)
        self.mesh.listeners.start()

    def connect(self) -> tuple[Any, Any]:
        """A client, and what the upstream has of it."""
        client = self.mesh.connect()
        return client, self.backend.built[-1]

    def say(self, who: Any, size: int, ends: bool = False) -> None:
        """A side sends so many bytes, and perhaps no more."""
        who.transport.write(pattern(0, size))
        if ends:
            who.transport.loseWriteConnection()
        self.mesh.pump()

    def counted(self, name: str) -> tuple[int, ...]:
        """The counters of one direction, and what waits."""
        counted = self.mesh.stats(f"p.tcp_bandwidth_limit.{name}_")
        names = ("enabled", "throttled", "total_bytes", "bytes_buffered", "rate_bps")
        return tuple(counted[each] for each in names)


class LimitTests(LimitTestCase):
    """What passes, and when."""

    def test_reads(self) -> None:
        """What clients send passes at the rate of the limit after the bytes of a second; the end
        of the stream waits too.
        """
        self.begin()
        client, server = self.connect()
        self.say(client, 2048, ends=True)
        self.assertEqual((1024, False), (len(server.received), server.ended))
        self.mesh.advance(0.05)
        self.assertEqual(1024 + 51, len(server.received))
        self.mesh.advance(0.9)
        self.assertFalse(server.ended)
        self.mesh.advance(0.1)
        self.assertEqual((pattern(0, 2048), True), (bytes(server.received), server.ended))

    def test_writes(self) -> None:
        """So does what is for them, at a limit of its own; the upstream may have closed by then."""
        self.begin()
        client, server = self.connect()
        self.say(server, 3072)
        server.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual((2048, False), (len(client.received), client.ended))
        self.mesh.advance(0.55)
        self.assertEqual((pattern(0, 3072), True), (bytes(client.received), client.ended))

    def test_client_that_has_ended(self) -> None:
        """What waits for a client that has sent all is sent, though the upstream has closed."""
        self.begin()
        client, server = self.connect()
        self.say(server, 3072)
        self.say(client, 0, ends=True)
        server.transport.loseConnection()
        self.mesh.pump()
        self.mesh.advance(0.55)
        self.assertEqual((3072, True), (len(client.received), client.ended))
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))

    def test_shared(self) -> None:
        """All clients of a chain share a limit."""
        self.begin()
        (one, first), (two, second) = self.connect(), self.connect()
        self.say(one, 1024)
        self.say(two, 1024)
        self.assertEqual((1024, 0), (len(first.received), len(second.received)))
        self.mesh.advance(1.05)
        self.assertEqual(1024, len(second.received))

    def test_fair(self) -> None:
        """Clients that all have more than passes share it, whoever came first."""
        self.begin("read_limit_kbps: 10")
        ends = [self.connect() for _ in range(4)]
        for client, _ in ends:
            client.transport.write(pattern(0, 1_000_000))
        for _ in range(200):
            self.mesh.advance(0.05)
        received = [len(server.received) for _, server in ends]
        self.assertGreaterEqual(sum(received), 100 * 1024)
        self.assertGreater(min(received), 10 * 1024)

    def test_one_direction(self) -> None:
        """A direction without a limit is neither limited nor counted."""
        self.begin("read_limit_kbps: 1")
        client, server = self.connect()
        self.say(server, 10_000)
        self.assertEqual(10_000, len(client.received))
        self.assertEqual((0, 0, 0, 0, 0), self.counted("write"))

    def test_zero(self) -> None:
        """With a limit of 0 nothing passes, ever."""
        self.begin("read_limit_kbps: 0")
        client, server = self.connect()
        self.say(client, 1, ends=True)
        self.mesh.advance(100.0)
        self.assertEqual((0, False), (len(server.received), server.ended))

    def test_fill_interval(self) -> None:
        """What waits is looked at once in the interval."""
        self.begin("read_limit_kbps: 1, fill_interval: 1s")
        client, server = self.connect()
        self.say(client, 1500)
        self.mesh.advance(0.9)
        self.assertEqual(1024, len(server.received))
        self.mesh.advance(0.1)
        self.assertEqual(1500, len(server.received))

    def test_paused(self) -> None:
        """Who sends too much is paused, in either direction: little more than the buffer limit
        waits here.
        """
        self.begin(
            "read_limit_kbps: 1, write_limit_kbps: 1", "per_connection_buffer_limit_bytes: 2000"
        )
        client, server = self.connect()
        self.say(client, 1_000_000)
        self.say(server, 1_000_000)
        for sender in (client, server):
            self.assertGreater(sender.transport.buffered, 500_000)

    def test_disabled(self) -> None:
        """Where the runtime switches it off everything passes, what has waited first."""
        self.begin(f"read_limit_kbps: 1, {KEY}")
        client, server = self.connect()
        client.transport.write(pattern(0, 2000))
        self.mesh.pump()
        self.mesh.worker.context.runtime.update({"limit.on": entry_of_text("false")})
        client.transport.write(pattern(2000, 1000))
        self.mesh.pump()
        self.assertEqual(pattern(0, 3000), bytes(server.received))
        self.assertEqual((1, 1, 1024, 0, 0), self.counted("read"))

    def test_lost(self) -> None:
        """A client that resets takes with it what waited, and nothing is left of it."""
        self.begin()
        client, server = self.connect()
        self.say(client, 3000)
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual(1024, len(server.received))
        self.assertIsNotNone(server.reason)
        self.assertEqual(0, self.counted("read")[3])
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["client", "server"]), st.integers(1, 3000), st.floats(0, 2)),
            max_size=12,
        )
    )
    def test_every_byte(self, moves: list[tuple[str, int, float]]) -> None:
        """Whatever both sides send, and when: all of it arrives in order, and at no time more than
        the limit allows.
        """
        self.mesh = self.make_mesh(1)
        self.begin()
        client, server = self.connect()
        ends = {"client": (client, server, 1024), "server": (server, client, 2048)}
        sent = dict.fromkeys(ends, 0)
        for who, size, pause in moves:
            ends[who][0].transport.write(pattern(sent[who], size))
            sent[who] += size
            self.mesh.advance(pause)
            for _, receiver, rate in ends.values():
                allowed = rate * (self.mesh.clock.seconds() + 1.0) + 1
                self.assertLessEqual(len(receiver.received), allowed)
        for end in (client, server):
            end.transport.loseWriteConnection()
        for _ in range(50):
            self.mesh.advance(1.0)
        for who, (_, receiver, _rate) in ends.items():
            self.assertTrue(bytes(receiver.received) == pattern(0, sent[who]))
            self.assertTrue(receiver.ended)


class StatisticsTests(LimitTestCase):
    """Envoy's statistics of it."""

    def test_names(self) -> None:
        """All are there from the start."""
        self.begin()
        self.assertEqual(
            sorted(
                f"{way}_{name}"
                for way in ("read", "write")
                for name in ("enabled", "throttled", "total_bytes", "bytes_buffered", "rate_bps")
            ),
            sorted(self.mesh.stats("p.tcp_bandwidth_limit.")),
        )

    def test_counted(self) -> None:
        """What was limited, and what waited for tokens, is counted with each that comes; bytes when
        they pass, and the rate once it was seen for a second.
        """
        self.begin()
        client, _ = self.connect()
        self.say(client, 500)
        self.assertEqual((1, 0, 500, 0, 0), self.counted("read"))
        self.say(client, 1000)
        self.assertEqual((2, 1, 1024, 476, 0), self.counted("read"))
        self.say(client, 100)
        self.assertEqual((3, 2, 1024, 576, 0), self.counted("read"))
        self.mesh.advance(0.6)
        self.assertEqual((3, 2, 1600, 0, 0), self.counted("read"))
        self.mesh.advance(1.0)
        self.say(client, 10)
        enabled, throttled, total, _, rate = self.counted("read")
        self.assertEqual((4, 2, 1610), (enabled, throttled, total))
        self.assertEqual(1610 * 10 // 16, rate)

    def test_gone(self) -> None:
        """The statistics of a listener that is removed go once its last client has left."""
        self.begin()
        client, server = self.connect()
        self.mesh.listeners.remove("l")
        self.mesh.pump()
        self.assertNotEqual({}, self.mesh.stats("p.tcp_bandwidth_limit."))
        for end in (client, server):
            end.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual({}, self.mesh.stats("p.tcp_bandwidth_limit."))
