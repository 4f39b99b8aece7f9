"""The screen of `tcpmesh top` as lines, and its keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.terminal.gathering import VIEWS, Gatherer, Wanted
from tcpmesh.terminal.texts import columns_of
from tcpmesh.terminal.top import HELP, Style, Top, report, shared_room
from tests.terminal.fakes import FakeAdmin, close, connection

KEYS = ("q", *"123456/srxp?ynA=", "TAB", "ENTER", "ESCAPE", "BACKSPACE", "UP", "DOWN", "PAGE_UP",
        "PAGE_DOWN", "HOME", "END", "")  # fmt: skip


class TopTestCase(SynchronousTestCase):
    """A test with a screen that shows a proxy."""

    def setUp(self) -> None:
        """The first look is taken."""
        self.admin = FakeAdmin()
        self.gatherer = Gatherer(self.admin, Clock().seconds)
        self.top = Top("127.0.0.1:9901")
        self.look()

    def look(self) -> None:
        """Another look at what is wanted."""
        self.top.take(self.gatherer.gather(self.top.wanted))

    def press(self, *keys: str) -> None:
        """Press keys, and look once more after each."""
        for key in keys:
            self.top.press(key)
            self.look()

    def type(self, text: str) -> None:
        """Press the keys of a text, and ENTER."""
        self.press("/", *text, "ENTER")

    def screen(self, width: int = 80, height: int = 24) -> list[str]:
        """What is on the screen."""
        return [line.text.rstrip() for line in self.top.lines(width, height)]

    def chosen(self) -> str:
        """The chosen row, in one word."""
        rows = [line.text.split() for line in self.top.lines(80, 24) if line.style is Style.CHOSEN]
        return rows[0][0] if rows else ""


class ViewTests(TopTestCase):
    """What is seen."""

    def test_overview(self) -> None:
        """80 columns and 24 lines have something of everything."""
        text = "\n".join(self.screen())
        for part in (
            "tcpmesh  127.0.0.1:9901  LIVE  up 7.0s  2 clients",
            "[1:overview]  2:listeners",
            "front    127.0.0.1:80",
            "db          1     2",
            "10.1.0.2:5432 db      DOWN",
            "3 10.0.0.3:40000",
            "10.0.0.9:40000 10.1.0.1:5432 -     the host has reset the connection",
            "q quit",
        ):
            self.assertIn(part, text)

    def test_size(self) -> None:
        """Every view has as many lines as the screen, and each is as wide as that, however small it
        is.
        """
        self.admin.connections = [connection(n, sni="\u6f22" * 50) for n in range(200)]
        for view in "123456?":
            self.press(view)
            for width, height in ((80, 24), (200, 60), (20, 5), (1, 1), (5, 2)):
                lines = self.top.lines(width, height)
                self.assertEqual(height, len(lines))
                self.assertEqual({width}, {columns_of(line.text) for line in lines})

    def test_hostile(self) -> None:
        """What clients and configurations are called moves no cursor, wherever it stands."""
        evil = "\x1b[31m\r\n\u202e"
        self.admin.connections = [connection(1, sni=evil, cluster=evil, client=evil)]
        self.admin.closes = [close(1, reason=evil, client=evil)]
        self.admin.stats["cluster." + evil + ".membership_total"] = 1
        self.top.fail(evil)
        self.top.say(evil)
        self.press("/", "\x1b", "\n", "x", "ESCAPE")
        for view in "123456":
            self.press(view)
            self.assertTrue(all(line.isprintable() for line in self.screen(200)))
        self.press("5", "x")
        self.assertTrue(self.screen()[-1].isprintable())

    def test_bad_rows(self) -> None:
        """What is down, and who has hosts that are, is drawn otherwise, and says so in words."""
        self.press("4")
        self.top.press("HOME")
        bad = [line.text for line in self.top.lines(80, 24) if line.style is Style.BAD]
        self.assertEqual(1, len(bad))
        self.assertIn("DOWN", bad[0])

    def test_away(self) -> None:
        """Where the proxy cannot be asked any more that is said, and what was seen stays, until it
        answers again.
        """
        self.top.fail("cannot ask 127.0.0.1:9901: Connection refused")
        lines = self.top.lines(80, 24)
        self.assertEqual(Style.BAD, lines[0].style)
        self.assertIn("Connection refused; trying again", lines[0].text)
        self.assertIn("10.0.0.3:40000", "\n".join(self.screen()))
        self.look()
        self.assertIn("LIVE", self.screen()[0])

    def test_before_the_first_look(self) -> None:
        """Before anything is known nothing is shown, and no key does harm."""
        self.top = Top("127.0.0.1:9901")
        for key in (*KEYS[1:], "DOWN"):
            self.top.press(key)
        self.assertIn("asking", self.screen()[0])

    def test_room(self) -> None:
        """Who wants few lines gets them; the others share what is left."""
        self.assertEqual([1, 5, 4, 0], shared_room([1, 9, 9, 0], 10))
        self.assertEqual([1, 2], shared_room([1, 2], 50))
        self.assertEqual([0, 0], shared_room([1, 2], -3))

    @given(st.lists(st.sampled_from(KEYS), max_size=30))
    def test_any_keys(self, keys: list[str]) -> None:
        """Whatever is pressed, there is a screen."""
        top = Top("x:1")
        for key in keys:
            top.press(key)
            top.take(self.gatherer.gather(Wanted(top.view)))
            self.assertEqual(24, len(top.lines(80, 24)))


class KeyTests(TopTestCase):
    """What keys do."""

    def test_views(self) -> None:
        """A number is a view, TAB the next one."""
        for number, view in enumerate(VIEWS, 1):
            self.press(str(number))
            self.assertEqual(view, self.top.wanted.view)
        self.press("TAB")
        self.assertEqual("overview", self.top.view)

    def test_quit(self) -> None:
        """q ends it."""
        self.press("q")
        self.assertTrue(self.top.is_over)

    def test_pause(self) -> None:
        """p pauses, and goes on."""
        self.press("p")
        self.assertTrue(self.top.is_paused)
        self.assertIn("PAUSED", self.screen()[1])
        self.press("p")
        self.assertFalse(self.top.is_paused)

    def test_help(self) -> None:
        """? shows what keys there are, until the next one."""
        self.press("?")
        self.assertEqual(HELP.splitlines()[0], self.screen()[2])
        self.press("q")
        self.assertFalse(self.top.is_over)
        self.assertNotIn(HELP.splitlines()[0], self.screen())

    def test_sort(self) -> None:
        """s sorts by the next column, r the other way round: of connections the proxy does."""
        self.press("5", "s")
        self.assertEqual("-sent_rate", self.top.wanted.sort)
        self.press("r")
        self.assertEqual("sent_rate", self.top.wanted.sort)
        self.press("4", "s", "r")
        self.assertIn("HEALTH^", self.screen()[2])
        self.assertEqual("sent_rate", self.top.wanted.sort)
        self.press("6", "s")
        self.assertIn("is fixed", self.screen()[-1])

    def test_filter(self) -> None:
        """/ asks for words; they can be seen, taken back, and are each view's own."""
        self.press("4", "/", "d", "x")
        self.assertIn("filter: dx_", self.screen()[-1])
        self.press("BACKSPACE", "o", "w", "n", "ENTER")
        self.assertIn("filter: down", self.screen()[-1])
        self.assertEqual(["10.1.0.2:5432"], [self.chosen()])
        self.assertNotIn("10.1.0.1:5432", "\n".join(self.screen()))
        self.press("3")
        self.assertNotIn("down", self.screen()[-1])
        self.press("4", "ESCAPE")
        self.assertIn("10.1.0.1:5432", "\n".join(self.screen()))
        self.press("/", "q", "ESCAPE")
        self.assertFalse(self.top.is_over)
        self.assertNotIn("filter:", self.screen()[-1])

    def test_filter_of_connections(self) -> None:
        """Fields of connections are the proxy's to filter; where nothing fits that is said."""
        self.press("5")
        self.type("client=10.0.0.0/8 nowhere")
        self.assertEqual({"client": "10.0.0.0/8"}, self.top.wanted.filter.fields)
        self.assertEqual("none that fits the filter", self.screen()[3])

    def test_choose(self) -> None:
        """Arrows choose; the chosen connection stays it, wherever it moves, and where it has gone
        another one is.
        """
        self.press("5")
        self.assertEqual("3", self.chosen())
        self.press("DOWN")
        self.assertEqual("2", self.chosen())
        self.admin.connections = [connection(n) for n in (1, 2)]
        self.look()
        self.assertEqual("2", self.chosen())
        self.admin.connections = [connection(1)]
        self.look()
        self.assertEqual("1", self.chosen())
        self.admin.connections = []
        self.look()
        self.assertEqual("", self.chosen())

    def test_scroll(self) -> None:
        """Whichever row is chosen can be seen, in a list longer than the screen."""
        self.admin.connections = [connection(n) for n in range(100)]
        self.press("5")
        for key, wanted in (
            ("END", "0"),
            ("UP", "1"),
            ("PAGE_UP", "11"),
            ("HOME", "99"),
            ("PAGE_DOWN", "89"),
            ("UP", "90"),
        ):
            self.press(key)
            self.assertEqual(wanted, self.chosen())

    def test_close(self) -> None:
        """x closes the chosen connection, and no other, once somebody has said yes."""
        self.press("5", "DOWN", "x")
        self.assertIn(
            "close connection 2 (y/n)? 10.0.0.2:40000 to 10.1.0.1:5432", self.screen()[-1]
        )
        # What comes meanwhile changes nothing of what was asked.
        self.admin.connections = [connection(7)]
        self.look()
        self.press("y")
        self.assertEqual([2], self.top.to_close)

    def test_no_close(self) -> None:
        """Any other answer closes nothing, and neither does x where no connection is chosen."""
        self.press("5", "x", "n")
        self.assertIn("nothing is closed", self.screen()[-1])
        self.press("x", "ENTER", "3", "x")
        self.assertIn("choose a connection first", self.screen()[-1])
        self.press("y")
        self.assertEqual([], self.top.to_close)

    def test_look_into(self) -> None:
        """ENTER shows the connections of what is chosen."""
        for view, wanted in (
            ("2", {"listener": "front"}),
            ("3", {"cluster": "db"}),
            ("4", {"host": "10.1.0.1:5432"}),
        ):
            self.press(view, "ENTER")
            self.assertEqual("connections", self.top.view)
            self.assertEqual(wanted, self.top.wanted.filter.fields)
        self.press("ENTER")
        self.assertEqual("connections", self.top.view)


class ReportTests(TopTestCase):
    """What --once prints."""

    def test_all(self) -> None:
        """All rows of all views, or of one, without blanks at their ends."""
        text = report("x:1", self.gatherer.gather(Wanted()), Wanted(), 500)
        blocks = [block.splitlines() for block in text.split("\n\n")]
        self.assertEqual(
            ["listeners", "clusters", "hosts", "connections (3 of 7)", "closes (the last 1)"],
            [block[0] for block in blocks[1:]],
        )
        self.assertEqual(["3", "2", "1"], [line.split()[0] for line in blocks[4][2:]])
        wanted = Wanted("hosts", sort="-total")
        self.assertEqual(
            2, len(report("x:1", self.gatherer.gather(wanted), wanted, 80).split("\n\n"))
        )
