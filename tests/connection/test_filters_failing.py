"""Network filters that raise: each harms its own connection alone."""

from __future__ import annotations

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.filter_status import FilterStatus
from tests.mesh import FRONT, MeshTestCase, tcp_proxy

HOST = "127.0.0.2:80"
FILTERS = (
    '[{name: f, typed_config: {"@type": type.googleapis.com/google.protobuf.FieldMask, '
    "value: '%s'}}, %s]"
)


class Trouble(BaseException):
    """What it raises: not even an `Exception`, as what `sys.exit` raises is none."""


@extension(FieldMask)
class Raising(ReadFilter):
    """Raises at these events."""

    sees_data = True

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._when = tuple(message.paths)

    def _event(self, name: str) -> None:
        if name in self._when:
            raise Trouble(name)

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        self._event("new")
        return FilterStatus.CONTINUE

    def on_data(self, manager: FilterManager, data: bytes, end: bool) -> FilterStatus:
        if data == b"bad":
            if "closed" in self._when:
                manager.close("by itself")
            self._event("data")
        return FilterStatus.CONTINUE

    def on_connection_lost(self, manager: FilterManager) -> None:
        self._event("lost")


class RaisingTests(MeshTestCase):
    """A chain with such a filter."""

    def begin(self, when: str) -> None:
        """One that raises then."""
        self.host = self.mesh.upstream(HOST)
        self.mesh.add_cluster("c", HOST)
        self.mesh.add_listener("l", FRONT, FILTERS % (when, tcp_proxy()[1:-1]))
        self.mesh.listeners.start()

    def say(self, client: Any, data: bytes) -> None:
        """A client sends something."""
        client.transport.write(data)
        self.mesh.pump()

    def failed(self) -> int:
        """How often a filter has."""
        self.assertEqual(len(self.flushLoggedErrors(Trouble)), self.counted())
        return self.counted()

    def counted(self) -> int:
        """What the listener has counted of that."""
        name = "listener.127.0.0.1_1.downstream_network_filter_error"
        return self.mesh.stats().get(name, 0)

    def reason(self, number: int) -> str:
        """Why a client was closed."""
        return self.mesh.connections[number].stream_info.local_close_reason

    def test_new_connection(self) -> None:
        """One that raises when a connection is new closes it, and no upstream is connected to."""
        self.begin("new")
        self.assertTrue(self.mesh.connect().ended)
        self.assertEqual((1, "network_filter_failed"), (self.failed(), self.reason(0)))
        self.assertEqual([], self.host.built)

    def test_data(self) -> None:
        """One that raises at what a client sends closes that client; others are served on."""
        self.begin("data")
        good, bad = self.mesh.connect(), self.mesh.connect()
        self.say(good, b"good")
        self.say(bad, b"bad")
        self.say(good, b"still good")
        self.assertEqual([False, True], [good.ended, bad.ended])
        self.assertEqual((1, "network_filter_failed"), (self.failed(), self.reason(1)))
        self.assertEqual(b"goodstill good", self.host.built[0].received)
        self.assertEqual(b"", self.host.built[1].received)

    def test_closed_before(self) -> None:
        """Where it had closed the client itself that is the reason."""
        self.begin("closed,data")
        client = self.mesh.connect()
        self.say(client, b"bad")
        self.assertEqual((1, "by itself"), (self.failed(), self.reason(0)))

    def test_end(self) -> None:
        """One that raises at the end of a connection does not keep it."""
        self.begin("lost")
        client = self.mesh.connect()
        client.transport.abortConnection()
        self.mesh.pump()
        self.host.built[0].transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(1, self.failed())
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))
