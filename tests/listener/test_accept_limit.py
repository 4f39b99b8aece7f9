"""Whom listeners accept where resources run short: limits of all clients, rejections, pauses."""

from __future__ import annotations

from tests.mesh import FRONT
from tests.overloaded import ACCEPT_POINT, LIMIT, OTHER, REJECT, STOP, OverloadedTestCase

BYPASSES = ", bypass_overload_manager: true"
OVERFLOW = "downstream_global_cx_overflow"
REJECTED = "downstream_cx_overload_reject"


class LimitTests(OverloadedTestCase):
    """The limit of the overload manager for all listeners."""

    def counted(self, name: str = OVERFLOW) -> list[int]:
        """This counter of both listeners."""
        return [self.mesh.stat(f"listener.127.0.0.1_{port}.{name}") for port in (1, 2)]

    def test_all(self) -> None:
        """All listeners together have so many clients at most, whoever is one too many is closed
        and counted, and when one leaves there is room for another.
        """
        self.begin(most=2)
        first = self.mesh.connect(FRONT)
        self.assertEqual([True, False], [self.serves(OTHER), self.serves()])
        self.assertEqual([1, 0], self.counted())
        self.assertEqual(1, self.mesh.stat(f"overload.{LIMIT}.failed_updates"))
        self.assertEqual(0, self.mesh.stat(f"overload.{LIMIT}.pressure"))
        first.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual([True, False], [self.serves(OTHER), self.serves(OTHER)])
        self.assertEqual([1, 1], self.counted())

    def test_exempt(self) -> None:
        """A listener with `ignore_global_conn_limit`, or that bypasses the overload manager, has no
        such limit, and its clients do not count.
        """
        for field in (", ignore_global_conn_limit: true", BYPASSES):
            self.begin(most=1, other=field)
            self.assertEqual([True, True], [self.serves(OTHER), self.serves(OTHER)])
            self.assertEqual([True, False], [self.serves(), self.serves()])
            self.assertTrue(self.serves(OTHER))
            self.assertEqual([1, 0], self.counted())

    def test_runtime(self) -> None:
        """Where the overload manager has a limit, the runtime's is not looked at."""
        self.begin(
            most=2,
            more="layered_runtime: {layers: [{name: s, static_layer: "
            "{overload.global_downstream_max_connections: 1}}]}",
        )
        self.assertEqual([True, True, False], [self.serves() for _ in range(3)])

    def test_own(self) -> None:
        """A listener's own limit holds beside it, and is the other's turn where there is room."""
        self.begin(
            most=2,
            more="layered_runtime: {layers: [{name: s, static_layer: "
            "{envoy.resource_limits.listener.front.connection_limit: 1}}]}",
        )
        self.assertEqual([True, False], [self.serves(), self.serves()])
        self.assertEqual([0, 0], self.counted())
        self.assertEqual([1, 0], self.counted("downstream_cx_overflow"))


class RejectTests(OverloadedTestCase):
    """reject_incoming_connections and tcp_listener_accept."""

    def rejected(self) -> int:
        """Clients of the first listener that were turned away."""
        return self.mesh.stat(f"listener.127.0.0.1_1.{REJECTED}")

    def test_reject(self) -> None:
        """While it is active every client is closed as soon as it is accepted, and counted; those
        that are there stay, and later ones are served again.
        """
        for name in (REJECT, ACCEPT_POINT):
            self.begin(points=[ACCEPT_POINT])
            client = self.mesh.connect(FRONT)
            self.tell(name, 1)
            self.assertEqual([False, False], [self.serves(), self.serves()])
            self.assertEqual(2, self.rejected())
            self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_total"))
            client.transport.write(b"ping")
            self.mesh.pump()
            self.assertEqual(b"ping", self.host.built[0].received)
            self.tell(name, 0)
            self.assertEqual((True, 2), (self.serves(), self.rejected()))

    def test_counted_as_shed(self) -> None:
        """What is shed at a point is counted there, and what an action rejects is not."""
        self.begin(points=[ACCEPT_POINT])
        shed = f"overload.{ACCEPT_POINT}.shed_load_count"
        self.tell(REJECT, 1)
        self.serves()
        self.assertEqual(0, self.mesh.stat(shed))
        self.tell(ACCEPT_POINT, 1)
        self.serves()
        self.assertEqual((1, 2), (self.mesh.stat(shed), self.rejected()))

    def test_share(self) -> None:
        """Of a scaled action the level is the share of clients that are turned away."""
        for name in (REJECT, ACCEPT_POINT):
            self.begin(points=[ACCEPT_POINT])
            self.tell(name, 0.25)
            served = sum(self.serves() for _ in range(400))
            self.assertTrue(270 < served < 330, served)
            self.assertEqual(400 - served, self.rejected())

    def test_bypass(self) -> None:
        """A listener that bypasses the overload manager turns nobody away."""
        self.begin(points=[ACCEPT_POINT], listener=BYPASSES)
        for name in (REJECT, ACCEPT_POINT):
            self.tell(name, 1)
        self.assertEqual([True, False], [self.serves(FRONT), self.serves(OTHER)])

    def test_no_cost(self) -> None:
        """As long as nothing is active, no listener looks at anything for a client."""
        self.begin(points=[ACCEPT_POINT])
        listeners = tuple(self.mesh.worker.listeners._listeners.values())
        self.assertEqual([None, None], [each._limit for each in listeners])
        self.tell(REJECT, 0.1)
        self.assertNotIn(None, [each._limit for each in listeners])
        self.tell(REJECT, 0)
        self.assertEqual([None, None], [each._limit for each in listeners])


class PauseTests(OverloadedTestCase):
    """stop_accepting_connections."""

    def test_wait(self) -> None:
        """While it is active clients wait, and are served in their order once it is over; those
        that are there go on.
        """
        self.begin()
        client = self.mesh.connect(FRONT)
        self.tell(STOP, 1)
        self.assertEqual([False, False], [self.serves(), self.serves(OTHER)])
        client.transport.write(b"ping")
        self.mesh.pump()
        self.assertEqual(b"ping", self.host.built[0].received)
        self.tell(STOP, 0)
        self.assertEqual(3, len(self.host.built))

    def test_scaled(self) -> None:
        """Clients wait where it is wholly active, and not before."""
        self.begin()
        self.tell(STOP, 0.99)
        self.assertTrue(self.serves())
        self.tell(STOP, 1)
        self.tell(STOP, 1)
        self.assertFalse(self.serves())
        self.tell(STOP, 0.99)
        self.assertTrue(self.serves())

    def test_bypass(self) -> None:
        """A listener that bypasses the overload manager goes on accepting."""
        self.begin(other=BYPASSES)
        self.tell(STOP, 1)
        self.assertEqual([False, True], [self.serves(FRONT), self.serves(OTHER)])

    def test_new_listener(self) -> None:
        """A listener that comes meanwhile waits with the others, and so does one that takes over
        the socket of another.
        """
        self.begin()
        self.tell(STOP, 1)
        changed = self.mesh.bootstrap.static_resources.listeners[0]
        changed.per_connection_buffer_limit_bytes.value = 5
        self.mesh.listeners.add_or_update(changed)
        self.assertFalse(self.serves())
        self.tell(STOP, 0)
        self.assertEqual(1, len(self.host.built))
        self.assertTrue(self.serves())
