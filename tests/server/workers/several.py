"""What tests of several workers begin with."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.upstreams import Named
from tests.mesh import Mesh

HOST = "127.0.0.2:80"
OTHER = "127.0.0.3:80"


class WorkersTestCase(SynchronousTestCase):
    """Two workers before two hosts, which say their names."""

    def setUp(self) -> None:
        """Nobody listens yet."""
        self.mesh = Mesh(1, workers=2)
        for name, host in (("a", HOST), ("b", OTHER)):
            self.mesh.upstream(host, Named(name))

    def begin(self, more: str = "", fields: str = "cluster: c") -> None:
        """A listener before both hosts."""
        self.mesh.add_cluster("c", HOST, OTHER, more=more)
        self.mesh.serve(fields)

    def connect(self, times: int = 1) -> list[Any]:
        """So many clients, which workers get by turns."""
        return [self.mesh.connect() for _ in range(times)]

    def told(self, kind: type, index: int = 0) -> list[Any]:
        """What a worker was told of this kind."""
        return [each for each in self.mesh.workers[index].told if isinstance(each, kind)]
