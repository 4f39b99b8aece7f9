"""The part of the contract suite about networks: listening, connecting, and every way in which that
fails.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ConnectBindError, ConnectError, TimeoutError, UserError

from tcpmesh.testing.child import free_port
from tcpmesh.testing.harness import (
    PATIENCE,
    Client,
    HarnessTestCase,
    MemoryHarness,
    Server,
    SocketHarness,
)
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions


class Counted(Server):
    """A factory that remembers being started and stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def startFactory(self) -> None:
        """Called when the first port listens."""
        self.told.append("start")

    def stopFactory(self) -> None:
        """Called when the last one does no more."""
        self.told.append("stop")


class Raising(Server):
    """A factory with a bug."""

    def buildProtocol(self, addr: Any) -> Any:
        """Fail for the first client."""
        if not self.built:
            self.built.append(None)
            raise ZeroDivisionError("a bug of the factory")
        return super().buildProtocol(addr)


class Visits:
    """What a connect_check told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_connected(self) -> None:
        """A connection was made."""
        self.told.append("accepted")

    def on_refused(self, timed_out: bool) -> None:
        """None was made."""
        self.told.append("timed out" if timed_out else "refused")

    def on_not_tried(self) -> None:
        """There was no descriptor for it."""
        self.told.append("not tried")


class NetworkContract(HarnessTestCase):
    """Listening and connecting, and what comes of it."""

    flushLoggedErrors: Any
    fail: Any

    def dial(
        self, address: Address, timeout: float = PATIENCE, options: ConnectOptions | None = None
    ) -> tuple[Any, Client]:
        """Connect a recorder: the connector and the client factory."""
        recorder = RecordingProtocol()
        self.harness.recorders.append(recorder)
        client = Client(recorder)
        return self.harness.network.connect(address, client, timeout, options), client

    async def fails(self, client: Client, *kinds: type[Exception]) -> None:
        """Wait until the attempt has failed, for a reason of one of these kinds."""
        await self.harness.until(lambda: client.failure or client.connected, "the outcome")
        if client.failure is None:
            self.fail("connected")
        client.failure.trap(*kinds)  # type: ignore[union-attr]
        self.assertFalse(client.connected)

    async def free_address(self) -> Address:
        """An address that was listened at, and is no more; nor will be by another process, which
        may be given any port that the kernel has chosen before.
        """
        wanted = self.harness.new_address()
        if isinstance(self.harness, SocketHarness) and self.harness.tcp:
            wanted = Address(wanted.host, free_port(wanted.host))
        port = self.harness.listen(Server(), wanted)
        address: Address = port.getHost()
        await maybeDeferred(port.stopListening)
        await self.harness.settle()
        return address

    async def test_host_of_a_port(self) -> None:
        """A port tells its address, with the real number where 0 was asked for."""
        host = self.harness.listen(Server()).getHost()
        self.assertIsInstance(host, Address)
        self.assertTrue(host.port or not self.harness.tcp)

    async def test_outcome_comes_later(self) -> None:
        """connect tells its factory nothing from within itself, of success or of failure."""
        refusing, port = await self.free_address(), self.harness.listen(Server())
        for address in (refusing, port.getHost()):
            _, client = self.dial(address)
            self.assertEqual((None, False), (client.failure, client.connected))
            await self.harness.until(lambda c=client: c.failure or c.connected, "the outcome")  # type: ignore[misc]

    async def test_refused(self) -> None:
        """Nobody listens: clientConnectionFailed with a ConnectError."""
        _, client = self.dial(await self.free_address())
        await self.fails(client, ConnectError)

    async def test_failed_attempt(self) -> None:
        """What the system knows of an attempt is told once where it fails or is given up, and never
        where it succeeds.
        """
        seen: list[bool] = []

        def watch(connector: Any) -> None:
            connector.on_failure(lambda facts: seen.append(facts is not None))

        connector, client = self.dial(await self.free_address())
        watch(connector)
        await self.fails(client, ConnectError)
        known = self.harness.tcp and not isinstance(self.harness, MemoryHarness)
        self.assertIn(seen, [[known]] if self.harness.tcp else [[False], []])
        seen.clear()
        if self.harness.tcp:
            connector, client = self.dial(self.harness.unanswering())
            watch(connector)
            await self.harness.settle()
            connector.stopConnecting()
            await self.fails(client, UserError)
            self.assertEqual([known], seen)
        seen.clear()
        connector, client = self.dial(self.harness.listen(Server()).getHost())
        watch(connector)
        await self.harness.until(lambda: client.connected, "the connection")
        client.given.transport.abortConnection()
        await self.harness.until(lambda: client.given.lost, "the loss")
        self.assertEqual([], seen)

    async def test_timeout(self) -> None:
        """Nobody answers: clientConnectionFailed with TimeoutError after the timeout, once."""
        if not self.harness.tcp:
            return
        _, client = self.dial(self.harness.unanswering(), timeout=0.05)
        await self.harness.settle()
        if isinstance(self.harness, MemoryHarness):
            self.harness.network.advance(0.04)
            self.assertIsNone(client.failure)
            self.harness.network.advance(0.02)
        await self.fails(client, TimeoutError)

    async def test_connected_in_time(self) -> None:
        """The timeout is over once connected: a connection outlives it."""
        port = self.harness.listen(Server())
        # On a machine that has much to do, connecting may take longer than the shortest of these.
        for timeout in (0.01, 0.1, 1.0, 10.0):
            client = self.dial(port.getHost(), timeout=timeout)[1]
            await self.harness.until(
                lambda client=client: client.connected or client.failure,  # type: ignore[misc]
                "the outcome",
            )
            if client.connected:
                break
        await self.fires(2 * timeout)
        self.assertFalse(client.given.lost)

    async def test_stop(self) -> None:
        """A network that is stopped closes its ports, its connections, whatever they wait for, and
        gives up connecting; once that is done no timer of it is left.
        """
        harness = self.harness
        flushing, _ = await harness.pair()
        await harness.fill_buffers(flushing, harness.recorders[-1])
        flushing.transport.loseConnection()
        paused, _ = await harness.pair()
        paused.transport.pauseProducing()
        port = harness.listen(Server())
        _, connecting = self.dial(harness.unanswering() if harness.tcp else port.getHost())
        await harness.stop_network()
        await harness.until(lambda: all(each.lost for each in harness.recorders[:4]), "all ends")
        await self.fails(connecting, UserError)
        if isinstance(harness, MemoryHarness):
            self.assertEqual([], harness.network.clock.getDelayedCalls())

    async def fires(self, seconds: float) -> None:
        """Wait for a call of the network's own clock."""
        fired: list[bool] = []
        self.harness.network.clock.callLater(seconds, fired.append, True)
        if isinstance(self.harness, MemoryHarness):
            self.harness.network.advance(seconds)
        await self.harness.until(lambda: fired, "the clock")

    async def test_stopped(self) -> None:
        """stopConnecting ends an attempt: clientConnectionFailed with UserError, and nothing after
        it.
        """
        port = self.harness.listen(Server())
        connector, client = self.dial(port.getHost())
        connector.stopConnecting()
        await self.fails(client, UserError)
        await self.harness.settle()
        self.assertFalse(client.connected)

    async def test_disconnect(self) -> None:
        """The connector's disconnect ends an attempt, or closes the connection that it led to."""
        port = self.harness.listen(Server())
        connector, client = self.dial(port.getHost())
        connector.disconnect()
        await self.fails(client, UserError)
        connector, client = self.dial(port.getHost())
        await self.harness.until(lambda: client.connected, "the connection")
        connector.disconnect()
        await self.harness.until(lambda: client.given.lost, "the loss")

    async def test_destination(self) -> None:
        """The connector tells where it connects to."""
        port = self.harness.listen(Server())
        connector, client = self.dial(port.getHost())
        self.assertEqual(port.getHost(), connector.getDestination())
        await self.harness.until(lambda: client.connected, "the connection")

    async def test_turned_away(self) -> None:
        """A factory that gives no protocol closes its client, and the port goes on."""
        port = self.harness.listen(Server(None))
        _, first = self.dial(port.getHost())
        await self.harness.until(lambda: first.given.ended, "the end")
        _, second = self.dial(port.getHost())
        await self.harness.until(lambda: second.connected, "the next connection")

    async def test_client_turns_away(self) -> None:
        """A client factory that gives no protocol closes the connection."""
        server = RecordingProtocol()
        self.harness.recorders.append(server)
        port = self.harness.listen(Server(server))
        self.harness.network.connect(port.getHost(), Client(None), PATIENCE)
        await self.harness.until(lambda: server.ended, "the end")

    async def test_failing_factory(self) -> None:
        """An exception of a factory is logged and ends that client; the port goes on."""
        port = self.harness.listen(Raising())
        _, first = self.dial(port.getHost())
        await self.harness.until(lambda: first.given.ended or first.failure, "the end")
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        _, second = self.dial(port.getHost())
        await self.harness.until(lambda: second.connected, "the next connection")

    async def test_stop_listening(self) -> None:
        """A port that stopped refuses; what it accepted before lives on."""
        factory = Server()
        port = self.harness.listen(factory)
        _, client = self.dial(port.getHost())
        await self.harness.until(lambda: client.connected and factory.built, "the connection")
        address = port.getHost()
        await maybeDeferred(port.stopListening)
        _, late = self.dial(address)
        await self.fails(late, ConnectError)
        client.given.transport.write(b"still here")
        await self.receives(factory.built[0], b"still here")

    async def test_pause(self) -> None:
        """Clients of a port that is paused wait; they are served once each of those who asked for
        the pause has taken it back.
        """
        factory = Server()
        port = self.harness.listen(factory)
        port.pause_accepting()
        port.pause_accepting()
        _, client = self.dial(port.getHost())
        for _ in range(2):
            await self.harness.settle()
            self.assertEqual([], factory.built)
            port.resume_accepting()
        await self.harness.until(lambda: client.connected and factory.built, "the client")
        client.given.transport.write(b"hello")
        await self.receives(factory.built[0], b"hello")
        _, late = self.dial(port.getHost())
        await self.harness.until(lambda: late.connected and len(factory.built) > 1, "another one")

    async def test_stop_while_paused(self) -> None:
        """A port that is paused can stop, and refuses from then on."""
        port = self.harness.listen(Server())
        port.pause_accepting()
        address = port.getHost()
        await maybeDeferred(port.stopListening)
        _, late = self.dial(address)
        await self.fails(late, ConnectError)

    async def test_factory_is_started_and_stopped(self) -> None:
        """Listening starts the factory, stopping stops it, once each."""
        factory = Counted()
        port = self.harness.listen(factory)
        self.assertEqual(["start"], factory.told)
        await maybeDeferred(port.stopListening)
        self.assertEqual(["start", "stop"], factory.told)
        await maybeDeferred(port.stopListening)
        self.assertEqual(["start", "stop"], factory.told)

    async def test_knock(self) -> None:
        """A connect_check finds out each time whether an address accepts connections, and closes
        those that it makes.
        """
        factory, listener = Server(), Visits()
        port = self.harness.listen(factory)
        connect_check = self.harness.network.connect_check(port.getHost(), listener, PATIENCE)
        for count in (1, 2):
            connect_check.start()
            await self.harness.until(lambda n=count: len(listener.told) == n, "the outcome")  # type: ignore[misc]
            await self.harness.until(
                lambda n=count: len(factory.built) == n and factory.built[-1].ended,  # type: ignore[misc]
                "the end",
            )
        self.harness.recorders += factory.built
        await maybeDeferred(port.stopListening)
        await self.harness.settle()
        connect_check.start()
        await self.harness.until(lambda: len(listener.told) == 3, "the outcome")
        self.assertEqual(["accepted", "accepted", "refused"], listener.told)

    async def test_knock_in_vain(self) -> None:
        """A knock that nobody answers in time is told so once; one that was stopped is told
        nothing.
        """
        if not self.harness.tcp:
            return
        listener = Visits()
        connect_check = self.harness.network.connect_check(
            self.harness.unanswering(), listener, 0.05
        )
        connect_check.start()
        if isinstance(self.harness, MemoryHarness):
            await self.harness.settle()
            self.assertEqual([], listener.told)
        await self.fires(0.06)
        await self.harness.until(lambda: listener.told, "the outcome")
        connect_check.start()
        connect_check.stop()
        connect_check.stop()
        await self.fires(0.06)
        self.assertEqual(["timed out"], listener.told)

    async def test_many_clients(self) -> None:
        """Two hundred clients at once are all accepted, each with its own bytes."""
        factory = Server()
        port = self.harness.listen(factory)
        clients = [self.dial(port.getHost())[1].given for _ in range(200)]
        await self.harness.until(lambda: all(c.transport for c in clients), "all connections")
        for n, client in enumerate(clients):
            client.transport.write(b"%d" % n)
            client.transport.loseWriteConnection()
        await self.harness.until(
            lambda: len(factory.built) == 200 and all(s.ended for s in factory.built), "all clients"
        )
        self.harness.recorders += factory.built
        self.assertEqual(sorted(range(200)), sorted(int(s.received) for s in factory.built))

    async def test_client_that_left(self) -> None:
        """A client that connects, sends and closes at once is served all the same."""
        server = RecordingProtocol()
        client = RecordingProtocol()
        client.on_made = lambda: (
            client.transport.write(b"in haste"),
            client.transport.loseConnection(),
        )
        await self.harness.pair(client, server)
        await self.harness.until(lambda: server.ended, "the end")
        self.assertEqual(b"in haste", bytes(server.received))

    async def test_source(self) -> None:
        """A connection from a source address has that address, as the peer sees it."""
        if not self.harness.tcp or ":" in self.harness.new_address().host:
            return
        factory = Server()
        port = self.harness.listen(factory)
        _, client = self.dial(port.getHost(), options=ConnectOptions(Address("127.0.0.3")))
        await self.harness.until(lambda: client.connected and factory.built, "the connection")
        self.assertEqual("127.0.0.3", factory.built[0].transport.getPeer().host)

    async def test_source_that_is_not_ours(self) -> None:
        """A source address that this machine does not have fails the attempt with a
        ConnectBindError, later.
        """
        if not self.harness.tcp:
            return
        foreign = Address(
            "2001:db8::1" if ":" in self.harness.new_address().host else "203.0.113.7", 0
        )
        if isinstance(self.harness, MemoryHarness):
            self.harness.network.unbindable.add(foreign)
        port = self.harness.listen(Server())
        _, client = self.dial(port.getHost(), options=ConnectOptions(foreign))
        self.assertIsNone(client.failure)
        await self.fails(client, ConnectBindError)
