"""The two things that are measured: the transports with a bare relay, and all of tcpmesh that a
connection passes through.
"""

from __future__ import annotations

import os
import select
import socket
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.testing import MemoryReactorClock

from benchmarks.backends import Backends
from benchmarks.micro.sockets import MESSAGE, connected, expect, listening
from benchmarks.micro.stopwatch import Stopwatch
from benchmarks.proxies import Route, envoy_configuration
from benchmarks.proxies.route import FILTERING, UNENCRYPTED
from tcpmesh.config.load import load
from tcpmesh.connection.relay import Direction, Relay
from tcpmesh.server.assembly import assemble
from tcpmesh.server.networks import default_network
from tcpmesh.stats.store import Store
from tcpmesh.values.address import Address


class StandingReactor(MemoryReactorClock):
    """A reactor whose clock stands still, and is a function in C as that of the product is: in
    Python, as that of tests, it would be a call eight times for each connection.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = repeat(0.0).__next__  # type: ignore[method-assign]


class Proxy:
    """A proxy inside this process, on a reactor that does only what it is told, with the transports
    that the environment variable TCPMESH_TRANSPORT names.

    :ivar server: the listening socket of the one backend.
    :ivar address: where clients connect to.
    """

    address: tuple[str, int]

    def __init__(self) -> None:
        self.reactor = StandingReactor()
        self.network: Any = default_network(self.reactor)
        self.server = listening()

    def serve(self) -> None:
        """One turn of the reactor."""
        self.network.poller.doRead()
        self.reactor.advance(0)

    def idle(self) -> bool:
        """Whether a reactor would go to sleep now."""
        due = any(
            call.getTime() <= self.reactor.seconds() for call in self.reactor.getDelayedCalls()
        )
        return not due and not select.select([self.network.poller], [], [], 0)[0]

    def stop(self) -> None:
        """Close the sockets that are no connections."""
        self.server.close()
        self.network.stop()


class BareProxy(Proxy):
    """A listener that relays to one server: the least that the transports and the relay can do
    together.

    It is the factory of its listener and the observer of its relays.
    """

    def __init__(self) -> None:
        super().__init__()
        front = listening()
        front.setblocking(False)
        self.address = front.getsockname()
        self.upstream = Address.from_sockaddr(socket.AF_INET, self.server.getsockname())
        self._port = self.network.listen(front, self)

    def stop(self) -> None:
        """Close the listener too."""
        self._port.stopListening()
        super().stop()

    def doStart(self) -> None:
        """The port is open."""

    def doStop(self) -> None:
        """The port is closed."""

    def buildProtocol(self, peer: object) -> Downstream:
        """A client is there."""
        return Downstream(self)

    def relay_started(self, relay: Relay) -> None:
        """Both sides are connected."""

    def relay_lost(self, relay: Relay, direction: Direction) -> None:
        """One side is closed."""

    def relay_idle(self, relay: Relay) -> None:
        """Never: no relay is watched."""

    def relay_finished(self, relay: Relay) -> None:
        """Both sides are closed."""


class Downstream:
    """The first protocol of a client: it dials and hands over to a relay."""

    __slots__ = ("_proxy", "_relay")

    def __init__(self, proxy: BareProxy) -> None:
        self._proxy = proxy

    def makeConnection(self, transport: Any) -> None:
        """Dial."""
        transport.pauseProducing()
        self._relay = Relay(transport, self._proxy.network.timers, self._proxy)
        self._proxy.network.connect(self._proxy.upstream, self, 5.0)

    def buildProtocol(self, address: object) -> Direction:
        """The server answered."""
        return self._relay.from_upstream

    def connectionLost(self, reason: object) -> None:
        """The client left before its relay began."""


class ProductProxy(Proxy):
    """What `twistd tcpmesh` runs for the benchmark's bootstrap: listener, tcp_proxy, cluster,
    statistics, limits and timers.

    :param listener: which of the bootstrap's: `text` and `json` also log each connection,
        `chain` has filters.
    """

    def __init__(self, listener: str = "bulk") -> None:
        super().__init__()
        port = self.server.getsockname()[1]
        self._folder = TemporaryDirectory(prefix="tcpmesh-micro-")
        stem = Path(self._folder.name) / "log"
        ports = dict.fromkeys((*UNENCRYPTED, *FILTERING), 0)
        text = envoy_configuration(Route(ports, Backends((port, port), port)), stem)
        bootstrap = load(config_yaml=text).bootstrap
        self._main, _ = assemble(bootstrap, bootstrap.node, self.network, Store())
        self._main.build()
        self._main.start_workers()
        bound = {each.name: each.addresses[0] for each in self._main.listener_statuses()}
        host, _, number = bound[listener].rpartition(":")
        self.address = (host, int(number))

    def stop(self) -> None:
        """Close the listeners and the logs too."""
        self._main.stop()
        super().stop()
        self._folder.cleanup()


@dataclass
class Mesh:
    """A proxy with relayed connections: client `n` talks to server `n`."""

    proxy: Proxy
    clients: list[socket.socket] = field(default_factory=list)
    servers: list[socket.socket] = field(default_factory=list)

    def open(self, count: int, watch: Stopwatch) -> None:
        """Connect so many clients, served in one batch; each has sent a message, which has
        arrived.
        """
        expected = len(self.servers) + count
        fresh = [connected(self.proxy.address) for _ in range(count)]
        for client in fresh:
            client.send(MESSAGE)
        while len(self.servers) < expected:
            watch.measure(self.proxy.serve)
            while len(self.servers) < expected and select.select([self.proxy.server], [], [], 0)[0]:
                self.servers.append(self.proxy.server.accept()[0])
        self._settle(watch)
        self.clients += fresh
        for server in self.servers[-count:]:
            expect(server)

    def close(self, watch: Stopwatch) -> None:
        """Clients leave, servers follow, and the proxy has closed its side of both.

        :raise RuntimeError: it holds descriptors of closed connections.
        """
        before, count = _descriptors(), len(self.clients)
        for side in (self.clients, self.servers):
            for sock in side:
                sock.close()
            side.clear()
            self._settle(watch)
        if _descriptors() != before - 4 * count:
            raise RuntimeError("not all connections were closed")

    def _settle(self, watch: Stopwatch) -> None:
        while not self.proxy.idle():
            watch.measure(self.proxy.serve)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
