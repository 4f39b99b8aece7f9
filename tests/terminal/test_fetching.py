"""Gathering in a thread."""

from __future__ import annotations

from threading import Event

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.terminal.fetching import Fetching
from tcpmesh.terminal.gathering import Gatherer, Wanted
from tcpmesh.terminal.top import Top
from tests.terminal.fakes import FakeAdmin

PATIENCE = 10.0


class FetchingTests(SynchronousTestCase):
    """What a screen is told."""

    def setUp(self) -> None:
        """It begins, and looks by itself only after an hour."""
        self.admin, self.top = FakeAdmin(), Top("x:1")
        self.fetching = Fetching(Gatherer(self.admin), 3600)
        self.fetching.start()
        self.addCleanup(self.fetching.stop)

    def hear(self) -> str:
        """Wait for the next news; the screen with it."""
        self.fetching.news.get(timeout=PATIENCE)(self.top)
        return "\n".join(line.text for line in self.top.lines(120, 30))

    def test_at_once(self) -> None:
        """What is wanted newly is looked for at once, and the same not again."""
        self.fetching.want(Wanted("hosts"))
        self.hear()
        self.fetching.want(Wanted("hosts"))
        self.fetching.want(Wanted("closes"))
        self.hear()
        self.assertTrue(self.fetching.news.empty())
        self.assertEqual(
            ["/server_info", "/clusters", "/server_info", "/closes"],
            [path for path, _ in self.admin.asked],
        )

    def test_again(self) -> None:
        """Every so many seconds there is another look, unless nothing is wanted."""
        fetching = Fetching(Gatherer(self.admin), 0.01)
        fetching.start()
        self.addCleanup(fetching.stop)
        fetching.want(Wanted("hosts"))
        for _ in range(3):
            fetching.news.get(timeout=PATIENCE)
        self.assertTrue(len(self.admin.asked) >= 6)

    def test_failure(self) -> None:
        """A look that fails is told, and the next one may succeed."""
        self.admin.failure = "cannot ask"
        self.fetching.want(Wanted("hosts"))
        self.assertIn("cannot ask; trying again", self.hear())
        self.admin.failure = ""
        self.fetching.want(Wanted("clusters"))
        self.assertIn("LIVE", self.hear())

    def test_close(self) -> None:
        """A connection that is to be closed is, what the proxy says is told, and then there is
        another look.
        """
        self.fetching.want(Wanted("connections"))
        self.hear()
        self.fetching.close(3)
        self.assertIn("connection 3: closed 1 connection", self.hear())
        self.hear()
        self.assertEqual(
            ["/connections", "/connections/close", "/server_info", "/connections"],
            [path for path, _ in self.admin.asked][1:],
        )

    def test_close_fails(self) -> None:
        """Where the proxy does not close it, that is told."""
        self.admin.failure = "refused"
        self.fetching.close(3)
        self.assertIn("connection 3: refused", self.hear())

    def test_stops(self) -> None:
        """Stopped it asks nothing any more."""
        over = Event()
        fetching = Fetching(Gatherer(self.admin), 3600)
        run = fetching._run

        def watched() -> None:
            run()
            over.set()

        self.patch(fetching, "_run", watched)
        fetching.start()
        fetching.stop()
        self.assertTrue(over.wait(PATIENCE))
