"""A client and a server with a relay between them, on any harness."""

from __future__ import annotations

from typing import Any

from tcpmesh.connection.relay import Direction, Relay
from tcpmesh.testing.harness import PATIENCE, Client, HarnessTestCase, Server
from tcpmesh.testing.recording import OneWayRecordingProtocol, RecordingProtocol


def spliced_network(reactor: Any) -> Any:
    """An epoll network that reads 512 bytes at once, so that almost any traffic fills its reads, is
    bulk, and goes by pipes.
    """
    from tcpmesh.net.epoll.network import EpollNetwork

    return EpollNetwork(reactor, read_size=512)


def spliced_uring_network(reactor: Any) -> Any:
    """The same on io_uring."""
    from tcpmesh.net.uring.network import UringNetwork

    return UringNetwork(reactor, read_size=512)


class Front(RecordingProtocol):
    """Holds a client, connects to the server and relays: a tcp_proxy of twenty lines, and an
    observer that writes down.
    """

    def __init__(self, harness: Any, server: Any, flush_timeout: float, mark: int) -> None:
        super().__init__()
        self.harness = harness
        self.server = server
        self.mark = mark
        self.flush_timeout = flush_timeout
        self.relay: Relay
        self.told: list[str] = []
        """What the observer was told: "started", "down lost", "up lost", "finished", "idle"."""
        self.counts: dict[str, int] = {}
        """The relay's counters at its end."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.high_watermark = self.mark
        self.transport.pauseProducing()
        self.relay = Relay(self.transport, self.harness.network.timers, self, self.flush_timeout)
        self.harness.network.connect(self.server, Client(self.relay.from_upstream), PATIENCE)

    def relay_started(self, relay: Relay) -> None:
        self.told.append("started")
        relay.from_upstream.source.high_watermark = self.mark

    def relay_lost(self, relay: Relay, direction: Direction) -> None:
        self.told.append("down lost" if direction is relay.from_downstream else "up lost")

    def relay_finished(self, relay: Relay) -> None:
        self.told.append("finished")
        for name, direction in (("down", relay.from_downstream), ("up", relay.from_upstream)):
            self.counts |= {
                f"{name} bytes": direction.bytes,
                f"{name} written": direction.written,
                f"{name} paused": direction.pauses,
                f"{name} resumed": direction.resumes,
            }

    def relay_idle(self, relay: Relay) -> None:
        self.told.append("idle")
        relay.close()

    @property
    def finished(self) -> bool:
        """True once the relay has said that it is over."""
        return "finished" in self.told


class OnRelay(HarnessTestCase):
    """The base of suites about a relay."""

    front: Front
    client: Any

    async def relayed(
        self,
        client: Any = None,
        server: Any = None,
        flush_timeout: float = 60.0,
        mark: int = 65536,
        wait: bool = True,
        backend: str = "",
    ) -> tuple[Any, Any]:
        """A client and a server, recorders if not given, that are connected by a relay; its `Front`
        is `self.front`.

        `backend`: the family of the server's address, where it is another than the harness's own.
        """
        client, server = client or RecordingProtocol(), server or RecordingProtocol()
        self.harness.recorders += [
            w for w in (client, server) if isinstance(w, OneWayRecordingProtocol)
        ]
        upstream = self.harness.listen(Server(server), self.harness.new_address(backend))
        self.front = Front(self.harness, upstream.getHost(), flush_timeout, mark)
        self.client = client
        frontend = self.harness.listen(Server(self.front))
        factory = Client(client)
        self.harness.network.connect(frontend.getHost(), factory, PATIENCE)
        if wait:
            await self.harness.until(
                lambda: client.transport and server.transport and self.front.told,
                "a relayed connection",
            )
        return client, server

    async def fill_buffers(self, near: Any, far: Any) -> int:
        """Let `far` stop reading, and `near` write until the relay has paused it, for the kernel
        takes no more; how many bytes it wrote.

        That `near` is not read for a moment is no proof: what leads from the relay to `far` may
        take more only now, and then the relay holds nothing.
        """
        relay = self.front.relay
        direction = relay.from_downstream if near is self.client else relay.from_upstream
        return await self.harness.fill_buffers(near, far, lambda: direction.full)

    async def over(self, *recorders: OneWayRecordingProtocol) -> None:
        """Wait until the relay has finished and the recorders have lost their connections."""
        await self.harness.until(
            lambda: self.front.finished and all(w.lost for w in recorders), "the end of the relay"
        )
        await self.harness.settle()
        self.assertEqual(
            ["down lost", "finished", "started", "up lost"], sorted(set(self.front.told) - {"idle"})
        )
        self.assertTrue(len(self.front.told) <= 5, self.front.told)
        self.assertEqual(("started", "finished"), (self.front.told[0], self.front.told[-1]))

    async def tearDown(self) -> None:  # type: ignore[override]
        """A relay that a test left open ends with it."""
        front = getattr(self, "front", None)
        if (
            front is not None
            and front.transport is not None
            and not front.finished
            and "started" in front.told
        ):
            front.relay.close()
            await self.harness.until(lambda: front.finished, "the end of a relay that was closed")
        await super().tearDown()
