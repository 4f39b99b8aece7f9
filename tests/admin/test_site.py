"""The admin interface as an HTTP server: `tcpmesh.admin.site`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin import site
from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint
from tcpmesh.admin.site import STALL_TIMEOUT, AdminSite, query_parameters
from tests.admin.client import Client
from tests.admin.fakes import FakeServer


def fail(call: Call) -> Answer:
    """A page with a bug."""
    raise RuntimeError("bug")


def fail_later(call: Call) -> Answer:
    """A page with a bug in its second piece."""

    def pieces():  # type: ignore[no-untyped-def]
        yield "x" * 100_000
        raise RuntimeError("bug")

    return Answer(pieces())


def long_page(call: Call) -> Answer:
    """A page of a million bytes."""
    return Answer("y" * 10 for _ in range(100_000))


def slow_page(call: Call) -> Answer:
    """A page that works for a while before its first line."""
    return Answer(iter(["", "", "", "done\n"]))


BUGS = [Endpoint("/fail", "", fail), Endpoint("/later", "", fail_later)]
LONG = [Endpoint("/long", "", long_page), Endpoint("/slow", "", slow_page)]


class RequestTests(SynchronousTestCase):
    """Requests and their answers."""

    def setUp(self) -> None:
        """Connect a client."""
        self.server = FakeServer()
        self.client = Client(self.server)

    def test_headers(self) -> None:
        """Answers are plain text that nobody may cache or guess the type of."""
        found = self.client.ask("/ready")
        self.assertEqual((200, "LIVE\n"), (found.status, found.body))
        self.assertEqual("text/plain; charset=UTF-8", found.headers["content-type"])
        self.assertEqual("no-cache, max-age=0", found.headers["cache-control"])
        self.assertEqual("nosniff", found.headers["x-content-type-options"])
        self.assertEqual("tcpmesh", found.headers["server"])
        self.assertEqual("5", found.headers["content-length"])

    def test_keep_alive(self) -> None:
        """A connection serves one request after the other, and is closed where the client asks for
        that.
        """
        for _ in range(3):
            self.assertEqual("LIVE\n", self.client.ask("/ready").body)
        self.assertFalse(self.client.transport.closed)
        self.client.ask("/ready", Connection="close")
        self.assertTrue(self.client.transport.closed)

    def test_idle_connections_are_closed(self) -> None:
        """A client that sends nothing for five minutes is let go."""
        self.client.ask("/ready")
        self.client.clock.advance(299)
        self.assertFalse(self.client.transport.closed)
        self.client.clock.advance(2)
        self.assertTrue(self.client.transport.closed)

    def test_unknown_path(self) -> None:
        """An unknown path is answered with the list of those there are; paths are exact."""
        for path in ("/nope", "/ready/", "/READY", "/stats/nope", "//ready", "/ready%00", "/%ff"):
            found = self.client.ask(path)
            self.assertEqual(404, found.status, path)
            self.assertTrue(
                found.body.startswith("invalid path. admin commands are:\n  /: "), found.body
            )
            self.assertIn("  /quitquitquit (POST): ", found.body)

    def test_query_does_not_change_the_path(self) -> None:
        """Parameters a page does not know do not matter, and an escaped path is the path."""
        for path in ("/ready?whatever=1", "/ready?", "/ready?&&=&a&a=%zz&%ff=%ff", "/%72eady"):
            self.assertEqual(200, self.client.ask(path).status, path)

    def test_methods(self) -> None:
        """Reading pages answer any method, those that change something only POST."""
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "FOO"):
            self.assertEqual(200, self.client.ask("/ready", method).status, method)
        for method in ("GET", "PUT", "FOO"):
            found = self.client.ask("/quitquitquit", method)
            self.assertEqual(
                (405, f"Method {method} not allowed, POST required."), (found.status, found.body)
            )
        self.assertEqual(0, self.server.quits)

    def test_head(self) -> None:
        """HEAD gives the headers of GET without the body."""
        for path, status in (("/ready", 200), ("/stats", 200), ("/nope", 404)):
            found = self.client.ask(path, "HEAD")
            self.assertEqual((status, ""), (found.status, found.body))

    def test_garbage(self) -> None:
        """What is not HTTP is refused, and the server goes on."""
        self.client.channel.dataReceived(b"\x16\x03\x01\x00\xa5\x01\r\n\r\n")
        self.assertTrue(self.client.transport.value().startswith(b"HTTP/1.1 400"))
        self.assertEqual(
            200,
            Client(self.server, site=self.client.site, clock=self.client.clock)
            .ask("/ready")
            .status,
        )

    @settings(deadline=None, max_examples=50)
    @given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=255), max_size=30))
    def test_any_query(self, query: str) -> None:
        """No query makes a page fail: it is answered, or refused as a mistake of the client."""
        for page in ("stats", "stats/prometheus", "clusters", "listeners", "server_info", ""):
            self.assertIn(Client(FakeServer()).ask(f"/{page}?{query}").status, (200, 400))
        for name in ("filter", "format", "type", "histogram_buckets"):
            self.assertIn(Client(FakeServer()).ask(f"/stats?{name}={query}").status, (200, 400))

    def test_parameters(self) -> None:
        """Parameters are decoded, `+` stays what it is, and the first of a name counts."""
        self.assertEqual(
            {"usedonly": "", "filter": r"a+\d", "x": "1=2"},
            query_parameters(r"usedonly&filter=a+%5Cd&filter=b&x=1=2&=z"),
        )

    def test_form(self) -> None:
        """The forms of the home page are understood; the query goes before the form."""
        self.client.ask(
            "/logging",
            "POST",
            b"paths=main%3Adebug&level=",
            content_type="application/x-www-form-urlencoded; charset=utf-8",
        )
        self.assertEqual("debug", self.server.log_levels.get()["main"])


class LongAnswerTests(SynchronousTestCase):
    """Answers that are made piece by piece."""

    def setUp(self) -> None:
        """Connect a client to long pages."""
        clock = Clock()
        self.client = Client(FakeServer(), clock, AdminSite(FakeServer(), LONG, clock))

    def test_sent_in_steps(self) -> None:
        """A long page is sent in chunks, one a turn of the reactor, so that others get theirs."""
        self.client.send("GET", "/long")
        self.assertTrue(10_000 < len(self.client.transport.value()) < 100_000)
        found = self.client.response()
        self.assertEqual(
            ("chunked", "y" * 1_000_000), (found.headers["transfer-encoding"], found.body)
        )
        self.assertEqual("done\n", self.client.ask("/slow").body)

    def test_a_slow_client(self) -> None:
        """While the client takes nothing, nothing is made."""
        self.client.send("GET", "/long")
        producer = self.client.producer
        producer.pauseProducing()
        self.client.run()
        waiting = len(self.client.transport.value())
        self.client.run()
        self.assertEqual(waiting, len(self.client.transport.value()))
        producer.resumeProducing()
        producer.pauseProducing()
        producer.resumeProducing()
        self.assertEqual(1_000_000, len(self.client.response().body))

    def test_a_slow_page(self) -> None:
        """A step ends after some milliseconds too, however little has been made by then."""
        now = iter(range(1 << 20))
        self.patch(site, "perf_counter", lambda: float(next(now)))
        self.client.send("GET", "/long")
        self.assertTrue(0 < len(self.client.transport.value()) < 1000)

    def test_a_client_that_takes_nothing(self) -> None:
        """A client that takes nothing for a minute is left, and the rest of its page forgotten."""
        self.client.send("GET", "/long")
        self.client.producer.pauseProducing()
        self.client.clock.advance(STALL_TIMEOUT - 1)
        self.client.producer.resumeProducing()
        self.client.producer.pauseProducing()
        self.client.clock.advance(STALL_TIMEOUT - 1)
        self.assertFalse(self.client.transport.closed)
        self.client.clock.advance(1)
        self.assertTrue(self.client.transport.closed)
        self.client.producer.stopProducing()
        self.client.leave()
        self.assertEqual([], self.client.clock.getDelayedCalls())

    def test_a_client_that_leaves(self) -> None:
        """When the client is gone the rest of the page is not made."""
        self.client.send("GET", "/long")
        self.client.producer.stopProducing()
        self.client.leave()
        sent = len(self.client.transport.value())
        self.client.run()
        self.assertEqual(sent, len(self.client.transport.value()))
        self.assertEqual([], self.client.clock.getDelayedCalls())


class BugTests(SynchronousTestCase):
    """Pages with a bug."""

    def test_logged_not_shown(self) -> None:
        """A bug in a page is an answer without details, and a traceback in the log."""
        clock = Clock()
        client = Client(FakeServer(), clock, AdminSite(FakeServer(), BUGS, clock))
        found = client.ask("/fail")
        self.assertEqual((500, "internal error, see the log\n"), (found.status, found.body))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_in_the_middle(self) -> None:
        """A page that fails half-way is cut off, so that no client takes it for whole."""
        clock = Clock()
        client = Client(FakeServer(), clock, AdminSite(FakeServer(), BUGS, clock))
        client.send("GET", "/later")
        client.run()
        self.assertTrue(client.transport.closed)
        self.assertFalse(client.transport.value().endswith(b"0\r\n\r\n"))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))


class TrafficTests(SynchronousTestCase):
    """The admin interface's own statistics."""

    def test_counted(self) -> None:
        """Its connections and requests are counted under `listener.admin.` and `http.admin.`."""
        server = FakeServer()
        client = Client(server)
        client.ask("/ready")
        client.ask("/nope")
        client.clock.advance(3)
        body = client.ask("/stats?usedonly").body
        for line in (
            "listener.admin.downstream_cx_total: 1",
            "listener.admin.downstream_cx_active: 1",
            "listener.admin.main_thread.downstream_cx_total: 1",
            "http.admin.downstream_rq_2xx: 1",
            "http.admin.downstream_rq_4xx: 1",
            "listener.admin.http.admin.downstream_rq_4xx: 1",
            "http.admin.downstream_cx_http1_total: 1",
            "http.admin.downstream_cx_http1_active: 1",
            "http.admin.downstream_rq_http1_total: 3",
            "http.admin.downstream_rq_active: 1",
        ):
            self.assertIn(line + "\n", body)
        client.leave()
        server.store.merge_histograms()
        body = Client(server, client.clock, client.site).ask("/stats").body
        self.assertIn("listener.admin.downstream_cx_destroy: 1\n", body)
        self.assertIn("listener.admin.downstream_cx_total: 2\n", body)
        self.assertIn("listener.admin.downstream_cx_length_ms: P0(3050,3050)", body)
        self.assertIn("listener.admin.no_filter_chain_match: 0\n", body)
        self.assertIn("http.admin.downstream_rq_active: 1\n", body)
        self.assertIn("http.admin.downstream_cx_http1_active: 1\n", body)
        self.assertIn("http.admin.downstream_cx_http2_total: 0\n", body)
