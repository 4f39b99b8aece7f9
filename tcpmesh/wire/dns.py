"""Questions to DNS servers and their answers as facts: bytes in, addresses out.

dnspython reads and writes the messages.  Whoever can send us a datagram chooses these bytes, so an
answer counts only if it is one: to this question, by its random id.  What an answer can cost is
bounded by what a message can hold: 65535 bytes, so some four thousand addresses, and dnspython
follows at most 16 aliases.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from tcpmesh.wire.names import Found


class Outcome(Enum):
    """What a server has said."""

    FOUND = "there are addresses"
    NONE = "the name does not exist, or has no address of this kind"
    TRUNCATED = "the answer does not fit: ask again over TCP"
    NO_EDNS = (
        "the server does not understand the extension of a larger payload (RFC 6891, 7): "
        "ask again without"
    )
    FAILED = "this server has no answer"


@dataclass(frozen=True)
class Answer:
    """An answer to a question."""

    outcome: Outcome
    addresses: tuple[Found, ...] = ()


class Question:
    """What are the addresses of one kind of a name, in a message of its own."""

    def __init__(self, name: str, kind: str, payload: int | None) -> None:
        """
        :param payload: the size of datagrams that we take, in bytes (RFC 6891); `None` for a
            question without EDNS.
        :raise ValueError: where the name cannot be one in DNS.
        """
        try:
            qname = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError) as e:
            raise ValueError(f"{name!r} is no name in DNS: {e}") from None
        edns = -1 if payload is None else 0
        self._message = dns.message.make_query(qname, kind, use_edns=edns, payload=payload or 0)
        self._kind = dns.rdatatype.from_text(kind)
        self.wire: bytes = self._message.to_wire()

    def read(self, data: bytes) -> Answer | None:
        """What a message says; `None` for one that does not answer this question, such as a forged
        or a broken one.
        """
        if data[:2] != self.wire[:2]:
            return None
        try:
            answer = dns.message.from_wire(data, ignore_trailing=True)
            return self._judge(answer) if self._message.is_response(answer) else None
        except (dns.exception.DNSException, ValueError):
            return None

    def _judge(self, answer: dns.message.Message) -> Answer:
        code = answer.rcode()
        if code == dns.rcode.FORMERR and self._message.edns >= 0:
            return Answer(Outcome.NO_EDNS)
        if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return Answer(Outcome.FAILED)
        if answer.flags & dns.flags.TC:
            return Answer(Outcome.TRUNCATED)
        return self._addresses(answer)

    def _addresses(self, answer: dns.message.Message) -> Answer:
        assert isinstance(answer, dns.message.QueryMessage)
        chain = answer.resolve_chaining()
        if chain.answer is None:
            return Answer(Outcome.NONE)
        ttl = min(chain.minimum_ttl, chain.answer.ttl)
        return Answer(Outcome.FOUND, tuple(Found(record.address, ttl) for record in chain.answer))
