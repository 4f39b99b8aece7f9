"""How long the handshake of a client may take where resources run short."""

from __future__ import annotations

from typing import Any

from envoy.config.listener.v3.listener_components_pb2 import FilterChain

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.connection import Connection
from tcpmesh.listener.handshakes import TIMEOUT, Handshakes
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.overload import (
    REDUCE_TIMEOUTS,
    TRANSPORT_SOCKET_CONNECT,
    Overload,
    OverloadSettings,
    TimerScale,
)
from tests.mesh import parse


class SilentWrapper:
    """The transport of a client whose handshake does not go on."""

    protocol: Any = None

    def __init__(self) -> None:
        self.cut = False

    def makeConnection(self, transport: Any) -> None:
        """Nothing happens."""

    def cutConnection(self) -> None:
        """The client is closed."""
        self.cut = True


class SilentSocket:
    """Makes these."""

    def accepted(self, connection: Any, observer: Any) -> SilentWrapper:
        """A wrapper."""
        return SilentWrapper()

    def close(self) -> None:
        """Nothing is left."""


class ReducedTests(SynchronousTestCase):
    """The action reduce_timeouts."""

    def begin(self, scale: TimerScale, given: str = "5s") -> None:
        """Chains with this timeout, and that may be reduced so."""
        self.overload = Overload(OverloadSettings(timers=(scale,)))
        self.network = MemoryNetwork()
        self.closed = 0
        text = f"transport_socket_connect_timeout: {given}" if given else "{}"
        socket: Any = SilentSocket()
        self.handshakes = Handshakes(
            parse(FilterChain, text),
            socket,
            self.network,
            self._count,
            lambda connection: None,
            self.overload,
        )

    def _count(self) -> None:
        self.closed += 1

    def client(self) -> None:
        """A client that says nothing."""
        connection = Connection(None)
        connection.transport = SilentWrapper()
        self.handshakes.attach(connection)

    def closed_after(self, *levels: tuple[float, float]) -> float:
        """Seconds until a client is closed; the level becomes each of these after so many."""
        clock = self.network.clock
        self.client()
        before, begun = self.closed, clock.seconds()
        for step in range(10_000):
            for seconds, level in levels:
                if step == int(seconds * 16):
                    self.overload.take([(REDUCE_TIMEOUTS, level)])
                    clock.advance(0)
            if self.closed > before:
                return clock.seconds() - begun
            clock.advance(1 / 16)
        raise AssertionError("it is never closed")

    def test_by_level(self) -> None:
        """The less is left of what may be reduced, the higher the level is."""
        self.begin(TimerScale(TRANSPORT_SOCKET_CONNECT, 1.0))
        for level, expected in ((0, 5), (0.5, 3), (1, 1)):
            self.assertEqual(expected, self.closed_after((0, level)))

    def test_waiting(self) -> None:
        """A client that waits already is closed as soon as it has waited long enough, and one gets
        its time back where the level falls.
        """
        self.begin(TimerScale(TRANSPORT_SOCKET_CONNECT, 1.0))
        self.assertEqual(2, self.closed_after((0, 0), (2, 1)))
        self.assertEqual(1, self.closed_after((0, 0), (0.5, 1)))
        self.assertEqual(5, self.closed_after((0, 0.5), (2, 0)))

    def test_default(self) -> None:
        """The time where none is given is reduced too."""
        self.begin(TimerScale(TRANSPORT_SOCKET_CONNECT, None, 0.2), "")
        self.assertEqual(TIMEOUT, self.closed_after((0, 0)))
        self.assertEqual(3, self.closed_after((0, 1)))

    def test_none(self) -> None:
        """Where there is no time, none is made."""
        self.begin(TimerScale(TRANSPORT_SOCKET_CONNECT, 1.0), "0s")
        self.overload.take([(REDUCE_TIMEOUTS, 1)])
        self.client()
        self.network.advance(3600)
        self.assertEqual(0, self.closed)
