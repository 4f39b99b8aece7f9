"""Where addresses are looked for: /etc/hosts, the search list, DNS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.dns.lookup import HostsFile, Lookup, SystemDns, system_dns
from tcpmesh.net.dns.resolve import ResolutionFailed
from tcpmesh.values.address import Address
from tcpmesh.wire.dns import Answer, Outcome
from tcpmesh.wire.names import Found


class Client:
    """In place of a `DnsClient`."""

    def __init__(self, **records: str) -> None:
        self.records = records
        self.asked: list[str] = []

    def ask(self, name: str, kind: str) -> Deferred[Answer]:
        """Answer at once."""
        self.asked.append(name)
        host = self.records.get(name.rstrip(".").replace(".", "_"))
        if host == "fails":
            return fail(ResolutionFailed())
        return succeed(Answer(Outcome.FOUND, (Found(host),)) if host else Answer(Outcome.NONE))


class LookupTests(SynchronousTestCase):
    """One kind of addresses of a name."""

    def lookup(self, name: str, kind: str = "A", **given: Any) -> tuple[str, ...]:
        """What is found."""
        return tuple(each.host for each in self.successResultOf(self.begin(name, kind, **given)))

    def begin(
        self, name: str, kind: str = "A", hosts: str = "", ndots: int = 1, **records: str
    ) -> Deferred[tuple[Found, ...]]:
        """Look, with this hosts file and these records, with two domains to search."""
        path = Path(self.mktemp())
        path.write_text(hosts)
        self.client = Client(**records)
        lookup = Lookup(self.client, HostsFile(str(path)), ("one.test", "two.test"), ndots)  # type: ignore[arg-type]
        return lookup.addresses(name, kind)

    def test_hosts_first(self) -> None:
        """What /etc/hosts has is not asked for, in whatever case."""
        self.assertEqual(
            ("127.0.0.9", "127.0.0.8"),
            self.lookup("DB.test", hosts="127.0.0.9 db.TEST\n127.0.0.8 db.test"),
        )
        self.assertEqual([], self.client.asked)

    def test_other_kind(self) -> None:
        """A name that is in /etc/hosts with the other kind only is asked for in DNS."""
        self.assertEqual(
            ("::5",), self.lookup("db.test", "AAAA", hosts="127.0.0.9 db.test", db_test="::5")
        )

    def test_localhost(self) -> None:
        """localhost and all below is this host, and DNS is never asked (RFC 6761, 6.3)."""
        for name in ("localhost", "a.LOCALHOST", "localhost."):
            self.assertEqual(("127.0.0.1",), self.lookup(name))
            self.assertEqual(("::1",), self.lookup(name, "AAAA", hosts="127.0.0.1 localhost"))
            self.assertEqual([], self.client.asked)
        self.assertEqual(("127.0.0.7",), self.lookup("localhost", hosts="127.0.0.7 localhost"))

    def test_search(self) -> None:
        """A name with fewer dots than `ndots` is looked for in each domain first, another is taken
        as it is first.
        """
        self.assertEqual((), self.lookup("db"))
        self.assertEqual(["db.one.test.", "db.two.test.", "db."], self.client.asked)
        self.assertEqual((), self.lookup("db.x"))
        self.assertEqual(["db.x.", "db.x.one.test.", "db.x.two.test."], self.client.asked)
        self.lookup("db.x", ndots=2)
        self.assertEqual("db.x.one.test.", self.client.asked[0])

    def test_search_ends(self) -> None:
        """The first domain where the name has an address is the last one asked."""
        self.assertEqual(("10.0.0.2",), self.lookup("db", db_two_test="10.0.0.2", db="10.0.0.3"))
        self.assertEqual(["db.one.test.", "db.two.test."], self.client.asked)

    def test_absolute(self) -> None:
        """A name that ends with a dot is not searched for."""
        self.assertEqual((), self.lookup("db."))
        self.assertEqual(["db."], self.client.asked)

    def test_failure_ends_the_search(self) -> None:
        """Where a server fails nobody knows whether the name is there, so no other name is taken
        for it.
        """
        self.failureResultOf(
            self.begin("db", db_one_test="fails", db_two_test="10.0.0.2"), ResolutionFailed
        )
        self.assertEqual(["db.one.test."], self.client.asked)


class HostsFileTests(SynchronousTestCase):
    """A file that may change."""

    def test_changes(self) -> None:
        """It is read again when it has changed."""
        path = Path(self.mktemp())
        path.write_text("127.0.0.1 a")
        hosts = HostsFile(str(path))
        self.assertEqual(("127.0.0.1",), hosts.find("a"))
        path.write_text("127.0.0.2 a\n")
        self.assertEqual(("127.0.0.2",), hosts.find("a"))

    def test_missing(self) -> None:
        """A file that is not there has no names, and may come later."""
        path = Path(self.mktemp())
        hosts = HostsFile(str(path))
        self.assertEqual((), hosts.find("a"))
        path.write_text("127.0.0.1 a")
        self.assertEqual(("127.0.0.1",), hosts.find("a"))
        os.remove(path)
        self.assertEqual((), hosts.find("a"))

    def test_any_bytes(self) -> None:
        """A file of nonsense has no names."""
        path = Path(self.mktemp())
        path.write_bytes(bytes(range(256)))
        self.assertEqual((), HostsFile(str(path)).find("a"))


class SystemTests(SynchronousTestCase):
    """/etc/resolv.conf."""

    def read(self, text: str) -> SystemDns:
        """What this text says."""
        path = Path(self.mktemp())
        path.write_text(text)
        return system_dns(str(path))

    def test_format(self) -> None:
        """Servers, the domains to search and `ndots` are read."""
        found = self.read(
            "# x\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch one.test two.test\n"
            "options ndots:3 rotate\n"
        )
        self.assertEqual(
            SystemDns(
                (Address("192.0.2.1", 53), Address("2001:db8::1", 53)), ("one.test", "two.test"), 3
            ),
            found,
        )

    def test_nothing(self) -> None:
        """Without a server, or without a file, the local host is asked."""
        self.assertEqual((Address("127.0.0.1", 53),), self.read("search one.test\n").servers)
        self.assertEqual(SystemDns(), system_dns("/no/such/file"))
