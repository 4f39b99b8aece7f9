"""configs/network-filters.yaml does what it says."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.harness import Client
from tcpmesh.testing.mesh import Mesh, address_of
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions

CONFIG = Path(__file__).resolve().parents[4] / "configs" / "network-filters.yaml"


class ExampleTests(SynchronousTestCase):
    """The example of docs/network-filters.md."""

    def test_who_gets_through(self) -> None:
        """Clients of this machine do, others do not, and what the next rule would do is counted."""
        mesh = Mesh(CONFIG.read_text())
        host = mesh.upstream("127.0.0.1:8080")
        closed = []
        for source in ("127.0.0.1", "127.0.0.7", "10.0.0.1"):
            client = Client(RecordingProtocol())
            options = ConnectOptions(source=Address(source))
            mesh.network.connect(address_of("127.0.0.1:10000"), client, 10.0, options)
            mesh.pump()
            client.given.transport.write(source.encode())
            mesh.pump()
            closed.append(client.given.ended)
        self.assertEqual([False, False, True], closed)
        self.assertEqual([b"127.0.0.1", b"127.0.0.7", b""], [each.received for each in host.built])
        counted = {"allowed": 2, "denied": 1, "next.shadow_denied": 1, "next.shadow_allowed": 2}
        self.assertEqual(counted, mesh.moved("front.rbac."))
