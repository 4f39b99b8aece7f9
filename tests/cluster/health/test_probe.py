"""TCP health checks on the wire."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.health.probe import READ_SIZE, BlockSearch, PayloadProbe
from tcpmesh.testing.mesh import address_of
from tests.cluster.health.checked import HOST, CheckedTestCase

CONNECT = "tcp_health_check: {}"
PING = 'tcp_health_check: {send: {text: "50494e47"}, receive: [{text: "504f"}, {text: "4E47"}]}'


class ConnectTests(CheckedTestCase):
    """Checks that only connect."""

    def test_accepts(self) -> None:
        """A host that accepts is well; the connection is closed in an orderly way, and nothing was
        said on it.
        """
        server = self.answers()
        self.check(CONNECT)
        self.assertEqual(("", (1, 0, 0)), (self.health(), self.counted()))
        (line,) = server.lines
        self.assertTrue(line.lost)
        self.assertEqual(b"", line.received)

    def test_send_without_receive(self) -> None:
        """Where no answer is expected nothing is sent, as in Envoy."""
        server = self.answers()
        self.check('tcp_health_check: {send: {text: "50"}}')
        self.assertEqual([b""], server.heard)

    def test_refuses(self) -> None:
        """A host that refuses is out."""
        self.check(CONNECT)
        self.assertEqual(("failed_active_hc", (0, 1, 1)), (self.health(), self.counted()))

    def test_silent(self) -> None:
        """A host that does not answer within the timeout is out, and shown to be silent."""
        self.silence()
        self.check(CONNECT)
        self.assertEqual((0, 0, 0), self.counted())
        self.mesh.network.advance(1)
        self.assertEqual(
            ("failed_active_hc/active_hc_timeout", (0, 1, 1)), (self.health(), self.counted())
        )

    def test_no_descriptor(self) -> None:
        """Where this machine has no descriptor for it nothing is known of a host, with and without
        a payload: it stays what it is, no failure is counted, and it is asked again.
        """
        for kind in (CONNECT, f"{PING}, reuse_connection: false"):
            server = self.answers(lambda asked: b"PONG")
            self.check(kind)
            self.mesh.network.exhausted.add(address_of(HOST))
            self.again()
            self.assertEqual(("", (1, 0, 0)), (self.health(), self.counted()))
            self.mesh.network.exhausted.clear()
            self.again()
            self.assertEqual(("", (2, 0, 0)), (self.health(), self.counted()))
            self.assertTrue(server.lines)
            self.setUp()

    def test_again(self) -> None:
        """Each check has a connection of its own."""
        server = self.answers()
        self.check(CONNECT)
        self.again()
        self.assertEqual((2, (2, 0, 0)), (len(server.lines), self.counted()))

    def test_removed_meanwhile(self) -> None:
        """A cluster that goes while a check is under way leaves no call behind."""
        self.silence()
        self.check(CONNECT)
        self.mesh.clusters.remove("c")
        self.mesh.clusters.stop()
        self.mesh.network.pump()
        self.assertEqual([], self.mesh.clock.getDelayedCalls())


class PayloadTests(CheckedTestCase):
    """Checks that send and wait for an answer."""

    def test_a_flood(self) -> None:
        """Of whatever a host sends only a little is read at once, so that others get their turn."""
        server = self.answers()
        self.check(PING)
        sizes: list[int] = []
        received = PayloadProbe.received

        def count(probe: PayloadProbe, data: bytes) -> None:
            sizes.append(len(data))
            received(probe, data)

        self.patch(PayloadProbe, "received", count)
        server.lines[0].transport.write(b"a" * (1 << 18))
        self.mesh.network.pump()
        self.assertEqual((1 << 18, READ_SIZE), (sum(sizes), max(sizes)))

    def test_answers(self) -> None:
        """A host that answers with all blocks in their order is well, whatever is between them."""
        server = self.answers(lambda asked: b"xPO..NGx")
        self.check(PING)
        self.assertEqual(("", [b"PING"]), (self.health(), server.heard))

    def test_in_pieces(self) -> None:
        """The answer may come in pieces."""
        server = self.answers()
        self.check(PING)
        for piece in (b"P", b"O", b"N", b"G"):
            self.assertEqual((0, 0, 0), self.counted())
            server.lines[0].transport.write(piece)
            self.mesh.network.pump()
        self.assertEqual((1, 0, 0), self.counted())

    def test_wrong_answer(self) -> None:
        """A host that answers something else has until the timeout, and its connection is closed
        then.
        """
        server = self.answers(lambda asked: b"NGPO")
        self.check(PING)
        self.mesh.network.advance(1)
        self.assertEqual(
            ("failed_active_hc/active_hc_timeout", (0, 1, 1)), (self.health(), self.counted())
        )
        self.assertTrue(server.lines[0].lost)

    def test_silent(self) -> None:
        """The timeout holds for connecting too, and a timed-out check has one result."""
        self.silence()
        self.check(PING)
        self.mesh.network.advance(1)
        self.mesh.network.advance(1)
        self.assertEqual((0, 1, 1), self.counted())

    def test_refused(self) -> None:
        """A host that refuses is out."""
        self.check(PING)
        self.assertEqual((0, 1, 1), self.counted())

    def test_closes(self) -> None:
        """A host that closes in place of an answer is out; the next check connects anew."""
        server = self.answers()
        self.check(PING)
        server.lines[0].transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual((0, 1, 1), self.counted())
        server.answer = lambda asked: b"PONG"
        self.again()
        self.assertEqual((2, (1, 1, 1)), (len(server.lines), self.counted()))

    def test_reuse(self) -> None:
        """The connection is kept for the next check; with reuse_connection: false each has its
        own.
        """
        server = self.answers(lambda asked: b"PONG")
        self.check(PING)
        self.again()
        self.assertEqual([b"PINGPING"], server.heard)
        self.check(PING, "reuse_connection: false")
        self.again()
        self.assertEqual([b"PINGPING", b"PING", b"PING"], server.heard)
        self.assertTrue(all(line.lost for line in server.lines))

    def test_closed_between(self) -> None:
        """A host that closes the connection that was kept has failed, as in Envoy."""
        server = self.answers(lambda asked: b"PONG")
        self.check(PING)
        server.lines[0].transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual(("failed_active_hc", (1, 1, 1)), (self.health(), self.counted()))

    def test_unasked(self) -> None:
        """What a host says unasked between two checks answers none of them."""
        server = self.answers(lambda asked: b"PONG")
        self.check(PING)
        server.answer = lambda asked: b""
        server.lines[0].transport.write(b"PONG")
        self.mesh.network.pump()
        self.again()
        self.assertEqual((1, 0, 0), self.counted())

    def test_removed_meanwhile(self) -> None:
        """A cluster that goes closes the connections of its checks."""
        server = self.answers()
        self.check(PING)
        self.mesh.clusters.remove("c")
        self.mesh.network.pump()
        self.assertTrue(server.lines[0].lost)

    def test_proxy_header(self) -> None:
        """The PROXY header goes first on a connection, and once: in version 1 with our addresses,
        in version 2 as LOCAL.
        """
        for version, header in (
            ("V1", rb"PROXY TCP4 127\.0\.0\.1 127\.0\.0\.2 \d+ 80\r\n"),
            ("V2", rb"\r\n\r\n\0\r\nQUIT\n \0\0\0"),
        ):
            server = self.answers(lambda asked: b"PONG", address=f"127.0.0.2:8{version[1]}")
            kind = PING.replace("send", f"proxy_protocol_config: {{version: {version}}}, send")
            self.check(kind, host=f"127.0.0.2:8{version[1]}")
            self.again()
            header = header.replace(b" 80", b" 8" + version[1:].encode())
            self.assertRegex(server.heard[0], rb"\A" + header + rb"PINGPING\Z")


class ElsewhereTests(CheckedTestCase):
    """How probes connect."""

    def test_bind_config(self) -> None:
        """Checks go out from the cluster's source address, as its connections do."""
        server = self.answers()
        self.check(
            CONNECT,
            cluster="upstream_bind_config: {source_address: {address: 127.0.0.7, port_value: 0}}",
        )
        self.assertEqual("127.0.0.7", server.lines[0].transport.getPeer().host)
        self.assertEqual(HOST, self.host().address)


class BlockTests(SynchronousTestCase):
    """Looking for blocks."""

    def test_in_order(self) -> None:
        """Blocks are found one after the other, and none twice."""
        for data, found in (
            (b"abb", True),
            (b"ab.b", True),
            (b"ab", False),
            (b"bab", False),
            (b"", False),
        ):
            self.assertEqual(found, BlockSearch((b"ab", b"b")).feed(data), data)
        self.assertTrue(BlockSearch(()).feed(b""))

    def test_in_pieces(self) -> None:
        """It makes no difference in which pieces they come."""
        for data in (b"aab", b"aaab.aab", b"xaabaab"):
            search = BlockSearch((b"aab", b"ab"))
            found = [search.feed(bytes((byte,))) for byte in data]
            self.assertEqual(BlockSearch((b"aab", b"ab")).feed(data), found[-1], data)
            self.assertNotIn(True, found[:-1])

    def test_what_is_kept(self) -> None:
        """However much comes, no more of it is kept than a block may begin in."""
        search = BlockSearch((b"zzz",))
        for _ in range(1000):
            search.feed(b"zza" * 1000 + b"zz")
            self.assertEqual(b"zz", search._rest)
        self.assertTrue(search.feed(b"z"))
