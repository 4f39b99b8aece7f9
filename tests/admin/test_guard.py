"""What the admin interface lets through."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.internet.address import UNIXAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.answers.endpoint import Refusal
from tcpmesh.admin.guard import Guard, normal_path
from tcpmesh.admin.site import AdminSite
from tcpmesh.admin.table import ENDPOINTS
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.values.address import Address
from tests.admin.client import Client
from tests.admin.fakes import FakeServer


def ask(client: Client, request: str) -> str:
    """The first line of what comes back for a request as it is given."""
    client.channel.dataReceived(request.replace("\n", "\r\n").encode("latin-1"))
    client.run()
    answer: str = client.transport.value().partition(b"\r\n")[0].decode()
    client.transport.clear()
    return answer


class PathTests(SynchronousTestCase):
    """Paths as they are meant."""

    def test_normal(self) -> None:
        """Escapes, dots and empty segments are as in Envoy; an escaped slash is none."""
        for path, wanted in (
            ("/", "/"),
            ("/ready", "/ready"),
            ("/re%61dy", "/ready"),
            ("//ready", "/ready"),
            ("/a/../ready", "/ready"),
            ("/../../ready", "/ready"),
            ("/./ready", "/ready"),
            ("/stats//prometheus", "/stats/prometheus"),
            ("/ready/", "/ready/"),
            ("/ready/.", "/ready/"),
            ("/ready/..", "/"),
            ("/ready%2F", "/ready%2F"),
        ):
            self.assertEqual(wanted, normal_path(path), path)

    def test_refused(self) -> None:
        """What is no path is refused, and nothing is said."""
        for path in ("ready", "", "*", "/ready#a", "/%00", "http://localhost/ready"):
            refusal = self.assertRaises(Refusal, normal_path, path)
            self.assertEqual((400, ""), (refusal.status, refusal.text))

    @given(st.text(alphabet="/.%2Ffa#", max_size=20))
    def test_any(self, path: str) -> None:
        """Whatever is asked for is a path from the root or refused."""
        try:
            found = normal_path(path)
        except Refusal:
            return
        self.assertTrue(found.startswith("/"))
        self.assertNotIn("/../", found + "/")


class GuardTests(SynchronousTestCase):
    """Requests of browsers and others."""

    def client(self, guard: Guard) -> Client:
        """A client of an interface with this guard."""
        clock = Clock()
        site = AdminSite(FakeServer(), ENDPOINTS, clock, shared_cooperator(clock), None, guard)
        return Client(FakeServer(), clock, site)

    def status(self, fields: str, method: str = "POST", path: str = "/reset_counters") -> int:
        """The status of a request with these header fields."""
        client = self.client(Guard(names=["proxy.example"]))
        line = ask(client, f"{method} {path} HTTP/1.1\n{fields}Content-Length: 0\n\n")
        return int(line.split()[1])

    def test_hosts(self) -> None:
        """What changes something is to be asked of an address, localhost or a name of ours: no
        other name may lead a browser here.
        """
        for host in (
            *("localhost", "localhost:9901", "LOCALHOST", "127.0.0.1:9901", "[::1]:9901"),
            *("10.0.0.1", "proxy.example", "Proxy.Example.:80"),
        ):
            self.assertEqual(200, self.status(f"Host: {host}\n"), host)
        for host in ("evil.example", "localhost.evil.example", "proxy.example.evil", "1.2.3", "x"):
            self.assertEqual(403, self.status(f"Host: {host}\n"), host)
            self.assertEqual(200, self.status(f"Host: {host}\n", "GET", "/ready"), host)

    def test_origins(self) -> None:
        """A page of another site can change nothing, whatever it can read."""
        ours = "Host: 127.0.0.1:9901\n"
        for field in (
            "",
            "Origin: http://127.0.0.1:9901\n",
            "Sec-Fetch-Site: same-origin\n",
            "Sec-Fetch-Site: none\n",
        ):
            self.assertEqual(200, self.status(ours + field), field)
        for field in (
            "Origin: http://evil.example\n",
            "Origin: null\n",
            "Origin: http://127.0.0.1:9902\n",
            "Origin: http://127.0.0.1:9901.evil.example\n",
            "Sec-Fetch-Site: cross-site\n",
            "Sec-Fetch-Site: same-site\n",
        ):
            self.assertEqual(403, self.status(ours + field), field)
            self.assertEqual(200, self.status(ours + field, "GET", "/ready"), field)

    def test_every_change(self) -> None:
        """No page that changes something can be asked for with GET, or by another site."""
        for endpoint in ENDPOINTS:
            if endpoint.changes:
                ours = "Host: localhost\n"
                self.assertEqual(405, self.status(ours, "GET", endpoint.path), endpoint.path)
                evil = f"{ours}Origin: http://evil.example\n"
                self.assertEqual(403, self.status(evil, "POST", endpoint.path), endpoint.path)

    def test_unix(self) -> None:
        """By a unix socket comes no browser: nothing is asked of its requests."""
        for address in (UNIXAddress("/run/admin"), Address("/run/admin")):
            client = self.client(Guard())
            client.transport.hostAddr = address
            asked = "POST /reset_counters HTTP/1.1\nHost: x\nOrigin: y\nContent-Length: 0\n\n"
            self.assertEqual("HTTP/1.1 200 OK", ask(client, asked))

    def test_allowed_paths(self) -> None:
        """Where the configuration names paths all others are refused, those that are not there
        too; a test is held against the query as well.
        """
        allows: list[Any] = ["/ready".__eq__, lambda path: path.startswith("/stats")]
        client = self.client(Guard(allows))
        for path, status in (
            ("/ready", 200),
            ("/re%61dy", 200),
            ("/ready?x=1", 403),
            ("/stats?filter=x", 200),
            ("/help", 403),
            ("/nope", 403),
        ):
            found = client.ask(path)
            self.assertEqual(status, found.status, path)
            if status == 403:
                self.assertEqual(f"request to path {path} not allowed", found.body)


class HeadTests(SynchronousTestCase):
    """How long a request may be."""

    def test_long(self) -> None:
        """A request of 60 KiB is answered; a longer one, in its first line, in a field or in all
        together, gets 431, and so does one with too many fields.
        """
        for size, status in ((60_000, 200), (62_000, 431), (500_000, 431)):
            asked = f"GET /ready?{'a' * size} HTTP/1.1\nHost: localhost\n\n"
            self.assertEqual(str(status), self.answer(asked).split()[1])
            asked = f"GET /ready HTTP/1.1\nHost: localhost\nX: {'a' * size}\n\n"
            self.assertEqual(str(status), self.answer(asked).split()[1])
        many = "".join(f"X-{number}: {'a' * 800}\n" for number in range(80))
        self.assertIn("431", self.answer(f"GET /ready HTTP/1.1\nHost: localhost\n{many}\n"))
        many = "".join(f"X-{number}: a\n" for number in range(150))
        self.assertIn("431", self.answer(f"GET /ready HTTP/1.1\nHost: localhost\n{many}\n"))

    def answer(self, asked: str) -> str:
        """What comes back, after which a refused client is left."""
        client = Client(FakeServer())
        data = asked.replace("\n", "\r\n").encode()
        for start in range(0, len(data), 7000):
            client.channel.dataReceived(data[start : start + 7000])
        client.run()
        answer: str = client.transport.value().partition(b"\r\n")[0].decode()
        self.assertEqual("431" in answer, client.transport.closed)
        return answer

    def test_one_after_the_other(self) -> None:
        """Each request of a connection may be so long."""
        client = Client(FakeServer())
        for _ in range(5):
            found = client.ask("/ready?" + "a" * 50_000)
            self.assertEqual(200, found.status)
