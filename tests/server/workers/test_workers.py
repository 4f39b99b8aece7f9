"""Main with several workers, over links that write bytes: each rule that holds for the whole proxy,
and what becomes of a worker that is lost.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.upstreams import Named
from tests.mesh import Mesh

HOST = "127.0.0.2:80"
OTHER = "127.0.0.3:80"


class ServingTests(SynchronousTestCase):
    """Two workers serve as one proxy."""

    def setUp(self) -> None:
        """A listener before two hosts."""
        self.mesh = Mesh(1, workers=2)
        for number, host in enumerate((HOST, OTHER)):
            self.mesh.upstream(host, Named(str(number)))
        self.mesh.add_cluster("c", HOST, OTHER)
        self.mesh.serve()

    def test_both_serve(self) -> None:
        """Each worker has its share of the clients, and is counted apart as in Envoy."""
        for _ in range(4):
            self.mesh.connect()
        stats = self.mesh.stats("listener.127.0.0.1_1.")
        self.assertEqual(
            (4, 4, 2, 2, 2, 2),
            tuple(
                stats[each]
                for each in (
                    *("downstream_cx_total", "downstream_cx_active"),
                    *("worker_0.downstream_cx_total", "worker_0.downstream_cx_active"),
                    *("worker_1.downstream_cx_total", "worker_1.downstream_cx_active"),
                )
            ),
        )
