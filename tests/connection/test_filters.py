"""How a connection passes the filters that stand before the last one of its chain."""

from __future__ import annotations

from typing import Any

from google.protobuf import wrappers_pb2

from tcpmesh.connection.filters import FilterManager, NetworkFilter, ReadFilter
from tcpmesh.connection.relay import Direction
from tcpmesh.registry import BrokenExtension, extension
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.filter_status import FilterStatus
from tests.mesh import FRONT, MeshTestCase, tcp_proxy

HOST = "127.0.0.2:80"

EARLY = "cluster: c, max_early_data_bytes: 100000"
"""A tcp_proxy that lets its clients speak before their upstream is connected."""

STRING = "type.googleapis.com/google.protobuf.StringValue"

BYTES = "type.googleapis.com/google.protobuf.BytesValue"

LAST: list[Last] = []

BUILT: list[Scripted] = []
"""The filters that were built, in order."""


@extension(wrappers_pb2.StringValue)
class Scripted(ReadFilter):
    """A read filter that does what its text says, and writes down what it was told.

    The text is a verdict for the new connection and, after a comma, those for data, the last one
    for all that follow.
    """

    def __init__(self, message: Any, context: Any) -> None:
        first, *self.verdicts = (
            FilterStatus(word) for word in message.value.split(",") if word != "close"
        )
        self.first = first
        self.closes = "close" in message.value
        self.sees_data = bool(self.verdicts)
        self.told: list[Any] = []
        self.manager: Any = None
        self.closed = False
        BUILT.append(self)

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        self.manager = manager
        self.told.append("new")
        return self.first

    def on_data(self, manager: FilterManager, data: bytes, end: bool) -> FilterStatus:
        self.told.append((data, end))
        verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
        if self.closes:
            manager.close("enough")
        return verdict

    def on_connection_lost(self, manager: FilterManager) -> None:
        self.told.append("lost")

    def close(self) -> None:
        self.closed = True


@extension(wrappers_pb2.BytesValue)
class Last(NetworkFilter):
    """Ends a chain and takes the client's bytes at once."""

    def __init__(self, message: Any, context: Any) -> None:
        self.got = RecordingProtocol()
        LAST.append(self)

    def attach(self, connection: Any) -> None:
        connection.read_source.protocol = self.got


class ChainTestCase(MeshTestCase):
    """A proxy with scripted filters before its tcp_proxy."""

    def setUp(self) -> None:
        super().setUp()
        BUILT.clear()

    def begin(
        self, *texts: str, fields: str = "cluster: c", more: str = "", server: bool = True
    ) -> list[Scripted]:
        """Serve with these filters, with an upstream that is there unless told otherwise."""
        if server:
            self.backend = self.mesh.upstream(HOST)
        self.mesh.add_cluster("c", HOST)
        before = [
            f'{{name: s, typed_config: {{"@type": {STRING}, value: "{text}"}}}}' for text in texts
        ]
        filters = f"[{', '.join([*before, tcp_proxy(fields)[1:-1]])}]"
        self.mesh.add_listener("l", FRONT, filters, more)
        self.mesh.listeners.start()
        return list(BUILT)

    def served(self) -> RecordingProtocol:
        """The upstream's side of the connection made last."""
        recorder: RecordingProtocol = self.backend.built[-1]
        return recorder

    def sent(self) -> bytes:
        """What that upstream got."""
        return bytes(self.served().received)


class NewConnectionTests(ChainTestCase):
    """Events at a new connection."""

    def test_in_order(self) -> None:
        """Filters that only look at the new connection are told, and the connection is as one
        without them.
        """
        one, two = self.begin("continue", "continue")
        client = self.mesh.connect()
        self.assertEqual((one.told, two.told), (["new"], ["new"]))
        connection = self.mesh.connections[-1]
        self.assertIs(connection.read_source, connection.transport)
        client.transport.write(b"x")
        self.mesh.network.pump()
        self.assertEqual(self.sent(), b"x")

    def test_told_of_the_end(self) -> None:
        """Filters are told once of the end of a connection, also where nothing stands before the
        relay any more.
        """
        one, two = self.begin("continue", "continue")
        self.mesh.connect().transport.loseConnection()
        self.mesh.network.pump()
        self.served().transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual((one.told, two.told), (["new", "lost"], ["new", "lost"]))
        self.assertEqual(self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"), 0)

    def test_stopped(self) -> None:
        """A filter that stops holds up those after it and the upstream connection until it
        resumes.
        """
        one, two = self.begin("stop", "continue")
        self.mesh.connect()
        self.assertEqual((one.told, two.told, self.backend.built), (["new"], [], []))
        one.manager.resume()
        self.mesh.network.pump()
        self.assertEqual((two.told, len(self.backend.built)), (["new"], 1))
        one.manager.resume()
        self.mesh.network.pump()
        self.assertEqual((two.told, len(self.backend.built)), (["new"], 1))

    def test_sent_while_stopped(self) -> None:
        """What a client sends while it is held up, and its end, arrives after that."""
        (one,) = self.begin("stop")
        client = self.mesh.connect()
        client.transport.write(b"hello")
        client.transport.loseWriteConnection()
        self.mesh.network.pump()
        one.manager.resume()
        self.mesh.network.pump()
        self.assertEqual((self.sent(), self.served().ended), (b"hello", True))

    def test_client_leaves_while_stopped(self) -> None:
        """Where early data are read, a client that resets while it is held up is noticed, and
        resuming does nothing then.
        """
        one, two = self.begin("stop", "continue", fields=EARLY)
        client = self.mesh.connect()
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(one.told, ["new", "lost"])
        one.manager.resume()
        self.mesh.network.pump()
        self.assertEqual((two.told, self.backend.built), ([], []))
        self.assertEqual(self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"), 0)

    def test_not_read_while_stopped(self) -> None:
        """Without early data a client is not read while it is held up: its reset is noticed once it
        is closed.
        """
        (one,) = self.begin("stop")
        client = self.mesh.connect()
        client.transport.write(b"x")
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(one.told, ["new"])
        one.manager.close("no")
        self.mesh.network.pump()
        self.assertEqual(one.told, ["new", "lost"])

    def test_counted(self) -> None:
        """tcp_proxy counts the clients that filters before it close, as Envoy's does."""
        (one,) = self.begin("stop")
        self.mesh.connect()
        one.manager.close("no")
        self.mesh.network.pump()
        self.assertEqual(self.mesh.stat("tcp.t.downstream_cx_total"), 1)
        self.assertEqual(self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"), 0)

    def test_bounded(self) -> None:
        """A client that is held up and may speak early is read up to the buffer limit of the
        listener and about one read more.
        """
        (one,) = self.begin("stop", fields=EARLY, more="per_connection_buffer_limit_bytes: 1000")
        client = self.mesh.connect()
        client.transport.write(b"x" * 1_000_000)
        self.mesh.network.pump()
        self.assertGreater(client.transport.buffered, 100_000)
        one.manager.resume()
        self.mesh.network.pump()
        self.assertEqual(len(self.sent()), 1_000_000)

    def test_rejected(self) -> None:
        """A filter may close a new connection: the client sees FIN, and nothing else happens."""
        one, two = self.begin("stop", "continue")
        client = self.mesh.connect()
        one.manager.close("no")
        self.mesh.network.pump()
        self.assertEqual((client.ended, two.told, self.backend.built), (True, [], []))
        client.transport.write(b"late")
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual(one.told, ["new", "lost"])

    def test_the_chain_closes(self) -> None:
        """A chain that takes no more connections tells all its filters."""
        (one,) = self.begin("continue")
        self.mesh.listeners.remove("l")
        self.assertTrue(one.closed)


class DataTests(ChainTestCase):
    """Filters that want to see what the client sends."""

    def test_first_bytes(self) -> None:
        """A filter that is done after the first bytes sees those and no more, and stands no longer
        in the way.
        """
        (one,) = self.begin("continue,done")
        client = self.mesh.connect()
        self.assertEqual((one.told, len(self.backend.built)), (["new"], 1))
        for data in (b"first", b"second"):
            client.transport.write(data)
            self.mesh.network.pump()
        self.assertEqual(one.told, ["new", (b"first", False)])
        self.assertEqual(self.sent(), b"firstsecond")
        connection = self.mesh.connections[-1]
        self.assertIs(connection.read_source, connection.transport)

    def test_after_connecting(self) -> None:
        """No filter sees bytes before the upstream is connected, for tcp_proxy reads no client
        until then.
        """
        (one,) = self.begin("continue,done", server=False)
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        client = self.mesh.connect()
        client.transport.write(b"x")
        self.mesh.network.pump()
        self.assertEqual(one.told, ["new"])

    def test_all_bytes(self) -> None:
        """A filter that goes on without being done sees everything, each byte once, and the end."""
        (one,) = self.begin("continue,continue")
        client = self.mesh.connect()
        for data in (b"first", b"second"):
            client.transport.write(data)
            self.mesh.network.pump()
        client.transport.loseWriteConnection()
        self.mesh.network.pump()
        self.assertEqual(one.told, ["new", (b"first", False), (b"second", False), (b"", True)])
        self.assertEqual((self.sent(), self.served().ended), (b"firstsecond", True))

    def test_bare_end(self) -> None:
        """A client that sends its end and nothing else is shown as that."""
        (one,) = self.begin("continue,done")
        client = self.mesh.connect()
        client.transport.loseWriteConnection()
        self.mesh.network.pump()
        self.assertEqual((one.told, self.served().ended), (["new", (b"", True)], True))
        self.served().transport.write(b"still here")
        self.mesh.network.pump()
        self.assertEqual(bytes(client.received), b"still here")

    def test_held(self) -> None:
        """A filter that stops at data is shown all that came so far when more comes; later filters
        and the upstream wait.
        """
        one, two = self.begin("continue,stop,stop", "continue,done")
        client = self.mesh.connect()
        for data in (b"a", b"b"):
            client.transport.write(data)
            self.mesh.network.pump()
        self.assertEqual(one.told, ["new", (b"a", False), (b"ab", False)])
        self.assertEqual((two.told, self.sent()), (["new"], b""))
        self.served().transport.write(b"greeting")
        self.mesh.network.pump()
        self.assertEqual(bytes(client.received), b"greeting")
        one.manager.resume()
        self.mesh.network.pump()
        self.assertEqual((two.told, self.sent()), (["new", (b"ab", False)], b"ab"))

    def test_held_at_the_limit(self) -> None:
        """Much that comes while a filter stops at data is neither lost nor read without bound."""
        (one,) = self.begin("continue,stop", more="per_connection_buffer_limit_bytes: 1000")
        client = self.mesh.connect()
        client.transport.write(b"x" * 1_000_000)
        self.mesh.network.pump()
        self.assertGreater(client.transport.buffered, 100_000)
        one.verdicts = [FilterStatus.DONE]
        one.manager.resume()
        self.mesh.network.pump()
        self.assertEqual(len(self.sent()), 1_000_000)

    def test_closed_at_data(self) -> None:
        """A filter that closes at the first bytes closes the upstream too, and nothing of them gets
        there, though they count as received.
        """
        one, _ = self.begin("continue,stop,close", "continue,done")
        client = self.mesh.connect()
        client.transport.write(b"x")
        self.mesh.network.pump()
        self.assertEqual((client.ended, self.served().ended, self.sent()), (True, True, b""))
        client.transport.loseConnection()
        self.served().transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual(one.told, ["new", (b"x", False), "lost"])
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_active"), 0)
        self.assertEqual(self.mesh.stat("tcp.t.downstream_cx_rx_bytes_total"), 1)
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_tx_bytes_total"), 0)

    def test_early(self) -> None:
        """Where tcp_proxy lets the client speak first, filters see that before it connects."""
        (one,) = self.begin(
            "continue,stop",
            fields="cluster: c, upstream_connect_mode: ON_DOWNSTREAM_DATA, "
            "max_early_data_bytes: 100",
        )
        client = self.mesh.connect()
        client.transport.write(b"x")
        self.mesh.network.pump()
        self.assertEqual((one.told, self.backend.built), (["new", (b"x", False)], []))
        one.manager.resume()
        self.mesh.network.pump()
        self.assertEqual(self.sent(), b"x")
        client.transport.write(b"y")
        client.transport.loseWriteConnection()
        self.mesh.network.pump()
        self.assertEqual((one.told[2:], self.sent()), ([(b"y", False), (b"y", True)], b"x"))

    def test_seen_before_the_upstream(self) -> None:
        """Early data that came while a filter held things up are shown to later ones before the
        upstream is dialled.
        """
        one, two = self.begin("stop", "continue,stop", fields=EARLY)
        client = self.mesh.connect()
        client.transport.write(b"x")
        self.mesh.network.pump()
        one.manager.resume()
        self.mesh.network.pump()
        self.assertEqual((two.told, self.backend.built), (["new", (b"x", False)], []))
        two.manager.resume()
        self.mesh.network.pump()
        self.assertEqual(self.sent(), b"x")

    def test_reset_while_shown(self) -> None:
        """A client that resets while filters still watch takes its upstream with it."""
        (one,) = self.begin("continue,continue")
        client = self.mesh.connect()
        client.transport.write(b"x")
        self.mesh.network.pump()
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(one.told[-1], "lost")
        self.assertTrue(self.served().lost)
        self.assertEqual(self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"), 0)

    def test_the_upstream_ends_while_shown(self) -> None:
        """An upstream that closes while filters still watch closes the client."""
        (one,) = self.begin("continue,continue")
        client = self.mesh.connect()
        self.served().transport.loseConnection()
        self.mesh.network.pump()
        self.assertTrue(client.ended)
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual(one.told, ["new", (b"", True), "lost"])


class OtherLastTests(ChainTestCase):
    """A last filter other than tcp_proxy."""

    def last_after(self, text: str) -> tuple[Scripted, Any, RecordingProtocol]:
        """A client of a scripted filter and a last one: both, and what the last one gets."""
        first = f'{{name: s, typed_config: {{"@type": {STRING}, value: "{text}"}}}}'
        last = f'{{name: e, typed_config: {{"@type": {BYTES}, value: ""}}}}'
        self.mesh.add_listener("l", FRONT, f"[{first}, {last}]")
        self.mesh.listeners.start()
        client = self.mesh.connect()
        client.transport.write(b"hello")
        client.transport.loseWriteConnection()
        self.mesh.network.pump()
        return BUILT[-1], client, LAST[-1].got

    def test_gets_what_was_held(self) -> None:
        """It gets what came while it was held up, and what comes after."""
        first, _, got = self.last_after("stop")
        self.assertEqual(got.events, [])
        first.manager.resume()
        self.mesh.network.pump()
        self.assertEqual((bytes(got.received), got.events), (b"hello", ["data", "eof"]))

    def test_gets_what_was_seen(self) -> None:
        """It gets what the filter has seen, and the loss of the connection."""
        _, client, got = self.last_after("continue,continue")
        self.assertEqual((bytes(got.received), got.events), (b"hello", ["data", "eof"]))
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(got.events[-1], "lost")


class OrderTests(ChainTestCase):
    """What a chain may consist of."""

    def test_alone(self) -> None:
        """In a chain of tcp_proxy alone nothing stands between it and the transport."""
        self.begin()
        self.mesh.connect()
        connection = self.mesh.connections[-1]
        self.assertIs(connection.read_source, connection.transport)
        self.assertIsInstance(connection.transport.protocol, Direction)

    def test_not_terminal(self) -> None:
        """A chain that ends in a filter that ends no chain is refused."""
        text = f'[{{name: s, typed_config: {{"@type": {STRING}, value: "continue"}}}}]'
        self.assertRaisesRegex(
            BrokenExtension,
            "non-terminal filter 's' is number 1 of 1",
            self.mesh.add_listener,
            "l",
            FRONT,
            text,
        )

    def test_terminal_before_others(self) -> None:
        """A chain that goes on after a filter that ends chains is refused."""
        text = f"[{tcp_proxy()[1:-1]}, {tcp_proxy()[1:-1]}]"
        self.assertRaisesRegex(
            BrokenExtension,
            "terminal filter 'tcp' is number 1 of 2",
            self.mesh.add_listener,
            "l",
            FRONT,
            text,
        )
