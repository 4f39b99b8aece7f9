"""Clients that go on in another proxy: two in one process, on real sockets, as two processes would
be.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any
from unittest import skipUnless

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.core.v3.base_pb2 import Node
from envoy.extensions.resource_monitors.fixed_heap.v3.fixed_heap_pb2 import FixedHeapConfig

from twisted.internet import reactor
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import TestCase

from tcpmesh.extensions.filters.network.tcp_proxy import moving as filter_moving
from tcpmesh.extensions.filters.network.tcp_proxy.attempts import WAITING
from tcpmesh.listener import moving
from tcpmesh.server.assembly import assemble
from tcpmesh.server.workers.no_network import NoNetwork
from tcpmesh.stats.store import Store
from tcpmesh.testing.access_logs import MemoryAccessLogs
from tcpmesh.testing.harness import Client, HarnessTestCase, Server, SocketHarness, pattern
from tcpmesh.testing.mesh import values_of
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.link import FailHealthChecks, OverloadLevels
from tcpmesh.values.stream.moved import NOT_YET, PASSING, TOO_MUCH
from tests.mesh import cluster_message, listener_message, tcp_proxy

LOG = (
    "access_log: [{name: a, typed_config: {'@type': "
    "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: log, "
    "log_format: {text_format: '%CONNECTION_ID% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_HOST% "
    "%RESPONSE_FLAGS%'}}}]"
)
DATA_POINT = "envoy.load_shed_points.tcp_proxy_on_data"


def overloadable() -> Bootstrap:
    """A bootstrap in which what clients send may be shed."""
    message = Bootstrap()
    manager = message.overload_manager
    monitor = manager.resource_monitors.add(name="r")
    monitor.typed_config.Pack(FixedHeapConfig(max_heap_size_bytes=1 << 60))
    trigger = manager.loadshed_points.add(name=DATA_POINT).triggers.add(name="r")
    trigger.threshold.value = 0.5
    return message


class Proxy:
    """One of the two."""

    def __init__(self, clock: Any, listener: Any, *clusters: Any, begin: Any) -> None:
        from tcpmesh.net.epoll.network import EpollNetwork

        message = Bootstrap.FromString(begin.SerializeToString())
        message.static_resources.listeners.append(listener)
        message.static_resources.clusters.extend(clusters)
        self.store = Store()
        self.logs = MemoryAccessLogs()
        self.network = EpollNetwork(clock)
        self.proxy = assemble(
            message,
            Node(),
            self.network,
            self.store,
            make_access_logs=lambda *args: self.logs,
        )
        self.main, self.listeners = self.proxy.main, self.proxy.worker.listeners

    async def start(self) -> None:
        """Accept clients."""
        self.main.build()
        await self.main.initialize()
        self.main.start_workers()

    async def stop(self) -> None:
        """End all."""
        await self.main.stop()
        await self.network.stop()

    @property
    def address(self) -> Any:
        """Where its clients come in."""
        (entry,) = self.main.listeners._listeners.values()
        return entry.addresses[0]

    def add_or_update_listener(self) -> None:
        """Replace the listener by another one of its name."""
        (entry,) = self.main.listeners._listeners.values()
        message = type(entry.message).FromString(entry.message.SerializeToString())
        message.per_connection_buffer_limit_bytes.value = 99999
        self.main.listeners.add_or_update(message)

    def stat(self, name: str) -> int:
        """A number."""
        return values_of(self.store)[name]

    def open(self) -> dict[str, int]:
        """All that says how many are open."""
        values = values_of(self.store)
        names = (
            "listener.l.downstream_cx_active",
            "listener.l.worker_0.downstream_cx_active",
            "cluster.c.upstream_cx_active",
            "cluster.c.upstream_rq_active",
        )
        return {name: values[name] for name in names}


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class MovingTests(HarnessTestCase, TestCase):
    """A client of the first proxy, whose host is a recorder."""

    def make_harness(self) -> SocketHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, "tcp4")

    async def begin(self, fields: str = "", new: Any = None, bootstrap: Any = None) -> None:
        """Start both, and connect the client.

        :param fields: of the tcp_proxy of both.
        :param new: makes the listener and clusters of the second, where they are others.
        :param bootstrap: of both, without these.
        """
        self.server = RecordingProtocol()
        self.client = RecordingProtocol()
        self.harness.recorders += [self.server, self.client]
        self.host = self.harness.listen(Server(self.server)).getHost()
        clock = self.harness.network.clock
        filters = tcp_proxy(f"cluster: c, {fields}" if fields else "cluster: c")
        listener = listener_message("l", "127.0.0.1:0", filters, "stat_prefix: l")
        cluster = cluster_message("c", [str(self.host)])
        self.old = Proxy(clock, listener, cluster, begin=bootstrap or Bootstrap())
        listener, *clusters = new(listener, cluster) if new is not None else (listener, cluster)
        self.new = Proxy(clock, listener, *clusters, begin=bootstrap or Bootstrap())
        for each in (self.old, self.new):
            self.addCleanup(each.stop)
            await each.start()
        self.harness.network.connect(self.old.address, Client(self.client), 10.0)
        await self.harness.until(lambda: self.server.transport, "a relayed connection")
        await self.harness.until(lambda: self.old.stat("cluster.c.upstream_rq_active") == 1, "it")

    def why_stays(self) -> str:
        """Why the client cannot leave."""
        (found,) = self.old.listeners.candidates()
        return found.why_stays

    def move(self) -> str:
        """Let it go; why it could not come."""
        self.assertEqual("", self.why_stays())
        (found,) = self.old.listeners.candidates()
        self.moved, descriptors = found.mover.leave(found.client)
        refused = self.new.listeners.arrive(self.moved, descriptors)
        if refused:
            for each in descriptors:
                os.close(each)
        return refused

    async def exchange(self, times: int) -> None:
        """A word each way, so many times in all by now."""
        self.client.transport.write(b"ask")
        await self.receives(self.server, b"ask" * times)
        self.server.transport.write(b"answer")
        await self.receives(self.client, b"answer" * times)

    async def test_goes_on(self) -> None:
        """Bytes go on both ways, and what says how many are open says so where the client is; what
        counts those that came, were connected or have ended says nothing of the move.
        """
        await self.begin()
        await self.exchange(1)
        nothing = dict.fromkeys(self.new.open(), 0)
        self.assertEqual((dict.fromkeys(nothing, 1), nothing), (self.old.open(), self.new.open()))
        self.assertEqual("", self.move())
        self.assertEqual((nothing, dict.fromkeys(nothing, 1)), (self.old.open(), self.new.open()))
        await self.exchange(2)
        for proxy, total in ((self.old, 1), (self.new, 0)):
            for name in ("listener.l.downstream_cx_total", "cluster.c.upstream_cx_total"):
                self.assertEqual(total, proxy.stat(name), name)
            self.assertEqual(0, proxy.stat("listener.l.downstream_cx_destroy"))
            self.assertEqual(3, proxy.stat("tcp.t.downstream_cx_rx_bytes_total"))
            self.assertEqual(6, proxy.stat("tcp.t.downstream_cx_tx_bytes_total"))
        self.client.transport.loseConnection()
        self.server.transport.loseConnection()
        await self.harness.until(lambda: self.new.open() == nothing, "its end")
        self.assertEqual(1, self.new.stat("listener.l.downstream_cx_destroy"))
        self.assertEqual(1, self.new.stat("cluster.c.upstream_cx_destroy"))

    async def test_log(self) -> None:
        """It has one record in access logs, where it has ended, of its whole life."""
        await self.begin(fields=LOG)
        await self.exchange(1)
        self.move()
        await self.exchange(2)
        self.client.transport.abortConnection()
        await self.harness.until(lambda: self.server.lost, "its end")
        self.assertTrue(self.server.lost_to(ConnectionLost))
        self.assertEqual([], self.old.logs.files["log"].records)
        (line,) = self.new.logs.files["log"].records
        self.assertEqual(f"{self.moved.id} 6 12 {self.host} -", line.strip())

    async def test_stalled(self) -> None:
        """What waits for a host that does not read arrives whole."""
        await self.begin()
        self.server.transport.pauseProducing()
        size = 8 << 20
        self.client.transport.write(pattern(0, size))
        await self.harness.until(
            lambda: self.old.stat("cluster.c.upstream_cx_tx_bytes_buffered"), "bytes that wait"
        )
        self.move()
        self.server.transport.resumeProducing()
        await self.receives(self.server, pattern(0, size))

    async def test_client_gone(self) -> None:
        """One that has gone, and whose last bytes wait for a host that does not read, stays, and
        its process with it: they arrive whole.
        """
        await self.begin()
        self.server.transport.pauseProducing()
        written = 0
        while not self.old.stat("cluster.c.upstream_cx_tx_bytes_buffered"):
            self.client.transport.write(pattern(written, 1 << 18))
            written += 1 << 18
            await self.harness.until(
                lambda: self.old.stat("tcp.t.downstream_cx_rx_bytes_total") == written,  # noqa: B023
                "what was written",
            )
        self.client.transport.abortConnection()
        await self.harness.until(lambda: self.old.listeners.connections == 0, "its end")
        self.assertEqual(moving.FLUSHES, self.why_stays())
        self.assertEqual(1, self.old.main.connections)
        self.old.main.listeners.remove("l")
        self.assertEqual(1, self.old.main.connections)
        self.server.transport.resumeProducing()
        await self.receives(self.server, pattern(0, written))
        await self.harness.until(lambda: self.server.lost, "the end of all")
        self.assertEqual(0, self.old.main.connections)

    async def test_timers(self) -> None:
        """What is left of its time is left."""
        await self.begin(fields="max_downstream_connection_duration: 1000s, idle_timeout: 0.2s")
        self.move()
        expires = self.moved.expires_in
        assert expires is not None
        self.assertTrue(990 < expires <= 1000, expires)
        await self.harness.until(lambda: self.client.ended, "the end of the idle timeout")
        self.assertEqual(1, self.new.stat("tcp.t.idle_timeout"))

    async def test_on_its_way(self) -> None:
        """The time for which it is on its way is part of its age, and of what it has left."""
        await self.begin(fields="max_downstream_connection_duration: 1000s")
        (old,) = self.old.listeners.candidates()
        upstream, started = old.client.stream_info.upstream, old.client.stream_info.started
        moved, descriptors = old.mover.leave(old.client)
        late = replace(moved, left=moved.left - 30)
        self.assertEqual("", self.new.listeners.arrive(late, descriptors))
        (new,) = self.new.listeners.candidates()
        info = new.client.stream_info
        self.assertAlmostEqual(started - 30, info.started, places=-1)
        self.assertAlmostEqual(upstream.connect_ended - 30, info.upstream.connect_ended, places=-1)
        self.assertAlmostEqual(started + 970, new.client._expiry.getTime(), places=-1)

    async def test_expires(self) -> None:
        """Its maximum duration ends it where it has gone."""
        await self.begin(fields="max_downstream_connection_duration: 0.3s")
        self.move()
        await self.harness.until(lambda: self.client.ended, "the end of its duration")
        self.assertEqual(1, self.new.stat("tcp.t.max_downstream_connection_duration"))

    async def test_refused(self) -> None:
        """Where there is no such listener, chain, cluster or host it is told why, and it can go on
        where it was.
        """

        def renamed(listener: Any, cluster: Any) -> tuple[Any, Any]:
            listener = type(listener).FromString(listener.SerializeToString())
            listener.name = "other"
            return listener, cluster

        def chained(listener: Any, cluster: Any) -> tuple[Any, Any]:
            listener = type(listener).FromString(listener.SerializeToString())
            listener.filter_chains[0].name = "x"
            return listener, cluster

        def no_cluster(listener: Any, cluster: Any) -> tuple[Any, Any]:
            cluster = type(cluster).FromString(cluster.SerializeToString())
            cluster.name = "other"
            return listener, cluster

        def no_host(listener: Any, cluster: Any) -> tuple[Any, Any]:
            return listener, cluster_message("c", ["127.0.0.9:9"])

        for new, why in (
            (renamed, "there is no listener l"),
            (chained, "listener l has no such filter chain for it"),
            (no_cluster, "there is no cluster c"),
            (no_host, "cluster c has no host {}"),
        ):
            await self.begin(new=new)
            (found,) = self.old.listeners.candidates()
            chain = found.chain
            assert chain is not None
            moved, descriptors = found.mover.leave(found.client)
            self.assertEqual(why.format(self.host), self.new.listeners.why_not(moved))
            self.assertEqual(why.format(self.host), self.new.listeners.arrive(moved, descriptors))
            self.assertEqual("", self.old.listeners.come_back(chain, moved, descriptors))
            await self.exchange(1)
            self.assertEqual(1, self.old.stat("listener.l.downstream_cx_active"))

    async def test_stays(self) -> None:
        """One for which another filter has left something stays, and one that is being closed."""
        await self.begin()
        (found,) = self.old.listeners.candidates()
        info = found.client.stream_info
        info.metadata = {"a": {}}
        self.assertEqual("filters have left something with it", self.why_stays())
        del info.metadata
        info.metadata = type(info)().metadata
        self.assertEqual("", self.why_stays())
        found.client.relay.from_downstream.source.loseConnection()
        self.assertEqual(
            "it is being closed, or a side of it is no connection of the system's", self.why_stays()
        )

    async def test_replaced(self) -> None:
        """A client of what was replaced or removed stays, as it is served by what was before."""
        for change, why in (
            (lambda old: old.add_or_update_listener(), moving.REPLACED),
            (lambda old: old.main.clusters.remove("c"), "its cluster was replaced or removed"),
        ):
            await self.begin()
            change(self.old)
            self.assertEqual(why, self.why_stays())

    async def test_too_much(self) -> None:
        """One of which too much waits stays until that has gone."""
        self.patch(filter_moving, "MOST_ON_THE_WAY", 100)
        await self.begin()
        self.server.transport.pauseProducing()
        self.client.transport.write(pattern(0, 8 << 20))
        await self.harness.until(
            lambda: self.old.stat("cluster.c.upstream_cx_tx_bytes_buffered"), "bytes that wait"
        )
        self.assertEqual(TOO_MUCH, self.why_stays())
        self.server.transport.resumeProducing()
        await self.receives(self.server, pattern(0, 8 << 20))
        self.assertEqual("", self.why_stays())

    async def test_not_yet(self) -> None:
        """One that is not connected to a host stays for now."""
        await self.begin()
        (found,) = self.old.listeners.candidates()
        found.client._state, state = WAITING, found.client._state
        self.assertEqual(NOT_YET, self.why_stays())
        self.assertIn(NOT_YET, PASSING)
        found.client._state = state

    async def test_sheds(self) -> None:
        """Where what clients send may be shed it is asked for that, also where load is high when it
        comes.
        """
        await self.begin(bootstrap=overloadable())
        self.new.proxy.worker.receive(OverloadLevels(((DATA_POINT, 1.0),)))
        self.move()
        self.client.transport.write(b"a")
        await self.harness.until(lambda: self.client.ended, "its end")
        self.assertEqual(1, self.new.stat("tcp.t.downstream_cx_overload_close"))

    async def test_drains(self) -> None:
        """Where its listener drains when it comes it is closed when it carries bytes."""
        await self.begin(fields="check_drain_close: true")
        self.new.proxy.worker.receive(FailHealthChecks(True))
        self.move()
        self.client.transport.write(b"a")
        await self.harness.until(lambda: self.client.ended, "its end")
        self.assertEqual(1, self.new.stat("tcp.t.downstream_cx_drain_close"))

    async def test_other_transports(self) -> None:
        """A proxy with transports of another kind takes nobody."""
        await self.begin()
        (found,) = self.old.listeners.candidates()
        chain = found.chain
        assert chain is not None
        moved, descriptors = found.mover.leave(found.client)
        worker = self.new.proxy.worker
        context = replace(worker.context, network=NoNetwork())
        self.assertEqual(moving.OTHER_TRANSPORTS, moving.why_not([], context, moved))
        self.assertEqual("", self.old.listeners.come_back(chain, moved, descriptors))
        await self.exchange(1)
