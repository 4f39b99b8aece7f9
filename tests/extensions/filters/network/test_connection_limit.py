"""connection_limit: how many clients a chain has at a time."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2

from tests.mesh import FRONT, Mesh, MeshTestCase, tcp_proxy

FILTER = f"type.googleapis.com/{connection_limit_pb2.ConnectionLimit.DESCRIPTOR.full_name}"
HOST = "127.0.0.2:80"
OTHER = "127.0.0.1:2"
FILTERS = (
    f'[{{name: l, typed_config: {{"@type": {FILTER}, stat_prefix: p, max_connections: 1}}}}, '
    f"{tcp_proxy()[1:-1]}]"
)


class LimitTests(MeshTestCase):
    """Clients of a chain with a limit of one."""

    def begin(self, more: str = "") -> None:
        """Serve with a connection limit of one, and these fields."""
        self.backend = self.mesh.upstream(HOST)
        self.mesh.add_cluster("c", HOST)
        limit = (
            f'{{name: l, typed_config: {{"@type": {FILTER}, stat_prefix: p, '
            f"max_connections: 1, {more}}}}}"
        )
        self.mesh.add_listener("l", FRONT, f"[{limit}, {tcp_proxy()[1:-1]}]")
        self.mesh.listeners.start()

    def counted(self) -> dict[str, int]:
        """The statistics of the filter."""
        return self.mesh.stats("connection_limit.p.")

    def leave(self, client: Any) -> None:
        """The client closes, and so does its upstream."""
        client.transport.loseConnection()
        self.mesh.network.pump()
        for server in self.backend.built:
            server.transport.loseConnection()
        self.mesh.network.pump()

    def test_names(self) -> None:
        """Both statistics are there from the start."""
        self.begin()
        self.assertEqual(self.counted(), {"active_connections": 0, "limited_connections": 0})

    def test_one_too_many(self) -> None:
        """A client too many is closed, and gets no upstream; who leaves makes room."""
        self.begin()
        first, second = self.mesh.connect(), self.mesh.connect()
        self.assertEqual((first.ended, second.ended, len(self.backend.built)), (False, True, 1))
        self.leave(second)
        self.leave(first)
        self.assertEqual(self.counted(), {"active_connections": 0, "limited_connections": 1})
        self.assertFalse(self.mesh.connect().ended)
        self.assertEqual(self.counted()["active_connections"], 1)

    def test_delay(self) -> None:
        """With a delay it is held that long, counted as active meanwhile, and what it says goes
        nowhere.
        """
        self.begin("delay: 2s")
        self.mesh.connect()
        second = self.mesh.connect()
        second.transport.write(b"x")
        self.mesh.advance(1.9)
        self.assertEqual((second.ended, self.counted()["active_connections"]), (False, 2))
        self.mesh.advance(0.2)
        self.assertEqual((second.ended, len(self.backend.built)), (True, 1))
        second.transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual(self.counted(), {"active_connections": 1, "limited_connections": 1})

    def test_leaves_during_the_delay(self) -> None:
        """One that resets during the delay counts until its end: it is not read, as nobody is
        before the upstream is connected.
        """
        self.begin("delay: 2s")
        self.mesh.connect()
        self.mesh.connect().transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(self.counted(), {"active_connections": 2, "limited_connections": 1})
        self.mesh.advance(3)
        self.assertEqual(self.counted(), {"active_connections": 1, "limited_connections": 1})
        self.assertEqual(self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"), 1)

    def test_disabled(self) -> None:
        """Where it is disabled nobody is closed or counted."""
        self.begin("runtime_enabled: {default_value: false, runtime_key: k}")
        self.assertEqual([self.mesh.connect().ended for _ in range(3)], [False] * 3)
        self.leave(self.mesh.connect())
        self.assertEqual(self.counted(), {"active_connections": 0, "limited_connections": 0})

    def test_gone_with_the_last_client(self) -> None:
        """The statistics of a listener that was removed stay until its last client has left."""
        self.begin()
        client = self.mesh.connect()
        self.mesh.listeners.remove("l")
        self.assertEqual(self.counted()["active_connections"], 1)
        self.leave(client)
        self.assertEqual(self.counted(), {})


class SeveralWorkersTests(MeshTestCase):
    """A limit holds for all workers together."""

    def test_limit_of_all(self) -> None:
        """A client that another worker has counts, until it leaves there; two listeners with one
        stat_prefix count apart.
        """
        mesh = Mesh(1, workers=2)
        mesh.upstream(HOST)
        mesh.add_cluster("c", HOST)
        mesh.add_listener("l", FRONT, FILTERS)
        mesh.add_listener("m", OTHER, FILTERS)
        mesh.listeners.start()

        first, second = mesh.connect(), mesh.connect()
        self.assertEqual((False, True), (first.ended, second.ended))
        self.assertFalse(mesh.connect(OTHER).ended)
        first.transport.abortConnection()
        mesh.pump()
        self.assertEqual([False, True], [mesh.connect().ended for _ in range(2)])
