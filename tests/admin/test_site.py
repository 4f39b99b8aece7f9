"""The admin interface as an HTTP server: `tcpmesh.admin.site`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from itertools import count
from weakref import ref

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin import answering
from tcpmesh.admin.answering import HELD_STALL_TIMEOUT, STALL_TIMEOUT
from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint
from tcpmesh.admin.channel import BODY_LIMIT, GRACE, MOST_PIECES
from tcpmesh.admin.site import MOST_HELD, MOST_PARAMETERS, AdminSite, query_parameters
from tcpmesh.net.cooperator import shared_cooperator
from tests.admin.client import Client
from tests.admin.fakes import FakeServer
from tests.turns import turn


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


MADE: list[str] = []
"""What `counted_page` has made."""


def counted_page(call: Call) -> Answer:
    """A page of a thousand bytes, which are remembered as they are made."""

    def pieces() -> Iterator[str]:
        for _ in range(1000):
            MADE.append("z")
            yield "z"

    return Answer(pieces())


def one_step() -> Callable[[], float]:
    """A clock by which every step takes so long that there is one in each turn."""
    seconds = count()
    return lambda: float(next(seconds))


BUGS = [Endpoint("/fail", "", fail), Endpoint("/later", "", fail_later)]
LONG = [Endpoint("/long", "", long_page), Endpoint("/slow", "", slow_page)]
LONG.append(Endpoint("/counted", "", counted_page))


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
        for path in ("/nope", "/ready/", "/READY", "/stats/nope", "/ready/.", "/%ff", "/ready%2F"):
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

    def test_too_many_parameters(self) -> None:
        """Of a query only so many parameters are looked at, and a form with more is refused."""
        self.assertEqual(MOST_PARAMETERS, len(query_parameters("&".join(map(str, range(9999))))))
        form = "application/x-www-form-urlencoded"
        body = b"a=b&" * 2 * MOST_PARAMETERS
        self.assertEqual(400, self.client.ask("/logging", "POST", body, content_type=form).status)

    def test_large_bodies(self) -> None:
        """Whoever sends more of a body than any form has is refused, and left, at its first
        bytes.
        """
        head = b"POST /logging HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data\r\n"
        chunked = b"Transfer-Encoding: chunked\r\n\r\n"
        for rest in (
            b"Content-Length: %d\r\n\r\nx" % (BODY_LIMIT + 1),
            chunked + b"%x\r\n" % (BODY_LIMIT + 1) + b"x" * (BODY_LIMIT + 1),
            chunked + b"1\r\nx\r\n" * 2 * MOST_PIECES,
        ):
            client = Client(self.server)
            client.channel.dataReceived(head + rest)
            client.channel.dataReceived(b"y" * 100)
            self.assertEqual(413, client.response().status)
            self.assertTrue(client.transport.closed)
            client.leave()

    def test_nothing_is_left(self) -> None:
        """Of a request that was cut off nothing waits for the garbage collector."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        head = b"POST /ready HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        client = Client(self.server, self.client.clock, self.client.site)
        client.channel.dataReceived(head + b"0\r\n" + b"a: b\r\n" * 20_000)
        self.assertTrue(client.transport.closed)
        client.leave()
        left = ref(client.channel)
        del client
        self.assertIsNone(left())

    def test_bodies_nobody_wants(self) -> None:
        """A small body of any kind is taken, and not looked at."""
        for kind in ("multipart/form-data; boundary=a", "multipart/form-data", "text/plain"):
            found = self.client.ask("/ready", "POST", b"x" * BODY_LIMIT, content_type=kind)
            self.assertEqual(200, found.status)

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
        del MADE[:]
        clock = Clock()
        cooperator = shared_cooperator(clock, one_step())
        self.site = AdminSite(FakeServer(), LONG, clock, cooperator)
        self.client = Client(FakeServer(), clock, self.site)

    def turn(self, turns: int) -> None:
        """So many turns of the reactor."""
        for _ in range(turns):
            turn(self.client.clock)

    def begin(self) -> None:
        """Ask for the long page, and let its first bytes come."""
        self.client.send("GET", "/long")
        while not self.client.transport.value():
            self.turn(1)

    def test_sent_in_steps(self) -> None:
        """A long page is sent in chunks, one a turn of the reactor, so that others get theirs."""
        self.patch(answering, "perf_counter", lambda: 0.0)
        self.client.send("GET", "/long")
        self.turn(2)
        self.assertTrue(10_000 < len(self.client.transport.value()) < 100_000)
        found = self.client.response()
        self.assertEqual(
            ("chunked", "y" * 1_000_000), (found.headers["transfer-encoding"], found.body)
        )
        self.assertEqual("done\n", self.client.ask("/slow").body)

    def test_a_slow_client(self) -> None:
        """While the client takes nothing, nothing is made."""
        self.begin()
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
        """A step ends after half a millisecond too, however little has been made by then."""
        now = count()
        self.patch(answering, "perf_counter", lambda: float(next(now)))
        self.client.send("GET", "/counted")
        self.turn(5)
        self.assertEqual(4, len(MADE))

    def test_many_clients(self) -> None:
        """However many ask at once, all together have one slice of each turn."""
        clients = [Client(FakeServer(), self.client.clock, self.site) for _ in range(200)]
        now = count()
        self.patch(answering, "perf_counter", lambda: float(next(now)))
        for client in clients:
            client.send("GET", "/counted")
        self.turn(10)
        self.assertLessEqual(len(MADE), 10)
        self.client.run()
        for client in clients:
            self.assertEqual(1000, len(client.response().body))

    def test_pipelined(self) -> None:
        """Of thousands of requests in one piece one is answered at a time, and each takes its
        turn.
        """
        request = b"GET /counted HTTP/1.1\r\nHost: localhost\r\n\r\n"
        self.client.channel.dataReceived(request * 1000)
        self.turn(30)
        answers = self.client.transport.value().count(b"200 OK")
        self.assertTrue(0 < answers < 30, answers)

    def test_leaving_before_the_answer(self) -> None:
        """A client that is gone before its turn is no error, and what it asked for is done."""
        server = FakeServer()
        client = Client(server, self.client.clock)
        client.send("POST", "/quitquitquit")
        client.leave()
        client.run()
        self.assertEqual(1, server.quits)

    def test_leaving_at_the_end(self) -> None:
        """... nor one that leaves when all but the end of its answer is sent, or does not take
        it.
        """
        self.client.leave()
        for pauses in (False, True):
            client = Client(FakeServer(), self.client.clock, self.site)
            client.send("GET", "/long")
            while len(client.transport.value()) < 900_000:
                self.turn(1)
            if pauses:
                client.producer.pauseProducing()
            client.leave()
            client.run()
            self.assertEqual([], client.clock.getDelayedCalls())

    def test_a_client_that_takes_nothing(self) -> None:
        """A client that takes nothing for a minute is left, and the rest of its page forgotten."""
        self.begin()
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
        self.client.run()
        self.assertEqual([], self.client.clock.getDelayedCalls())

    def test_a_client_that_leaves(self) -> None:
        """When the client is gone the rest of the page is not made."""
        self.begin()
        self.client.producer.stopProducing()
        self.client.leave()
        sent = len(self.client.transport.value())
        self.client.run()
        self.assertEqual(sent, len(self.client.transport.value()))
        self.assertEqual([], self.client.clock.getDelayedCalls())


class HeldTests(SynchronousTestCase):
    """Pages that are held in memory until they are sent."""

    def test_few_at_once(self) -> None:
        """So many are made at once, and the others when these are done, or their clients gone."""
        making: list[int] = []

        def page(call: Call) -> Answer:
            def pieces() -> Iterator[str]:
                making.append(int(call.parameters["n"]))
                yield ""
                while wait:
                    yield ""
                yield "done\n"

            return Answer(pieces(), is_held=True)

        wait = [True]
        clock = Clock()
        endpoint = Endpoint("/held", "", page)
        site = AdminSite(FakeServer(), (endpoint,), clock, shared_cooperator(clock))
        clients = dict(enumerate(Client(FakeServer(), clock, site) for _ in range(MOST_HELD + 3)))
        for number, client in clients.items():
            client.send("GET", f"/held?n={number}")
        self.turns(clock)
        self.assertEqual(MOST_HELD, len(making))
        waiting = clients.keys() - set(making)
        clients.pop(making[0]).leave()
        clients.pop(waiting.pop()).leave()
        self.turns(clock)
        self.assertEqual(MOST_HELD + 1, len(making))
        wait.clear()
        for client in clients.values():
            self.assertEqual("done\n", client.response().body)

    def test_sleepers(self) -> None:
        """A client that takes nothing of one keeps the others waiting for ten seconds, not for a
        minute.
        """
        page = Endpoint("/held", "", lambda call: Answer(iter(["x" * 100_000] * 9), is_held=True))
        clock, now = Clock(), count()
        # By this clock each step takes a second, so a turn has but one.
        site = AdminSite(
            FakeServer(), (page,), clock, shared_cooperator(clock, lambda: float(next(now)))
        )
        client = Client(FakeServer(), clock, site)
        client.send("GET", "/held")
        while not client.transport.value():
            turn(clock)
        client.producer.pauseProducing()
        clock.advance(HELD_STALL_TIMEOUT - 0.1)
        self.assertFalse(client.transport.disconnected)
        clock.advance(0.1)
        self.assertTrue(client.transport.disconnected)

    def turns(self, clock: Clock) -> None:
        """Enough turns for everybody."""
        for _ in range(200):
            turn(clock)


class BugTests(SynchronousTestCase):
    """Pages with a bug."""

    def site(self, clock: Clock) -> AdminSite:
        """A site with such pages."""
        return AdminSite(FakeServer(), BUGS, clock, shared_cooperator(clock))

    def test_logged_not_shown(self) -> None:
        """A bug in a page is an answer without details, and a traceback in the log."""
        clock = Clock()
        client = Client(FakeServer(), clock, self.site(clock))
        found = client.ask("/fail")
        self.assertEqual((500, "internal error, see the log\n"), (found.status, found.body))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_in_the_middle(self) -> None:
        """A page that fails half-way is cut off, so that no client takes it for whole."""
        clock = Clock()
        client = Client(FakeServer(), clock, self.site(clock))
        client.send("GET", "/later")
        client.run()
        self.assertTrue(client.transport.closed)
        self.assertFalse(client.transport.value().endswith(b"0\r\n\r\n"))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))


class HalfCloseTests(SynchronousTestCase):
    """Clients that send their requests and then end of stream."""

    def setUp(self) -> None:
        """A client with a page that takes a while."""
        clock = Clock()
        page = Endpoint("/slow", "", slow_page)
        site = AdminSite(FakeServer(), (page,), clock, shared_cooperator(clock))
        self.client = Client(FakeServer(), clock, site)

    def test_answered(self) -> None:
        """What was asked before is answered, and then the connection is closed."""
        self.client.send("GET", "/slow")
        self.client.channel.readConnectionLost()
        self.assertFalse(self.client.transport.closed)
        self.assertEqual("done\n", self.client.response().body)
        self.assertTrue(self.client.transport.closed)

    def test_several(self) -> None:
        """So is each of several requests."""
        self.client.send("GET", "/slow")
        self.client.send("GET", "/slow")
        self.client.channel.readConnectionLost()
        self.client.run()
        self.assertEqual(2, self.client.transport.value().count(b"done\n"))
        self.assertTrue(self.client.transport.closed)

    def test_gone(self) -> None:
        """Who asks for much and is gone, which looks the same, is given up soon."""
        clock = Clock()
        page = Endpoint("/endless", "", lambda call: Answer("" for _ in iter(int, 1)))
        site = AdminSite(FakeServer(), (page,), clock, shared_cooperator(clock))
        client = Client(FakeServer(), clock, site)
        client.send("GET", "/endless")
        client.channel.readConnectionLost()
        turn(clock)
        self.assertFalse(client.transport.disconnected)
        clock.rightNow += GRACE
        turn(clock)
        self.assertTrue(client.transport.disconnected)
        client.leave()
        client.run()
        self.assertEqual([], clock.getDelayedCalls())

    def test_nothing_asked(self) -> None:
        """Without a whole request it is closed at once."""
        self.client.channel.dataReceived(b"GET /slow HT")
        self.client.channel.readConnectionLost()
        self.assertTrue(self.client.transport.closed)


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
