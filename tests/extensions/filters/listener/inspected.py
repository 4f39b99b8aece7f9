"""What tests of listener filters share: a listener with filters before a tcp_proxy, and clients."""

from __future__ import annotations

from typing import Any

from tcpmesh.connection.connection import Connection
from tests.mesh import FRONT, MeshTestCase, tcp_proxy

HOST = "127.0.0.2:80"


class ListenerFilterTestCase(MeshTestCase):
    """A test of a listener filter on a network in memory."""

    def setUp(self) -> None:
        """A host."""
        super().setUp()
        self.mesh.add_cluster("c", HOST)
        self.upstream = self.mesh.upstream(HOST)

    def serve_filter(
        self, kind: str, fields: str = "", more: str = "", before: str = "", address: str = FRONT
    ) -> None:
        """A listener whose filter, of the type at this URL, has these fields.

        :param more: further fields of the listener.
        :param before: filters that go before, each with a comma after it.
        """
        config = f"{{name: f, typed_config: {{'@type': {kind}, {fields}}}}}"
        filters = f"listener_filters: [{before}{config}]"
        self.mesh.add_listener("l", address, tcp_proxy(), f"{filters}\n{more}")
        self.mesh.listeners.start()

    def send(self, *pieces: bytes, address: str = FRONT) -> Any:
        """A client that sends these bytes; all has happened then."""
        client = self.mesh.connect(address)
        for piece in pieces:
            client.transport.write(piece)
            self.mesh.pump()
        return client

    @property
    def connection(self) -> Connection:
        """What is known of the last client."""
        return self.mesh.connections[-1]
