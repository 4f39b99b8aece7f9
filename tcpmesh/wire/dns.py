"""Questions to DNS servers and their answers as facts: bytes in, addresses out (RFC 1035, 4).

dnspython writes the questions.  The answers are read here: whoever can send us a datagram chooses
these bytes, and what reads them must not take longer than they are.  So nothing is looked at but
what is needed.  A message whose id is not ours, or that repeats another question than ours, is not
read on.  Of the records only those of the wanted kind and aliases are read, and of the sections
only the answers.  Names may be pointers into other names, so what was found out about a place of
the message is remembered, and no label is passed over twice.  The largest message, of 65535 bytes,
has some four thousand records, and at most `MOST_ALIASES` aliases are followed.
"""

from __future__ import annotations

import socket
from dataclasses import field
from enum import Enum
from struct import Struct, error

import dns.exception
import dns.message
import dns.name
import dns.rdatatype

from tcpmesh.facts import dataclass
from tcpmesh.wire.names import Found

MOST_ALIASES = 15
"""What dnspython follows, and more than anybody has."""

LONGEST_LABEL = 63
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
        self._next = start
        self._names: dict[int, bytes] = {}
        """By the places where they, or the rest of them, begin: on the wire, in lower case."""
        self._ends: dict[int, int] = {}
        """By the places of labels: where the labels end."""

    def records(self, count: int, wanted: int) -> _Sets:
        """What the next so many records say: those of a kind, and aliases."""
        found = _Sets()
        for _ in range(count):
            owner = self._next
            kind, of, ttl, start = self._record()
            if of != _IN or kind not in (wanted, _CNAME):
                continue
            name = self._name(owner)
            if ttl >> 31:  # RFC 2181, 8
                ttl = 0
            if kind == wanted:
                found.addresses.setdefault(name, {})[self._data[start : self._next]] = None
                found.ttls[name] = min(ttl, found.ttls.get(name, ttl))
            else:
                found.aliases[name] = self._name(start), ttl
        return found

    def extended_code(self, count: int) -> int:
        """The upper bits of the code, where one of the next so many records has them (RFC 6891)."""
        for _ in range(count):
            kind, _, ttl, _ = self._record()
            if kind == _OPT:
                return ttl >> 24
        return 0

    def _record(self) -> tuple[int, int, int, int]:
        """Pass over a record: its type, class and time to live, and where its data begins."""
        data, end = self._data, self._next
        if 0 < data[end] < _POINTER:
            end = self._end_of_labels(end)
        at = end + (2 if data[end] else 1)
        kind, of, ttl, size = _RECORD.unpack_from(data, at)
        start = at + _RECORD.size
        self._next = start + size
        if self._next > len(data):
            raise Malformed("a record is cut off")
        return kind, of, ttl, start

    def _name(self, at: int) -> bytes:
        """The name that begins at a place: labels, and an empty one or a pointer to others."""
        data, names = self._data, self._names
        unknown: list[tuple[int, bytes]] = []
        while at not in names:
            end = self._end_of_labels(at)
            unknown.append((at, data[at:end].lower()))
            if not data[end]:
                break
            target = (data[end] & ~_POINTER) << 8 | data[end + 1]
            if target >= at:
                raise Malformed("a pointer that does not point back")
            at = target
        name = names.get(at, b"\0")
        for place, labels in reversed(unknown):
            name = labels + name
            if len(name) > LONGEST_NAME:
                raise Malformed("a name that is too long")
            names[place] = name
        return name

    def _end_of_labels(self, at: int) -> int:
        """Where the labels from a place on end: at the empty one, or a pointer."""
        data, ends = self._data, self._ends
        passed = []
        while at not in ends:
            size = data[at]
            if not size or size >= _POINTER:
                ends[at] = at
                break
            if size > LONGEST_LABEL:
                raise Malformed("a label that is too long")
            passed.append(at)
            at += 1 + size
        end = ends[at]
        for place in passed:
            ends[place] = end
        return end
