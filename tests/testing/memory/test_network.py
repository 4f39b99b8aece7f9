"""The memory network: what it does beyond the contract that it shares with every network."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from twisted.internet.error import (
    ConnectBindError,
    ConnectionRefusedError,
    NoRouteError,
    TimeoutError,
)
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.interfaces import INetwork
from tcpmesh.net.listen import BindError, open_socket
from tcpmesh.testing.harness import Client, Server, pattern
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.recording import OneWayRecordingProtocol, RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions, ListenOptions

HERE = Address("127.0.0.1", 80)


class NetworkTests(SynchronousTestCase):
    """Addresses, and what they answer."""

    def setUp(self) -> None:
        """A network with one server."""
        self.network = MemoryNetwork()
        self.server = Server()
        self.port = self.network.listen(self.network.bind(HERE), self.server)

    def dial(
        self, address: Address = HERE, timeout: float = 5, source: Address | None = None
    ) -> Client:
        """A client, with all done that can be done at once."""
        client = Client(RecordingProtocol())
        options = ConnectOptions(source) if source is not None else None
        self.connector = self.network.connect(address, client, timeout, options)
        self.network.pump()
        return client

    def failure(
        self, address: Address = HERE, source: Address | None = None
    ) -> type[BaseException] | None:
        """Why no connection came about."""
        failure = self.dial(address, source=source).failure
        return None if failure is None else failure.type

    def test_interfaces(self) -> None:
        """Network, port and connector are what they claim to be."""
        verifyObject(INetwork, self.network)
        verifyObject(IListeningPort, self.port)
        self.dial()
        verifyObject(IConnector, self.connector)

    def test_answers(self) -> None:
        """An address may refuse, have no route or say nothing, though somebody listens there."""
        self.assertIsNone(self.failure())
        self.network.unroutable.add(HERE)
        self.assertIs(NoRouteError, self.failure())
        self.network.unroutable.clear()
        self.network.refused.add(HERE)
        self.assertIs(ConnectionRefusedError, self.failure())
        self.network.refused.clear()
        self.network.silent.add(HERE)
        self.assertIsNone(self.failure())
        self.network.advance(5)
        self.network.silent.clear()
        self.assertIs(ConnectBindError, self.failure(source=self.unbindable()))

    def unbindable(self) -> Address:
        """A source address that cannot be had."""
        self.network.unbindable.add(Address("127.0.0.7", 0))
        return Address("127.0.0.7", 0)

    def test_timeout(self) -> None:
        """A silent address fails the attempt when the clock says so, and not before."""
        self.network.silent.add(HERE)
        client = self.dial(timeout=2)
        self.network.advance(1.9)
        self.assertIsNone(client.failure)
        self.network.advance(0.1)
        self.assertIsNotNone(client.failure)
        client.failure.trap(TimeoutError)  # type: ignore[union-attr]

    def test_wildcard(self) -> None:
        """A wildcard address gets clients of every address of its family, which see the address
        they dialled.
        """
        server = Server()
        self.network.listen(self.network.bind(Address("0.0.0.0", 90)), server)
        client = self.dial(Address("10.1.2.3", 90))
        self.assertEqual("10.1.2.3:90", str(client.given.transport.getPeer()))
        self.assertEqual("10.1.2.3:90", str(server.built[0].transport.getHost()))
        self.assertIs(ConnectionRefusedError, self.failure(Address("::1", 90)))

    def test_bind(self) -> None:
        """An address is bound once; port 0 is a free one; a closed socket and a stopped port give
        their address free.
        """
        self.assertRaises(BindError, self.network.bind, HERE)
        free = self.network.bind(Address("127.0.0.1", 0))
        other = self.network.bind(Address("127.0.0.1", 0))
        self.assertNotEqual(free.address, other.address)
        self.assertEqual(free.address, Address.from_sockaddr(free.family, free.getsockname()))
        free.close()
        self.network.bind(free.address)
        self.port.stopListening()
        self.network.bind(HERE)

    def test_opened_like_a_socket(self) -> None:
        """What `bind` gives can be opened as a real socket is."""
        open_socket(self.network.bind(Address("127.0.0.1", 0), ListenOptions()), ListenOptions())  # type: ignore[arg-type]

    def test_source(self) -> None:
        """A client's end is a new port of loopback, or the source that was asked for."""
        for source, expected in ((None, "127.0.0.1"), (Address("127.0.0.5"), "127.0.0.5")):
            self.assertEqual(expected, self.dial(source=source).given.transport.getHost().host)
        self.assertEqual(
            "127.0.0.6:77",
            str(self.dial(source=Address("127.0.0.6", 77)).given.transport.getHost()),
        )

    def test_nothing_by_itself(self) -> None:
        """Without a step nothing happens, and each step does one thing."""
        client = Client(RecordingProtocol())
        self.network.connect(HERE, client, 5)
        self.assertFalse(client.connected)
        self.assertTrue(self.network.step())
        self.assertEqual((True, []), (client.connected, self.server.built))
        self.assertTrue(self.network.step())
        self.network.pump()
        self.assertFalse(self.network.step())

    def test_clock(self) -> None:
        """The clock may be one that others use; calls that are due now belong to what `pump`
        does.
        """
        clock = Clock()
        network = MemoryNetwork(clock)
        called: list[int] = []
        clock.callLater(0, lambda: clock.callLater(0, called.append, 1))
        clock.callLater(1, called.append, 2)
        network.pump()
        self.assertEqual([1], called)
        network.advance(1)
        self.assertEqual([1, 2], called)

    def test_round_in_circles(self) -> None:
        """What never becomes quiet is an error, not a hang."""
        self.patch(
            __import__("tcpmesh.testing.memory.network", fromlist=["memory"]), "MOST_STEPS", 1000
        )
        client = self.dial().given
        self.server.built[0].on_data = lambda: self.server.built[0].transport.write(b".")
        client.on_data = lambda: client.transport.write(b".")
        client.transport.write(b".")
        self.assertRaises(AssertionError, self.network.pump)

    def test_transports(self) -> None:
        """A test can get at both ends of every connection, in order."""
        client = self.dial().given
        self.assertEqual(
            [client.transport, self.server.built[0].transport], self.network.transports
        )


class StreamTests(SynchronousTestCase):
    """The model of a connection."""

    def pair(self, **how: Any) -> tuple[MemoryNetwork, RecordingProtocol, RecordingProtocol]:
        """A network with two connected recorders."""
        network, client, server = MemoryNetwork(**how), RecordingProtocol(), RecordingProtocol()
        for transport, recorder in zip(
            network.pair(Address("127.0.0.1", 1), HERE), (client, server), strict=True
        ):
            transport.start(recorder)
        network.pump()
        return network, client, server

    def test_capacity(self) -> None:
        """The kernels take so many bytes for each direction, the rest is buffered; each read is of
        at most a chunk.
        """
        network, client, server = self.pair(capacity=1000, chunk=300)
        server.transport.pauseProducing()
        client.transport.write(pattern(0, 1500))
        network.pump()
        self.assertEqual(500, client.transport.buffered)
        server.transport.resumeProducing()
        network.pump()
        self.assertEqual(
            (0, 1500, 300), (client.transport.buffered, len(server.received), max(server.sizes))
        )

    def test_kept_view(self) -> None:
        """A protocol that keeps the view it was given finds other bytes in it: the buffer is not
        its own.
        """
        network, client, server = self.pair()
        kept: list[memoryview] = []
        self.patch(server, "bufferReceived", kept.append)
        client.transport.write(b"secret")
        network.pump()
        self.assertNotEqual(b"secret", bytes(kept[0]))

    def test_close_with_unread_bytes(self) -> None:
        """Closing with bytes unread is a reset to the peer, as Linux does it, after the bytes and
        the FIN before it.
        """
        network, client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(b"unread")
        network.pump()
        server.transport.write(b"bye")
        server.transport.abortConnection()
        network.pump()
        self.assertEqual(["made", "data", "lost"], client.events)

    def test_order_is_a_choice(self) -> None:
        """The same choices give the same order of events, other choices another, and every order
        the same bytes.
        """
        outcomes = []
        for last in (False, False, True):
            network, client, server = self.pair(
                choose=(lambda n: n - 1) if last else (lambda n: 0), chunk=10
            )
            order: list[str] = []
            client.on_data = lambda order=order: order.append("client")  # type: ignore[misc]
            server.on_data = lambda order=order: order.append("server")  # type: ignore[misc]
            client.transport.write(pattern(0, 100))
            server.transport.write(pattern(0, 100))
            network.pump()
            self.assertEqual(
                (pattern(0, 100),) * 2, (bytes(client.received), bytes(server.received))
            )
            outcomes.append(order)
        self.assertEqual(outcomes[0], outcomes[1])
        self.assertNotEqual(outcomes[0], outcomes[2])

    def test_text_is_no_bytes(self) -> None:
        """Writing a str is a TypeError."""
        _, client, _ = self.pair()
        self.assertRaises(TypeError, client.transport.write, "text")


class WitnessTests(SynchronousTestCase):
    """What a recorder has to complain about."""

    def test_flaws(self) -> None:
        """An event after the last, twice, or bytes after EOF are flaws; an ordinary life is
        none.
        """
        for events, flawed in (
            (["made", "data", "fin", "data", "eof", "lost"], False),
            ([], False),
            (["made", "lost", "lost"], True),
            (["made", "lost", "data"], True),
            (["made", "eof", "eof"], True),
            (["made", "eof", "data"], True),
        ):
            recorder = OneWayRecordingProtocol()
            recorder.events = events
            self.assertEqual(flawed, recorder.flaw() is not None, events)
