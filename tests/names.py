"""DNS for tests: a resolver that says what it is told to say, and a real server on a loopback
address.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from zope.interface import implementer

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from tcpmesh.interfaces import IDnsResolver
from tcpmesh.net.dns.resolve import ResolutionFailed
from tcpmesh.values.address import Address
from tcpmesh.values.dns import Family
from tcpmesh.wire.names import Found


@implementer(IDnsResolver)
class Names:
    """A resolver for tests with a clock.  A name that is not in `records` has no address, one that
    has `None` there fails.
    """

    def __init__(self, **records: list[str] | None) -> None:
        self.records: dict[str, list[str] | None] = dict(records)
        self.ttl = 0
        self.asked: list[tuple[str, Family]] = []
        self.held: list[Deferred[Any]] | None = None
        """A list to keep questions in, rather than to answer them."""

    def resolve(self, name: str, family: Family) -> Deferred[tuple[Found, ...]]:
        """Answer at once, unless questions are held."""
        self.asked.append((name, family))
        if self.held is not None:
            self.held.append(Deferred())
            return self.held[-1]
        hosts = self.records.get(name, [])
        if hosts is None:
            return fail(ResolutionFailed("no server"))
        return succeed(tuple(Found(host, self.ttl) for host in hosts))


Reply = Callable[[dns.message.Message], bytes | None]


def answer(
    query: dns.message.Message, *records: str, code: int = dns.rcode.NOERROR
) -> dns.message.Message:
    """The answer to a query; records as in `name ttl IN A 127.0.0.1`."""
    made = dns.message.make_response(query)
    made.set_rcode(dns.rcode.Rcode(code))
    for record in records:
        name, ttl, _, kind, data = record.split()
        made.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, data))
    return made


class DnsServer(DatagramProtocol):
    """A DNS server on a port of 127.0.0.1 that answers, over UDP and TCP, by a function of the
    query.
    """

    noisy = False

    def __init__(self, reactor: Any, reply: Reply) -> None:
        self.reply = reply
        self.queries: list[tuple[str, str, str]] = []
        """(transport, name, type) of each query."""
        self.with_edns: list[bool] = []
        factory = Factory.forProtocol(_Stream)
        factory.noisy = False
        factory.server = self  # type: ignore[attr-defined]
        self._tcp, self._udp = _listen(reactor, factory, self)
        self.address = Address("127.0.0.1", self._udp.getHost().port)

    def close(self) -> Any:
        """Give the port free."""
        self._udp.stopListening()
        return self._tcp.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """A query over UDP."""
        reply = self.take("udp", datagram)
        if reply is not None:
            transport: Any = self.transport
            transport.write(reply, addr)

    def take(self, transport: str, data: bytes) -> bytes | None:
        """Note a query and answer it."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        self.queries.append((transport, question.name.to_text(omit_final_dot=True), kind))
        self.with_edns.append(query.edns >= 0)
        return self.reply(query)


def _listen(reactor: Any, factory: Any, protocol: Any) -> tuple[Any, Any]:
    """A TCP and a UDP socket on one port: not every one that is free for TCP is so for UDP."""
    while True:
        tcp = reactor.listenTCP(0, factory, interface="127.0.0.1")
        try:
            return tcp, reactor.listenUDP(tcp.getHost().port, protocol, "127.0.0.1")
        except CannotListenError:
            tcp.stopListening()


class _Stream(Protocol):
    """One query over TCP."""

    _data = b""

    def dataReceived(self, data: bytes) -> None:
        """Answer once the query is complete."""
        self._data += data
        server: DnsServer = self.factory.server
        if len(self._data) > 2:
            reply = server.take("tcp", self._data[2:])
            transport: Any = self.transport
            if reply is None:
                transport.loseConnection()
            else:
                transport.write(struct.pack("!H", len(reply)) + reply)
