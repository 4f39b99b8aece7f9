"""Questions to DNS servers, and what counts as an answer."""

from __future__ import annotations

import struct
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.dns import Answer, Outcome, Question
from tcpmesh.wire.names import Found
from tests.names import answer


def replied(
    question: Question, *records: str, code: int = dns.rcode.NOERROR, flags: int = 0
) -> Answer | None:
    """What a question makes of an answer with these records."""
    made = answer(dns.message.from_wire(question.wire), *records, code=code)
    made.flags |= flags
    return question.read(made.to_wire())


RECORD = struct.pack("!HHIH", 1, 1, 7, 4) + b"\x7f\0\0\2"
"""What follows the name of an address."""

PIECES = (
    b"\xc0\x0c" + RECORD,
    b"\xc0\x0c" + RECORD[:-1] + b"\3",
    b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 7, 2) + b"\1a",
    b"\x01A\x04teSt\0" + RECORD[:-1] + b"\4",
    b"\x01b\xc0\x0e" + RECORD[:-1] + b"\5",
    b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 7, 4) + b"\x01b\xc0\x0e",
    b"\x01b\xc0\x0e" + struct.pack("!HHIH", 5, 1, 7, 4) + b"\x01c\xc0\x0e",
    b"\x01c\xc0\x0e" + RECORD[:-1] + b"\6",
    b"\x01c\x04test\0" + struct.pack("!HHIH", 1, 3, 7, 4) + b"\x7f\0\0\7",
)
"""Records of the name that is asked for, of its aliases and of others."""


def records_by_pointers(name: bytes, count: int) -> list[bytes]:
    """Records of which the first has a name, and the others pointers to it."""
    pointer = struct.pack("!H", 0xC000 | 12 + len(b"\1a\4test\0") + 4)
    return [name + RECORD, *(pointer + RECORD for _ in range(count - 1))]


class Counting(bytes):
    """Counts how often it is looked at."""

    looks = 0

    def __getitem__(self, key: Any) -> Any:
        """A byte, or some."""
        self.looks += 1
        return super().__getitem__(key)


class QuestionTests(SynchronousTestCase):
    """What is asked."""

    def test_query(self) -> None:
        """A recursive query for one kind of record that tells how large a datagram may be."""
        query = dns.message.from_wire(Question("a.test.", "AAAA", 1400).wire)
        self.assertEqual(["a.test. IN AAAA"], [each.to_text() for each in query.question])
        self.assertTrue(query.flags & dns.flags.RD)
        self.assertEqual((0, 1400), (query.edns, query.payload))

    def test_without_edns(self) -> None:
        """... or that tells nothing, as in 1987."""
        self.assertEqual(-1, dns.message.from_wire(Question("a.test", "A", None).wire).edns)

    def test_ids_differ(self) -> None:
        """Each question has an id that cannot be foreseen."""
        self.assertGreater(len({Question("a.test", "A", None).wire[:2] for _ in range(50)}), 40)

    def test_no_name(self) -> None:
        """What cannot be a name is a ValueError."""
        for name in ("a..b", "x" * 64, ".".join(["abcdefgh"] * 32), "\udcff"):
            self.assertRaises(ValueError, Question, name, "A", None)


class AnswerTests(SynchronousTestCase):
    """What an answer says."""

    def setUp(self) -> None:
        """One question for an IPv4 address."""
        self.question = Question("a.test", "A", 1232)

    def test_addresses(self) -> None:
        """All addresses, in the order of the message, with their time to live; other records say
        nothing.
        """
        found = replied(
            self.question,
            "a.test. 7 IN A 127.0.0.3",
            "b.test. 7 IN A 127.0.0.9",
            "a.test. 7 IN A 127.0.0.2",
            "a.test. 7 IN TXT x",
        )
        self.assertEqual(
            Answer(Outcome.FOUND, (Found("127.0.0.3", 7), Found("127.0.0.2", 7))), found
        )

    def test_aliases(self) -> None:
        """An alias is followed, and the shortest time to live of the way counts."""
        found = replied(self.question, "a.test. 3 IN CNAME b.test.", "b.test. 60 IN A 127.0.0.2")
        self.assertEqual(Answer(Outcome.FOUND, (Found("127.0.0.2", 3),)), found)

    def test_none(self) -> None:
        """No such name, no record of the kind and an alias of nothing are all "no address"."""
        self.assertEqual(Answer(Outcome.NONE), replied(self.question, code=dns.rcode.NXDOMAIN))
        self.assertEqual(Answer(Outcome.NONE), replied(self.question))
        self.assertEqual(Answer(Outcome.NONE), replied(self.question, "a.test. 3 IN CNAME b.test."))

    def test_failures(self) -> None:
        """Every other code is a failure of this server."""
        for code in (dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP):
            self.assertEqual(Answer(Outcome.FAILED), replied(self.question, code=code))

    def test_no_edns(self) -> None:
        """A format error may be due to EDNS, where that was used."""
        self.assertEqual(Answer(Outcome.NO_EDNS), replied(self.question, code=dns.rcode.FORMERR))
        self.assertEqual(
            Answer(Outcome.FAILED), replied(Question("a.test", "A", None), code=dns.rcode.FORMERR)
        )

    def test_truncated(self) -> None:
        """What does not fit is told, and what is there of it does not count."""
        self.assertEqual(
            Answer(Outcome.TRUNCATED),
            replied(self.question, "a.test. 7 IN A 127.0.0.3", flags=dns.flags.TC),
        )


class HostileTests(SynchronousTestCase):
    """What is no answer to the question."""

    def setUp(self) -> None:
        """One question, and a good answer to it."""
        self.question = Question("a.test", "A", 1232)
        self.query = dns.message.from_wire(self.question.wire)
        self.good = answer(self.query, "a.test. 7 IN A 127.0.0.2")

    def test_other_id(self) -> None:
        """A message with another id says nothing."""
        self.good.id ^= 1
        self.assertIsNone(self.question.read(self.good.to_wire()))

    def test_other_question(self) -> None:
        """... nor one that answers another question, or asks."""
        other = dns.message.make_query("b.test", "A", id=self.query.id)
        self.assertIsNone(self.question.read(answer(other, "a.test. 7 IN A 127.0.0.2").to_wire()))
        self.assertIsNone(self.question.read(self.question.wire))

    def test_alias_loop(self) -> None:
        """... nor one whose aliases go in circles, or on without end."""
        self.assertIsNone(
            replied(self.question, "a.test. 3 IN CNAME b.test.", "b.test. 3 IN CNAME a.test.")
        )
        chain = [f"{'a' if n == 0 else f'x{n}'}.test. 3 IN CNAME x{n + 1}.test." for n in range(40)]
        self.assertIsNone(replied(self.question, *chain, "x40.test. 3 IN A 127.0.0.2"))

    def test_largest(self) -> None:
        """A message of the largest size is read, and holds no more addresses than fit."""
        records = [
            f"a.test. 7 IN A 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(4000)
        ]
        found = self.question.read(answer(self.query, *records).to_wire(max_size=65535))
        assert found is not None
        self.assertEqual(4000, len(found.addresses))

    def test_linear(self) -> None:
        """Thousands of records named by a pointer to 120 labels, or to pointers, are read without
        looking at any byte more than a few times.
        """
        for name, count in ((b"\x01a" * 120 + b"\0", 3900), (b"\x01a\0", 3900)):
            message = self.answer_of(records_by_pointers(name, count))
            data = Counting(message)
            self.assertEqual(Answer(Outcome.NONE), self.question.read(data))
            self.assertLess(data.looks, 3 * len(message))

    def test_other_questions_are_not_read(self) -> None:
        """Of an answer to another question no record is looked at."""
        other = dns.message.make_query("b.test", "A", id=self.query.id)
        records = [f"b.test. 7 IN A 10.0.{n >> 8}.{n & 255}" for n in range(3000)]
        data = Counting(answer(other, *records).to_wire(max_size=65535))
        self.assertIsNone(self.question.read(data))
        self.assertLess(data.looks, 4)

    def test_bad_names(self) -> None:
        """Pointers forward or to themselves, labels of an unknown kind, names that are too long or
        have no end, and records that are cut off make a message that says nothing.
        """
        start = len(self.question.wire[:12]) + len(self.question._asked)
        here = struct.pack("!H", 0xC000 | start)
        long = (b"\x3f" + b"a" * 63) * 4 + b"\0"
        for name in (b"\xff\xff", here, b"\x01a" + here, b"\x40a\0", b"\x80\0", long, b"\x3fa"):
            self.assertIsNone(self.question.read(self.answer_of([name + RECORD])), name)
        whole = self.answer_of([b"\xc0\x0c" + RECORD])
        self.assertIsNotNone(self.question.read(whole))
        for size in range(13, len(whole)):
            self.assertIsNone(self.question.read(whole[:size]), size)
        six = b"\xc0\x0c" + RECORD[:8] + b"\0\6" + b"abcdef"
        self.assertIsNone(self.question.read(self.answer_of([six])))

    def test_extended_code(self) -> None:
        """A code that needs the extension is a failure too (RFC 6891, 6.1.3)."""
        opt = b"\0" + struct.pack("!HHIH", 41, 1232, 1 << 24, 0)
        data = self.answer_of([opt])
        more = data[:6] + struct.pack("!HHH", 0, 0, 1) + data[12:]
        self.assertEqual(Answer(Outcome.FAILED), self.question.read(more))

    def answer_of(self, records: list[bytes]) -> bytes:
        """A message of these records that answers the question."""
        head = self.question.wire[:2] + struct.pack("!HHHHH", 0x8180, 1, len(records), 0, 0)
        return head + self.question._asked + b"".join(records)

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.sampled_from(PIECES), max_size=30), st.integers(0, 40))
    def test_as_dnspython(self, pieces: list[bytes], cut: int) -> None:
        """Whatever the records are, what is found is what dnspython finds."""
        data = self.answer_of(pieces)
        data = data[: len(data) - cut] if cut < 10 else data
        try:
            chain = dns.message.from_wire(data).resolve_chaining()  # type: ignore[attr-defined]
            expected = sorted(record.address for record in chain.answer or ())
        except dns.exception.DNSException:
            return
        found = self.question.read(data)
        assert found is not None
        self.assertEqual(expected, sorted(each.host for each in found.addresses))

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_records(self, data: bytes) -> None:
        """No bytes after the question make it fail."""
        self.question.read(self.answer_of([])[:6] + b"\0\x09\0\0\0\0" + data)

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """No bytes after the right id make it fail."""
        self.question.read(self.question.wire[:2] + data)

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(2, 1 << 10), st.integers(0, 255)), max_size=6),
        st.integers(2, 1 << 10),
    )
    def test_broken(self, changes: list[tuple[int, int]], size: int) -> None:
        """No change to a good answer makes it fail."""
        data = bytearray(self.good.to_wire())
        for place, value in changes:
            data[2 + place % (len(data) - 2)] = value
        self.question.read(bytes(data[:size]))
