"""Asking DNS servers, over real sockets on loopback addresses."""

from __future__ import annotations

import socket
from random import Random
from typing import Any

import dns.flags
import dns.message
import dns.rcode

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.trial.unittest import TestCase

from tcpmesh.net.dns.client import MOST_QUESTIONS, DnsClient, DnsOptions, _Stream
from tcpmesh.net.dns.resolve import ResolutionFailed, TimedOut
from tcpmesh.values.address import Address
from tcpmesh.wire.dns import Answer, Outcome, Question
from tcpmesh.wire.names import Found
from tests.names import DnsServer, Reply, answer

RECORD = "a.test. 7 IN A 127.0.0.2"
GOOD = Answer(Outcome.FOUND, (Found("127.0.0.2", 7),))


def good(query: dns.message.Message) -> bytes:
    """The record that every test asks for."""
    return answer(query, RECORD).to_wire()


def failing(query: dns.message.Message) -> bytes:
    """A server in trouble."""
    return answer(query, code=dns.rcode.SERVFAIL).to_wire()


def silent(query: dns.message.Message) -> None:
    """A server that has gone."""


class ClientTestCase(TestCase):
    """A test that asks."""

    timeout = 20

    def server(self, reply: Reply = good) -> DnsServer:
        """A server that ends with the test."""
        server = DnsServer(reactor, reply)
        self.addCleanup(server.close)
        return server

    def ask(
        self, *servers: DnsServer | Address, name: str = "a.test", **options: Any
    ) -> Deferred[Answer]:
        """The address of a name, from these servers."""
        addresses = [
            server if isinstance(server, Address) else server.address for server in servers
        ]
        self.client = DnsClient(reactor, addresses, DnsOptions(**options), Random(1))
        return self.client.ask(name, "A")


class AnswerTests(ClientTestCase):
    """Answers and what is made of them."""

    @inlineCallbacks
    def test_answer(self) -> Any:
        """One question over UDP brings the answer."""
        server = self.server()
        self.assertEqual(GOOD, (yield self.ask(server)))
        self.assertEqual([("udp", "a.test", "A")], server.queries)

    @inlineCallbacks
    def test_none(self) -> Any:
        """No such name is an answer, too: no other server is asked."""
        server, other = (
            self.server(lambda query: answer(query, code=dns.rcode.NXDOMAIN).to_wire()),
            self.server(),
        )
        self.assertEqual(Answer(Outcome.NONE), (yield self.ask(server, other)))
        self.assertEqual([], other.queries)

    @inlineCallbacks
    def test_tcp_only(self) -> Any:
        """Where it is asked for, TCP is used from the start."""
        server = self.server()
        self.assertEqual(GOOD, (yield self.ask(server, tcp=True)))
        self.assertEqual([("tcp", "a.test", "A")], server.queries)

    @inlineCallbacks
    def test_truncated(self) -> Any:
        """An answer that does not fit into a datagram is fetched over TCP, however large."""

        def reply(query: dns.message.Message) -> bytes:
            if len(server.queries) > 1:
                return answer(
                    query, *(f"a.test. 7 IN A 10.0.{n >> 8}.{n & 255}" for n in range(2000))
                ).to_wire(max_size=65535)
            made = answer(query)
            made.flags |= dns.flags.TC
            return made.to_wire()

        server = self.server(reply)
        found = yield self.ask(server)
        self.assertEqual(2000, len(found.addresses))
        self.assertEqual(["udp", "tcp"], [transport for transport, _, _ in server.queries])

    @inlineCallbacks
    def test_without_edns(self) -> Any:
        """A server that does not understand EDNS is asked without."""

        def reply(query: dns.message.Message) -> bytes:
            return (
                good(query) if query.edns < 0 else answer(query, code=dns.rcode.FORMERR).to_wire()
            )

        server = self.server(reply)
        self.assertEqual(GOOD, (yield self.ask(server, tries=1)))
        self.assertEqual([True, False], server.with_edns)


class FailureTests(ClientTestCase):
    """Servers that have no answer."""

    @inlineCallbacks
    def test_next_server(self) -> Any:
        """After a server that fails the next one is asked at once."""
        bad, fine = self.server(failing), self.server()
        self.assertEqual(GOOD, (yield self.ask(bad, fine)))
        self.assertEqual((1, 1), (len(bad.queries), len(fine.queries)))

    @inlineCallbacks
    def test_rounds(self) -> Any:
        """All servers are asked in each of `query_tries` rounds; then it is a failure that names
        the last one.
        """
        servers = self.server(failing), self.server(failing)
        failure = yield self.assertFailure(self.ask(*servers, tries=3), ResolutionFailed)
        self.assertIn(str(servers[1].address), str(failure))
        self.assertEqual([3, 3], [len(server.queries) for server in servers])

    @inlineCallbacks
    def test_nobody_listens(self) -> Any:
        """A server that refuses, over UDP or TCP, costs no time."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        nobody = Address("127.0.0.1", port)
        for tcp in (False, True):
            self.assertEqual(GOOD, (yield self.ask(nobody, self.server(), tcp=tcp, timeout=1000)))

    @inlineCallbacks
    def test_no_route(self) -> Any:
        """... nor one that cannot be reached at all."""
        self.assertEqual(
            GOOD, (yield self.ask(Address("255.255.255.255", 53), self.server(), timeout=1000))
        )

    @inlineCallbacks
    def test_silence(self) -> Any:
        """A server that does not answer is given up after the timeout, which doubles with each
        round.
        """
        server = self.server(silent)
        failure = yield self.assertFailure(self.ask(server, timeout=0.01, tries=3), TimedOut)
        self.assertIn("0.04 s", str(failure))
        self.assertEqual(3, len(server.queries))

    def test_only_the_first_message(self) -> None:
        """What a server sends after its answer over TCP is not read."""
        read: list[bytes] = []

        class Reading(Question):
            """Remembers what it was given."""

            def read(self, data: bytes) -> Answer | None:
                """One message."""
                read.append(data)
                return super().read(data)

        stream = _Stream(Reading("a.test", "A", None))
        stream.dataReceived(b"\0\3abc" * 1000)
        self.assertEqual([b"abc"], read)
        self.assertEqual(Answer(Outcome.FAILED), self.successResultOf(stream.answer))

    @inlineCallbacks
    def test_tcp_closed(self) -> Any:
        """A server that closes a TCP connection without an answer has failed."""
        server = self.server(silent)
        yield self.assertFailure(self.ask(server, tcp=True, tries=2), ResolutionFailed)
        self.assertEqual(2, len(server.queries))

    @inlineCallbacks
    def test_bad_name(self) -> Any:
        """What cannot be a name is a failure, and nobody is asked."""
        server = self.server()
        yield self.assertFailure(self.ask(server, name="a..b"), ResolutionFailed)
        self.assertEqual([], server.queries)

    @inlineCallbacks
    def test_cancelled(self) -> Any:
        """A question can be given up: no socket and no timer is left, which trial looks for."""
        for tcp in (False, True):
            asked = self.ask(self.server(silent), tcp=tcp)
            asked.cancel()
            yield self.assertFailure(asked, CancelledError)


class HostileTests(ClientTestCase):
    """Who else may answer."""

    @inlineCallbacks
    def test_forged(self) -> Any:
        """Datagrams that do not answer the question are passed over; the true answer after them
        counts.
        """

        def reply(query: dns.message.Message) -> bytes:
            transport: Any = server.transport
            port = sockets[-1]
            for data in (
                b"",
                b"x",
                query.to_wire(),
                bytes([query.id >> 8, query.id & 255]) + b"\xff" * 400,
            ):
                transport.write(data, ("127.0.0.1", port))
            return good(query)

        sockets: list[int] = []
        server = self.server(reply)
        received = server.datagramReceived

        def note(datagram: bytes, addr: Any) -> None:
            sockets.append(addr[1])
            received(datagram, addr)

        server.datagramReceived = note  # type: ignore[method-assign]
        self.assertEqual(GOOD, (yield self.ask(server)))

    @inlineCallbacks
    def test_other_sender(self) -> Any:
        """A right answer from a wrong address does not arrive."""
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(stranger.close)
        server = self.server()

        def note(datagram: bytes, addr: Any) -> None:
            query = dns.message.from_wire(datagram)
            stranger.sendto(answer(query, "a.test. 7 IN A 6.6.6.6").to_wire(), addr)
            DnsServer.datagramReceived(server, datagram, addr)

        server.datagramReceived = note  # type: ignore[method-assign]
        self.assertEqual(GOOD, (yield self.ask(server)))

    @inlineCallbacks
    def test_most_questions(self) -> Any:
        """Of many questions only so many are under way at a time; all are answered."""
        server = self.server()
        client = DnsClient(reactor, [server.address], DnsOptions(), Random(1))
        asked = [client.ask("a.test", "A") for _ in range(3 * MOST_QUESTIONS)]
        self.assertLessEqual(len(reactor.getReaders()), MOST_QUESTIONS + 10)
        for each in asked:
            self.assertEqual(GOOD, (yield each))
