"""The microbenchmark's proxies inside the process."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.micro import calls, costs
from benchmarks.micro.mesh import BareProxy, Mesh, ProductProxy, Proxy
from benchmarks.micro.stopwatch import Stopwatch


class MeshTests(SynchronousTestCase):
    """Connections through the epoll transports on a reactor that stands still."""

    def check(self, proxy: Proxy) -> None:
        """Open connections in two batches, pass messages on both ways, close all."""
        self.addCleanup(proxy.stop)
        mesh, watch = Mesh(proxy), Stopwatch()
        mesh.open(3, watch)
        mesh.open(2, watch)
        costs.exchange(mesh.clients, mesh.servers, watch, proxy.serve)
        mesh.close(watch)

        self.assertEqual(([], []), (mesh.clients, mesh.servers))

    def test_relay_only(self) -> None:
        """The bare relay passes messages on and closes all that it opened."""
        self.check(BareProxy())

    def test_product(self) -> None:
        """So does all of tcpmesh, with the bootstrap that the benchmark gives to it and to
        Envoy.
        """
        self.check(ProductProxy())

    def test_no_garbage(self) -> None:
        """A connection through all of tcpmesh leaves nothing to the garbage collector."""
        self.assertEqual(0, costs.garbage(ProductProxy))


class CallsTests(SynchronousTestCase):
    """What nobody would notice in microseconds: functions that are called for each unit of work.

    Whoever has to raise a figure here has made each connection of everybody dearer, and says in the
    commit what for; whoever can, lowers it.
    """

    def test_message(self) -> None:
        """A message that is passed on is one call of the poller, of its transport, and no more."""
        self.assertLessEqual(calls.total(calls.of_message()), 1.5)

    def test_connection(self) -> None:
        """A connection, from accept to close of both sides, calls so many functions beside those of
        the sockets.
        """
        found = calls.of_connection()

        self.assertLessEqual(calls.total(found, but_for="net"), 62, calls.table(found))
        self.assertLessEqual(calls.by_room(found)["net"], 60, calls.table(found))
