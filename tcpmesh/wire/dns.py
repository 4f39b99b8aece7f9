"""Questions to DNS servers and their answers as facts: bytes in, addresses out (RFC 1035, 4).

dnspython writes the questions.  The answers are read here: whoever can send us a datagram chooses
these bytes, and what reads them must not take longer than they are.  So nothing is looked at but
what is needed.  A message whose id is not ours, or that repeats another question than ours, is not
read on.  Of the records only those of the wanted kind and aliases are read, and of the sections
only the answers.  Names may be pointers into other names; each name that begins at some place of
the message is worked out once, and remembered.  So the largest message, of 65535 bytes, costs some
four thousand records, and at most `MOST_ALIASES` aliases are followed.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from enum import Enum
from struct import Struct, error

import dns.exception
import dns.message
import dns.name
import dns.rdatatype

from tcpmesh.wire.names import Found

MOST_ALIASES = 15
"""What dnspython follows, and more than anybody has."""

LONGEST_NAME = 255
"""Bytes, with the length of each label (RFC 1035, 3.1)."""

_HEADER = Struct("!HHHHHH")
_RECORD = Struct("!HHIH")
_POINTER = 0xC0

_RESPONSE = 0x8000
_OPCODE = 0x7800
_TRUNCATED = 0x0200
_CODE = 0x000F

_NOERROR, _FORMERR, _NXDOMAIN = 0, 1, 3
_IN = 1
_CNAME = 5
_OPT = 41

_SIZES = {"A": 4, "AAAA": 16}
_FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}


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


class Malformed(ValueError):
    """A message that is not sound."""


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
        message = dns.message.make_query(qname, kind, use_edns=edns, payload=payload or 0)
        self.wire: bytes = message.to_wire()
        self._has_edns = payload is not None
        self._kind = kind
        self._name = qname.canonicalize().to_wire() or b""
        self._asked = self._name + self.wire[12 + len(self._name) : 16 + len(self._name)]

    def read(self, data: bytes) -> Answer | None:
        """What a message says; `None` for one that does not answer this question, such as a forged
        or a broken one.
        """
        if data[:2] != self.wire[:2] or len(data) < _HEADER.size:
            return None
        _, flags, questions, answers, authorities, more = _HEADER.unpack_from(data)
        if flags & (_RESPONSE | _OPCODE) != _RESPONSE:
            return None
        code = flags & _CODE
        end = 12 + len(self._asked)
        if questions != 1 or data[12:end].lower() != self._asked:
            # A server that understands nothing may leave the question out.
            unread = questions == 0 and code not in (_NOERROR, _NXDOMAIN)
            return self._failure(code) if unread else None
        if code not in (_NOERROR, _NXDOMAIN):
            return self._failure(code)
        if flags & _TRUNCATED:
            return Answer(Outcome.TRUNCATED)
        try:
            message = _Message(data, end)
            if answers:
                return self._addresses(message, answers)
            # A code of more than four bits has the others in the record of the extension.
            is_failure = message.extended_code(authorities + more)
            return Answer(Outcome.FAILED if is_failure else Outcome.NONE)
        except (Malformed, IndexError, error):
            return None

    def _failure(self, code: int) -> Answer:
        no_edns = code == _FORMERR and self._has_edns
        return Answer(Outcome.NO_EDNS if no_edns else Outcome.FAILED)

    def _addresses(self, message: _Message, answers: int) -> Answer:
        sets = message.records(answers, int(dns.rdatatype.from_text(self._kind)))
        name, least = self._name, 1 << 32
        for _ in range(MOST_ALIASES + 1):
            if name in sets.addresses:
                least = min(least, sets.ttls[name])
                return Answer(Outcome.FOUND, self._found(sets.addresses[name], least))
            if name not in sets.aliases:
                return Answer(Outcome.NONE)
            name, ttl = sets.aliases[name]
            least = min(least, ttl)
        raise Malformed("aliases without end")

    def _found(self, addresses: dict[bytes, None], ttl: int) -> tuple[Found, ...]:
        size, family = _SIZES[self._kind], _FAMILIES[self._kind]
        if any(len(address) != size for address in addresses):
            raise Malformed("an address of another size")
        return tuple(Found(socket.inet_ntop(family, address), ttl) for address in addresses)


@dataclass
class _Sets:
    """What the records of a message say, by their names in lower case."""

    addresses: dict[bytes, dict[bytes, None]] = field(default_factory=dict)
    """In order, each once."""

    ttls: dict[bytes, int] = field(default_factory=dict)
    aliases: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)


class _Message:
    """The records of a message, from some place on."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._at = start
        self._names: dict[int, bytes] = {}
        """By the places where they, or the rest of them, begin: on the wire, in lower case."""

    def records(self, count: int, wanted: int) -> _Sets:
        """The next so many records."""
        found = _Sets()
        data, wants = self._data, (wanted, _CNAME)
        for _ in range(count):
            at = self._skip_name(self._at)
            kind, of, ttl, size = _RECORD.unpack_from(data, at)
            start, self._at = at + _RECORD.size, at + _RECORD.size + size
            if self._at > len(data):
                raise Malformed("a record is cut off")
            if kind not in wants or of != _IN:
                continue
            name, ttl = self._name(self._begin), ttl if ttl < 1 << 31 else 0
            if kind == wanted:
                found.addresses.setdefault(name, {})[data[start : self._at]] = None
                found.ttls[name] = min(ttl, found.ttls.get(name, ttl))
            else:
                found.aliases[name] = self._name(start), ttl
        return found

    def extended_code(self, count: int) -> int:
        """The upper bits of the code, where one of the next so many records has them (RFC 6891)."""
        for _ in range(count):
            at = self._skip_name(self._at)
            kind, _, ttl, size = _RECORD.unpack_from(self._data, at)
            if kind == _OPT:
                return int(ttl >> 24)
            self._at = at + _RECORD.size + size
        return 0
