"""Listener filters: what happens to a client before its filter chain, and how it may end there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from envoy.config.listener.v3 import listener_components_pb2
from google.protobuf.struct_pb2 import Struct
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from twisted.internet.error import ConnectionLost

from tcpmesh import registry
from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import IBufferedProtocol, IInspector, IListenerFilter
from tcpmesh.listener.listener_filters import ListenerFilterRun, Unless
from tcpmesh.listener.predicate import predicate
from tcpmesh.testing.memory.transport import MemoryTransport
from tcpmesh.values.address import Address
from tcpmesh.values.filter_status import InspectResult
from tests.listener.test_filter_chains import file_log
from tests.mesh import MeshTestCase, parse, tcp_proxy

HOST = "127.0.0.2:80"
STATS = "listener.127.0.0.1_1."


@implementer(IInspector)
class Waiting:
    """Waits for a word, and consumes some of it; any other word closes the client."""

    def __init__(self, word: bytes, consumed: int, connection: Connection) -> None:
        self.wanted = len(word)
        self._word = word
        self._consumed = consumed
        self._connection = connection

    def inspect(self, data: bytearray) -> Any:
        """Compare as far as the bytes go."""
        if not self._word.startswith(data[: self.wanted]):
            return InspectResult.CLOSE
        if len(data) < self.wanted:
            return InspectResult.WAIT
        self._connection.stream_info.metadata = {
            **self._connection.stream_info.metadata,
            "words": {self._word.decode(): True},
        }
        return self._consumed


@implementer(IListenerFilter)
class Scripted:
    """A filter that does as its message, a Struct, says: wait for a `word` and `consume` so many
    bytes; `close`; or go on.
    """

    made: list[Scripted]

    def __init__(self, message: Any, context: Any) -> None:
        self._script = dict(message)
        self.accepted = 0
        self.closed = False
        Scripted.made.append(self)

    def accept(self, connection: Connection) -> Any:
        """Do what is written."""
        self.accepted += 1
        if "restore" in self._script:
            host, _, port = self._script["restore"].rpartition(":")
            connection.stream_info.restored_local = Address(host, int(port))
        if "word" in self._script:
            return Waiting(
                self._script["word"].encode(), int(self._script.get("consume", 0)), connection
            )
        return InspectResult.CLOSE if self._script.get("close") else None

    def close(self) -> None:
        """The listener takes no more clients."""
        self.closed = True


class PeekTestCase(MeshTestCase):
    """A proxy with scripted listener filters before a tcp_proxy."""

    def setUp(self) -> None:
        """A cluster with one host."""
        super().setUp()
        Scripted.made = []
        registry.extension(Struct)(Scripted)
        self.addCleanup(registry._by_type.pop, Struct.DESCRIPTOR.full_name, None)
        self.mesh.add_cluster("c", HOST)
        self.upstream = self.mesh.upstream(HOST)

    def serve(
        self,
        *scripts: str,
        more: str = "",
        fields: str = "cluster: c",
        address: str = "127.0.0.1:1",
    ) -> None:
        """A listener with these filters."""
        filters = ", ".join(
            f"{{name: f, typed_config: {{'@type': {STRUCT}, value: {script}}}}}"
            for script in scripts
        )
        self.mesh.add_listener(
            "l", address, tcp_proxy(fields), f"listener_filters: [{filters}]\n{more}"
        )
        self.mesh.listeners.start()

    def send(self, client: Any, data: bytes) -> None:
        """Let the client send these bytes, and everything happen."""
        client.transport.write(data)
        self.mesh.pump()

    def received(self, index: int = -1) -> bytes:
        """What the upstream got from a client."""
        return bytes(self.upstream.built[index].received)


STRUCT = "type.googleapis.com/google.protobuf.Struct"


class PassingTests(PeekTestCase):
    """Clients that pass."""

    def test_interfaces(self) -> None:
        """Filters, inspectors and the peek itself provide what their interfaces ask for."""
        verifyClass(IListenerFilter, Scripted)
        verifyClass(IListenerFilter, Unless)
        verifyClass(IBufferedProtocol, ListenerFilterRun)
        verifyObject(IInspector, Waiting(b"x", 0, Connection(None)))

    def test_at_once(self) -> None:
        """A client that every filter lets pass at once is served at once, and each filter was built
        once for all clients.
        """
        self.serve("{}", "{}")
        for _ in range(3):
            self.mesh.connect()
        self.assertEqual([3, 3], [each.accepted for each in Scripted.made])
        self.assertEqual(3, len(self.upstream.built))
        self.assertEqual(0, self.mesh.stat(STATS + "downstream_pre_cx_active"))

    def test_addresses_of_logs(self) -> None:
        """Where a log will want the address that a client came in by, it is asked for as soon as
        the client is there: it may be gone before its first bytes are.
        """
        asked: list[int] = []
        get = MemoryTransport.getHost

        def noted(transport: MemoryTransport) -> Any:
            asked.append(1)
            return get(transport)

        self.patch(MemoryTransport, "getHost", noted)
        for text, address in (("%DOWNSTREAM_LOCAL_ADDRESS%", "127.0.0.1:1"), ("-", "127.0.0.1:2")):
            self.serve("{word: hello}", more=file_log("/log", text), address=address)
            self.mesh.connect(address)
            self.assertEqual([1] if text != "-" else [], asked)
            asked.clear()

    def test_waits(self) -> None:
        """While a filter waits for bytes there is no connection, and then it is served with every
        byte in order.
        """
        self.serve("{word: hello}")
        client = self.mesh.connect()
        self.send(client, b"hel")
        self.assertEqual({"downstream_pre_cx_active": 1}, self.mesh.moved(STATS))
        self.assertEqual([], self.upstream.built)
        self.send(client, b"lo world")
        self.assertEqual(b"hello world", self.received())
        counted = {"downstream_cx_total": 1, "downstream_cx_active": 1}
        self.assertEqual(
            {**counted, **{f"worker_0.{name}": 1 for name in counted}}, self.mesh.moved(STATS)
        )
        self.send(client, b" and more")
        self.assertEqual(b"hello world and more", self.received())
        self.assertEqual({"words": {"hello": True}}, self.mesh.connections[-1].stream_info.metadata)

    def test_byte_by_byte(self) -> None:
        """It does not matter in which pieces the bytes come."""
        self.serve("{word: hello}")
        client = self.mesh.connect()
        for byte in b"hello world":
            self.send(client, bytes([byte]))
        self.assertEqual(b"hello world", self.received())

    def test_consumed(self) -> None:
        """What a filter consumes neither the next filter nor the upstream sees; each looks at what
        those before it have left.
        """
        self.serve("{word: 'one ', consume: 4}", "{}", "{word: two, consume: 2}", "{word: 'o t'}")
        for pieces in (
            (b"one two three",),
            (b"one", b" ", b"tw", b"o three"),
            (b"one two ", b"three"),
        ):
            client = self.mesh.connect()
            for piece in pieces:
                self.send(client, piece)
            self.assertEqual(b"o three", self.received())

    def test_end_of_stream(self) -> None:
        """A client whose end of stream comes with its last bytes is served: the upstream gets the
        bytes, and then the end.
        """
        self.serve("{word: hello}")
        client = self.mesh.connect()
        client.transport.write(b"hello")
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertEqual(["made", "data", "eof"], self.upstream.built[-1].events)

    def test_refused_client(self) -> None:
        """A client that passes the filters and is then closed by tcp_proxy hears the end."""
        self.serve("{word: hello}", fields="cluster: nobody")
        client = self.mesh.connect()
        self.send(client, b"hello")
        self.assertTrue(client.ended)
        self.assertEqual("NC", self.flags())

    def test_early_data(self) -> None:
        """A tcp_proxy that waits for the client's first bytes takes those that a filter has looked
        at.
        """
        self.serve(
            "{word: hello}",
            fields="cluster: c, max_early_data_bytes: 100, upstream_connect_mode: "
            "ON_DOWNSTREAM_DATA",
        )
        self.send(self.mesh.connect(), b"hello")
        self.assertEqual(b"hello", self.received())

    def test_large(self) -> None:
        """Megabytes behind a word that a filter waits for arrive whole."""
        self.serve("{word: hello}")
        data = b"hello" + bytes(range(256)) * 10_000
        self.send(self.mesh.connect(), data)
        self.assertTrue(data == self.received())


class LeavingTests(PeekTestCase):
    """Clients that do not pass."""

    def assert_gone(self, **counted: int) -> None:
        """No client was served, and just this was counted."""
        self.assertEqual(
            {f"downstream_{name}": value for name, value in counted.items()}, self.mesh.moved(STATS)
        )
        self.assertEqual([], self.upstream.built)

    def test_closed_at_once(self) -> None:
        """A filter may close a client it does not want, and those after it are not asked."""
        self.serve("{close: true}", "{}")
        client = self.mesh.connect()
        self.assertTrue(client.ended)
        client.transport.loseConnection()
        self.mesh.pump()
        self.assert_gone()
        self.assertEqual([1, 0], [each.accepted for each in Scripted.made])

    def test_closed_later(self) -> None:
        """A filter may close a client for what it sent: with a reset, as for every client with
        bytes that nobody took.
        """
        self.serve("{word: hello}")
        client = self.mesh.connect()
        self.send(client, b"help")
        self.assertTrue(client.lost_to(ConnectionLost))
        self.assert_gone()

    def test_closed_by_the_next(self) -> None:
        """Also a filter that needs no bytes may close a client when its turn comes."""
        self.serve("{word: hello, consume: 5}", "{close: true}")
        client = self.mesh.connect()
        self.send(client, b"hello")
        self.assertEqual(["made", "eof"], client.events)

    def test_end_of_stream(self) -> None:
        """A client that ends before a filter has seen enough is closed and counted as gone."""
        self.serve("{word: hello}")
        client = self.mesh.connect()
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertEqual(["made", "fin", "eof"], client.events)
        self.assert_gone(listener_filter_remote_close=1)
        client = self.mesh.connect()
        client.transport.write(b"hel")
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertTrue(client.lost_to(ConnectionLost))
        self.assert_gone(listener_filter_remote_close=2)

    def test_reset(self) -> None:
        """A client that resets the connection meanwhile is counted as an error."""
        self.serve("{word: hello}")
        client = self.mesh.connect()
        self.send(client, b"hel")
        client.transport.abortConnection()
        self.mesh.pump()
        self.assert_gone(listener_filter_error=1)

    def test_deadline(self) -> None:
        """15 seconds after accept a client is closed and counted, however much or little it has
        sent and to how many filters.
        """
        self.serve("{word: hello}", "{word: helloo}")
        silent, speaking = self.mesh.connect(), self.mesh.connect()
        self.mesh.advance(10)
        self.send(speaking, b"hello")
        self.mesh.advance(4.9)
        self.assertFalse(silent.ended or speaking.ended)
        self.mesh.advance(0.2)
        self.assertEqual(["made", "eof"], silent.events)
        self.assertTrue(speaking.lost_to(ConnectionLost))
        silent.transport.loseConnection()
        self.mesh.pump()
        self.assert_gone(pre_cx_timeout=2)

    def test_deadline_of_the_listener(self) -> None:
        """listener_filters_timeout is that time."""
        self.serve("{word: hello}", more="listener_filters_timeout: 0.5s")
        client = self.mesh.connect()
        self.mesh.advance(0.6)
        self.assertTrue(client.ended)

    def test_no_deadline(self) -> None:
        """With a listener_filters_timeout of 0 a client may take its time."""
        self.serve("{word: hello}", more="listener_filters_timeout: 0s")
        client = self.mesh.connect()
        self.mesh.advance(100_000)
        self.send(client, b"hello")
        self.assertEqual(b"hello", self.received())

    def test_going_on(self) -> None:
        """With continue_on_listener_filters_timeout a late client is served with what it has sent;
        the filters left are skipped.
        """
        self.serve("{word: hello}", "{}", more="continue_on_listener_filters_timeout: true")
        client = self.mesh.connect()
        self.send(client, b"hel")
        self.mesh.advance(15.1)
        self.send(client, b"p")
        self.assertEqual(b"help", self.received())
        self.assertEqual(1, self.mesh.stat(STATS + "downstream_pre_cx_timeout"))
        self.assertEqual([1, 0], [each.accepted for each in Scripted.made])
        self.mesh.advance(100)
        self.assertFalse(client.ended)

    def test_deadline_is_over(self) -> None:
        """Nobody is late once the filters have decided."""
        self.serve("{word: hello}")
        client = self.mesh.connect()
        self.send(client, b"hello")
        self.mesh.advance(100)
        self.assertFalse(client.ended)
        self.assertEqual(0, self.mesh.stat(STATS + "downstream_pre_cx_timeout"))

    def test_no_time_between(self) -> None:
        """The deadline runs on until the client is in the hands of who serves it, whose own
        deadlines have begun by then.
        """
        self.serve("{word: hello}")
        client = self.mesh.connect()
        (listener,) = self.mesh.worker.listeners._listeners.values()
        filters: Any = listener._filters
        attempts: list[int] = []

        def clear(run: Any) -> None:
            attempts.append(self.mesh.stat("cluster.c.upstream_cx_total"))

        filters.deadline = SimpleNamespace(discard=clear)
        self.send(client, b"hello")
        self.assertEqual([1], attempts)

    def test_a_filter_that_waits_in_vain(self) -> None:
        """A filter that has all the bytes it wanted and waits for more is broken: that is logged,
        and the client is closed.
        """
        self.serve("{word: hello}")
        self.patch(Waiting, "inspect", lambda self, data: InspectResult.WAIT)
        client = self.mesh.connect()
        self.send(client, b"hello")
        self.assertTrue(client.ended)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.assertEqual(0, self.mesh.stat(STATS + "downstream_pre_cx_active"))


class ReplacementTests(PeekTestCase):
    """Listeners that go while clients are being looked at."""

    def test_served_to_the_end(self) -> None:
        """A client that is being looked at when its listener goes is still served; then the filters
        and statistics go too.
        """
        self.serve("{word: hello}")
        client = self.mesh.connect()
        self.mesh.listeners.remove("l")
        self.assertFalse(Scripted.made[0].closed)
        self.send(client, b"hello")
        self.assertEqual(b"hello", self.received())
        self.assertTrue(Scripted.made[0].closed)
        self.assertEqual(1, self.mesh.stat(STATS + "downstream_cx_active"))
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual({}, self.mesh.stats("listener."))
        self.assertEqual({}, self.mesh.stats("tcp."))

    def test_gone_before(self) -> None:
        """Where such a client leaves, nothing of the listener is left either."""
        self.serve("{word: hello}")
        client = self.mesh.connect()
        self.mesh.listeners.remove("l")
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual({}, self.mesh.stats("listener."))
        self.assertTrue(Scripted.made[0].closed)

    def test_nobody_there(self) -> None:
        """Filters of a listener without clients are closed with it."""
        self.serve("{}")
        self.mesh.listeners.remove("l")
        self.assertTrue(Scripted.made[0].closed)


class PredicateTests(PeekTestCase):
    """filter_disabled: whom a filter is not for."""

    def matches(self, text: str, connection: Connection) -> bool:
        """Whether a predicate, in YAML, is true of a client."""
        return predicate(parse(listener_components_pb2.ListenerFilterChainMatchPredicate, text))(
            connection.stream_info
        )

    def test_rules(self) -> None:
        """any, not, and, or: as in logic; a port range has its start and not its end."""
        self.mesh.add_listener("l", "127.0.0.1:80", "[]")
        self.mesh.listeners.start()
        self.mesh.connect("127.0.0.1:80")
        connection = self.mesh.connections[-1]
        inside, outside = (
            f"{{destination_port_range: {{start: {a}, end: {b}}}}}" for a, b in ((80, 81), (70, 80))
        )
        cases = {
            "{any_match: true}": True,
            "{not_match: {any_match: true}}": False,
            inside: True,
            outside: False,
            "{destination_port_range: {start: 81, end: 80}}": False,
            f"{{and_match: {{rules: [{inside}, {{any_match: true}}]}}}}": True,
            f"{{and_match: {{rules: [{inside}, {outside}]}}}}": False,
            f"{{or_match: {{rules: [{outside}, {inside}]}}}}": True,
            f"{{or_match: {{rules: [{outside}, {outside}]}}}}": False,
            f"{{not_match: {outside}}}": True,
        }
        self.assertEqual(cases, {text: self.matches(text, connection) for text in cases})

    def test_restored_port(self) -> None:
        """The port is the one that a filter before has restored."""
        self.serve("{restore: '10.0.0.1:99'}")
        self.mesh.connect()
        self.assertTrue(
            self.matches(
                "{destination_port_range: {start: 99, end: 100}}", self.mesh.connections[-1]
            )
        )

    def test_unix_socket(self) -> None:
        """A unix socket has no port, so it is in no range."""
        self.serve(address="/run/x.sock")
        self.mesh.connect("/run/x.sock")
        self.assertFalse(
            self.matches(
                "{destination_port_range: {start: 0, end: 65536}}", self.mesh.connections[-1]
            )
        )

    def test_disabled(self) -> None:
        """A filter whose predicate is true is passed over."""
        filters = (
            f"[{{name: f, typed_config: {{'@type': {STRUCT}, value: {{word: hello}}}}, "
            f"filter_disabled: {{any_match: true}}}}]"
        )
        self.serve(more=f"listener_filters: {filters}")
        self.mesh.connect()
        self.assertEqual(1, len(self.upstream.built))
        self.assertEqual(0, Scripted.made[0].accepted)
        self.mesh.listeners.remove("l")
        self.assertTrue(Scripted.made[0].closed)


class RedirectTests(PeekTestCase):
    """use_original_dst: a client is handed to the listener of the address that it wanted."""

    def setUp(self) -> None:
        """Three more listeners, two of them not bound."""
        super().setUp()
        for name, address in (("exact", "10.9.8.7:2"), ("wild", "0.0.0.0:3"), ("six", "[::]:3")):
            self.mesh.add_listener(name, address, tcp_proxy(prefix=name), "bind_to_port: false")
        self.mesh.listeners.start()

    def front(self, wanted: str, more: str = "use_original_dst: true", *scripts: str) -> None:
        """A listener that finds out that its clients wanted to go elsewhere."""
        self.serve(f"{{restore: '{wanted}'}}", *scripts, more=more)

    def who(self) -> list[str]:
        """Who has served."""
        return [
            name.partition(".")[0]
            for name in self.mesh.moved("tcp.")
            if name.endswith(".downstream_cx_total")
        ]

    def test_not_bound(self) -> None:
        """A listener with bind_to_port false is shown, and takes no clients of its own; its address
        stays free.
        """
        self.assertEqual(("10.9.8.7:2",), self.mesh.listeners.statuses()[0].addresses)
        self.assertIsNotNone(self.mesh.dial("10.9.8.7:2"))
        self.mesh.upstream("10.9.8.7:2")

    def test_handed_over(self) -> None:
        """To the listener of exactly that address, else to that of the port on all addresses, else
        it stays.
        """
        for wanted, name in {
            "10.9.8.7:2": "exact",
            "10.1.1.1:3": "wild",
            "fd00::1:3": "six",
            "10.9.8.7:4": "t",
        }.items():
            self.tearDown()
            self.setUp()
            self.front(wanted)
            self.mesh.connect()
            self.assertEqual([name], self.who(), wanted)

    def test_counted_where_it_is_served(self) -> None:
        """The listener that serves counts the client, the one that accepted it does not, and
        nothing stays behind when it goes.
        """
        self.front("10.9.8.7:2")
        client = self.mesh.connect()
        self.assertEqual({}, self.mesh.moved(STATS))
        self.assertEqual(1, self.mesh.stat("listener.10.9.8.7_2.downstream_cx_active"))
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual(0, self.mesh.stat("listener.10.9.8.7_2.downstream_cx_active"))
        self.mesh.listeners.remove("l")
        self.assertEqual({}, self.mesh.stats(STATS))

    def test_bytes_go_along(self) -> None:
        """What a filter has looked at goes along, and filters of the other listener look at it
        too.
        """
        filters = (
            f"[{{name: f, typed_config: {{'@type': {STRUCT}, value: {{word: hello, "
            f"consume: 3}}}}}}]"
        )
        more = f"bind_to_port: false\nlistener_filters: {filters}"
        self.mesh.add_listener("exact", "10.9.8.7:2", tcp_proxy(prefix="exact"), more)
        self.front("10.9.8.7:2", "use_original_dst: true", "{word: hell}")
        self.send(self.mesh.connect(), b"hello")
        self.assertEqual(b"lo", self.received())
        self.assertEqual(["exact"], self.who())

    def test_once(self) -> None:
        """A client is handed on once only."""
        self.mesh.add_listener(
            "exact",
            "10.9.8.7:2",
            tcp_proxy(prefix="exact"),
            f"{{bind_to_port: false, use_original_dst: true, listener_filters: [{{name: f, "
            f"typed_config: {{'@type': {STRUCT},"
            " value: {restore: '10.1.1.1:3'}}}]}",
        )
        self.front("10.9.8.7:2")
        self.mesh.connect()
        self.assertEqual(["exact"], self.who())

    def test_to_itself(self) -> None:
        """A client that wanted the listener that accepted it stays, and passes the filters once."""
        self.front("127.0.0.1:1")
        self.mesh.connect()
        self.assertEqual(["t"], self.who())
        self.assertEqual(1, Scripted.made[-1].accepted)

    def test_without(self) -> None:
        """Without use_original_dst a client stays."""
        self.front("10.9.8.7:2", "")
        self.mesh.connect()
        self.assertEqual(["t"], self.who())

    def test_removed(self) -> None:
        """A listener that is gone gets nobody."""
        self.front("10.9.8.7:2")
        self.mesh.listeners.remove("exact")
        self.mesh.connect()
        self.assertEqual(["t"], self.who())

    def test_asks_the_socket(self) -> None:
        """use_original_dst brings the filter along that asks the kernel."""
        self.serve(more="use_original_dst: true")
        self.mesh.redirect("10.9.8.7:2")
        self.assertEqual(["exact"], self.who())
        self.assertEqual("10.9.8.7:2", str(self.mesh.connections[-1].stream_info.local_address))
