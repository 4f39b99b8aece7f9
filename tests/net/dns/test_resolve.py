"""Which addresses of a name are used."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.dns.resolve import ResolutionFailed, find
from tcpmesh.values.dns import Family
from tcpmesh.wire.names import Found

FOUR, SIX = Found("192.0.2.1"), Found("2001:db8::1")


class FindTests(SynchronousTestCase):
    """From a family to the two kinds of records."""

    def find(
        self, family: Family, four: Found | str | None = None, six: Found | str | None = None
    ) -> tuple[str, ...]:
        """What is found."""
        return tuple(each.host for each in self.successResultOf(self.begin(family, four, six)))

    def begin(
        self, family: Family, four: Found | str | None, six: Found | str | None
    ) -> Deferred[tuple[Found, ...]]:
        """Look where a name has these addresses; `"fails"` for a kind that nobody can tell."""
        self.asked: list[str] = []

        def addresses(name: str, kind: str) -> Deferred[tuple[Found, ...]]:
            self.asked.append(kind)
            known = four if kind == "A" else six
            if isinstance(known, str):
                return fail(ResolutionFailed(kind))
            return succeed((known,) if known else ())

        return find("a.test", family, addresses)

    def test_families(self) -> None:
        """AUTO is IPv6 where there is any, V4_PREFERRED IPv4; ALL is both, IPv4 first; the others
        are one kind only.
        """
        both, four, six = (FOUR, SIX), (FOUR, None), (None, SIX)
        expected = {
            Family.AUTO: ((SIX,), (FOUR,), (SIX,)),
            Family.V4_PREFERRED: ((FOUR,), (FOUR,), (SIX,)),
            Family.V4_ONLY: ((FOUR,), (FOUR,), ()),
            Family.V6_ONLY: ((SIX,), (), (SIX,)),
            Family.ALL: ((FOUR, SIX), (FOUR,), (SIX,)),
        }
        for family, wanted in expected.items():
            for known, found in zip((both, four, six), wanted, strict=True):
                self.assertEqual(
                    tuple(each.host for each in found), self.find(family, *known), (family, known)
                )

    def test_asks_no_more_than_it_needs(self) -> None:
        """The second kind is asked for only where the first has no address, and never where only
        one is wanted.
        """
        for family, asked in (
            (Family.AUTO, ["AAAA"]),
            (Family.V4_PREFERRED, ["A"]),
            (Family.ALL, ["A", "AAAA"]),
        ):
            self.find(family, FOUR, SIX)
            self.assertEqual(asked, self.asked)
        self.find(Family.V4_ONLY)
        self.assertEqual(["A"], self.asked)
        self.assertEqual((), self.find(Family.AUTO))
        self.assertEqual(["AAAA", "A"], self.asked)

    def test_one_fails(self) -> None:
        """One kind that is answered is a success, with or without addresses."""
        for family in (Family.AUTO, Family.V4_PREFERRED, Family.ALL):
            self.assertEqual((FOUR.host,), self.find(family, FOUR, "fails"))
            self.assertEqual((SIX.host,), self.find(family, "fails", SIX))
            self.assertEqual((), self.find(family, None, "fails"))
            self.assertEqual((), self.find(family, "fails", None))

    def test_all_fail(self) -> None:
        """Where nothing is answered it is a failure."""
        for family in Family:
            self.failureResultOf(self.begin(family, "fails", "fails"), ResolutionFailed)

    def test_number(self) -> None:
        """A number is its own address, whatever the family; but IPv6 is none for V4_ONLY, as in
        Envoy.
        """

        def nobody(name: str, kind: str) -> Deferred[tuple[Found, ...]]:
            raise AssertionError("nobody is asked")

        for family in Family:
            self.assertEqual((FOUR,), self.successResultOf(find(FOUR.host, family, nobody)))
            if family is not Family.V4_ONLY:
                self.assertEqual((SIX,), self.successResultOf(find(SIX.host, family, nobody)))
        self.failureResultOf(find(SIX.host, Family.V4_ONLY, nobody), ResolutionFailed)
