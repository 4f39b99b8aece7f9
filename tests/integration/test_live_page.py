"""The live page in a real browser, before a real proxy."""

from __future__ import annotations

import atexit
import json
import socket
from pathlib import Path
from unittest import TestLoader

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tcpmesh.testing.child import wait_for
from tcpmesh.values.all_or_nothing import all_or_nothing
from tests.integration.browser import Browser, missing
from tests.integration.live_scene import (
    Host,
    Scene,
    chain,
    checks,
    cluster,
    listener,
    name_of,
    ports,
)
from tests.wire.hellos import hello, server_name

AXE = Path(__file__).resolve().parents[2] / "build" / "axe" / "axe.min.js"

EVIL = "<img src=x onerror=\"document.title='owned'\">"
RIGHT_TO_LEFT = "\u202eevil\u202c"
RIGHT_TO_LEFT_SHOWN = "\\u202eevil\\u202c"
EVIL_SNI = "<script>document.title='owned'</script>.test"


class Stage:
    """The proxy and the browser that all tests share, for each takes a second to start."""

    def __init__(self) -> None:
        self.orders, self.hostile, self.resetting, self.inspected = ports(4)
        self.hosts = [Host(), Host(), Host(resets=True)]
        echo, sick, resets = (host.port for host in self.hosts)
        self.scene = Scene(
            [
                listener("front-orders", self.orders, [chain("orders")]),
                listener(EVIL, self.hostile, [chain(EVIL, name=RIGHT_TO_LEFT)]),
                listener("front-resets", self.resetting, [chain("resets")]),
                listener("front-tls", self.inspected, [chain("orders")], inspects=True),
            ],
            [
                cluster("orders", [echo]),
                cluster(EVIL, [echo]),
                cluster("resets", [resets]),
                cluster("checked", [sick], health_checks=[checks("0.1s")]),
                cluster("empty", []),
            ],
            node={"id": "edge-3", "cluster": "edge"},
        )
        with all_or_nothing() as undo:
            undo.callback(self.scene.close)
            self.scene.__enter__()
            self.browser = Browser()

    def close(self) -> None:
        """End both."""
        self.browser.close()
        self.scene.close()
        for host in self.hosts:
            host.stop()


class Shared:
    """The stage from the first test to the last one; trial knows no fixtures of a class."""

    stage: Stage | None = None
    left = 0
    """Tests that have not run yet."""

    @classmethod
    def begin(cls) -> Stage:
        """It is there after this."""
        if cls.stage is None:
            cls.stage = Stage()
            cls.left = len(TestLoader().getTestCaseNames(LivePageTests))
            atexit.register(cls.close)
        return cls.stage

    @classmethod
    def end(cls) -> None:
        """A test is over."""
        cls.left -= 1
        if not cls.left:
            cls.close()

    @classmethod
    def close(cls) -> None:
        """All are, or the process ends."""
        stage, cls.stage = cls.stage, None
        if stage is not None:
            stage.close()


class LivePageTests(SynchronousTestCase):
    """A page that shows a proxy, and what one can do with it."""

    def setUp(self) -> None:
        """Open the page anew, wide and light."""
        if missing():
            raise SkipTest(f"needs {missing()}")
        self.stage = stage = Shared.begin()
        self.browser, self.scene, self.hosts = stage.browser, stage.scene, stage.hosts
        self.browser.size(1440)
        self.browser.scheme("light")
        self.browser.open(self.scene.url)
        self.browser.complaints()
        self.browser.wait_text("#link", "up to date")
        self.browser.wait_text("#board", "front-orders")

    def tearDown(self) -> None:
        """Nothing of a client is left."""
        try:
            for client in self.scene.clients:
                client.close()
            self.scene.clients.clear()
            self.browser.open("about:blank")
        finally:
            Shared.end()

    def client(self, port: int, first: bytes = b"hello") -> socket.socket:
        """Somebody connects, and the page shows it."""
        client = self.scene.connect(port, first)
        self.browser.wait_text("#connections-table", name_of(client))
        return client

    def click(self, selector: str, text: str = "") -> None:
        """Click on the element that has this text."""
        found = wait_for(
            lambda: [each for each in self.browser.all(selector) if text in each.text],
            f"{text!r} at {selector}",
        )
        self.browser.click(found[0])

    def close_button(self, client: socket.socket) -> str:
        """The selector of the button that closes a connection."""
        return f"button[aria-label='Close the connection of {name_of(client)}']"

    # What it shows

    def test_load(self) -> None:
        """Who the proxy is, its listeners, clusters and hosts, charts and warnings are there, and
        the browser has nothing to complain about.
        """
        browser = self.browser
        browser.wait_text("#state", "live")
        for text in ("edge-3", "envoy.yaml", "0."):
            self.assertIn(text, browser.text("#about"))
        for text in (
            "front-resets",
            "orders",
            "1 of 1 host healthy",
            f"127.0.0.1:{self.stage.orders}",
        ):
            browser.wait_text("#board", text)
        browser.wait_text("#origin", "this cluster has no endpoints")
        self.assertRegex(browser.text("#origin"), r"envoy\.yaml:\d+:\d+")
        self.assertIn("worker_0", browser.text("#origin"))
        browser.find("#throughput path.line-0")
        browser.find("#rates path.line-1")
        self.assertEqual([], browser.complaints())

    def test_live_update(self) -> None:
        """A client that comes, sends and goes is seen coming, sending and going, with the reason,
        without a reload.
        """
        browser = self.browser
        client = self.client(self.stage.orders, b"x" * 5000)
        browser.wait_text("#connections-count", "1 open")
        browser.wait_text("#connections-table", "5\u00a0kB")
        browser.wait_text("#figures", "Open connections1")
        browser.find("#board path.flows")
        name = name_of(client)
        client.recv(5000, socket.MSG_WAITALL)
        client.close()
        browser.wait_text("#closes-table", name)
        browser.wait_text("#closes-table", "client closed")
        browser.wait_text("#connections-table", "Nobody is connected")

    def test_resets(self) -> None:
        """Which host resets which client is told, and on the map that it does."""
        for _ in range(2):
            client = self.scene.connect(self.stage.resetting, b"x")
            client.settimeout(10)
            with self.assertRaises(ConnectionResetError):
                client.recv(1)
        name = name_of(client)
        browser = self.browser
        browser.wait_text("#closes-table", name)
        browser.write("#closes-search", name)
        browser.wait_text("#closes-table", f"upstream 127.0.0.1:{self.hosts[2].port} reset")
        wait_for(lambda: len(browser.all("#closes-table tbody tr")) == 1, "one row")
        browser.wait_text("#board", "reset of late")
        browser.write("#closes-search", "by=upstream")
        browser.wait_text("#reasons", "reset")

    def test_health(self) -> None:
        """A host that falls ill and recovers is on the time line and on the map."""
        browser, host = self.browser, self.hosts[1]
        host.stop()
        browser.wait_text("#timeline", "unhealthy")
        browser.wait_text("#board", "failed_active_hc")
        host.start()
        browser.wait_text("#timeline", "healthy again")
        browser.wait_no_text("#board", "failed_active_hc")
        self.assertIn(f"127.0.0.1:{host.port}", browser.text("#timeline"))

    # What one can do

    def test_search(self) -> None:
        """Connections are found by parts of their names, by fields and by a click on the map; a
        field that there is not is told.
        """
        browser = self.browser
        mine, other = self.client(self.stage.orders), self.client(self.stage.hostile)
        browser.write("#connections-search", name_of(mine))
        browser.wait_no_text("#connections-table", name_of(other))
        self.assertIn(name_of(mine), browser.text("#connections-table"))
        browser.wait_text("#connections-count", "1 of 2 connections")
        browser.write("#connections-search", "cluster=orders received>1")
        browser.wait_no_text("#connections-table", name_of(other))
        browser.write("#connections-search", "clutser=orders")
        browser.wait_text("#connections-problem", "no field")
        self.click("#board .pick", "front-orders")
        self.assertEqual(
            "listener=front-orders",
            browser.find("#connections-search").get_attribute("value"),
        )
        browser.wait_no_text("#connections-table", name_of(other))

    def test_search_in_map(self) -> None:
        """The map shows what a name or an address leads to."""
        browser = self.browser
        browser.write("#map-search", "CHECK")
        browser.wait_no_text("#board", "front-orders")
        self.assertIn("checked", browser.text("#board"))
        browser.write("#map-search", "nowhere")
        browser.wait_text("#board", "Nothing has \u201cnowhere\u201d")
        browser.write("#map-search", "")
        browser.find("#map-search").send_keys(Keys.BACKSPACE)
        browser.wait_text("#board", "front-orders")

    def test_sort(self) -> None:
        """A click on the title of a column sorts by it, and says so."""
        browser = self.browser
        clients = [self.client(self.stage.orders) for _ in range(2)]
        order = (
            "return [...document.querySelectorAll('#connections-table tbody td:first-child')]"
            ".map(cell => cell.textContent)"
        )
        self.click("#connections-table th button", "Client")
        wanted = sorted(map(name_of, clients))
        wait_for(lambda: browser.run(order) == wanted, "clients in order")
        self.click("#connections-table th button", "Client")
        wait_for(lambda: browser.run(order) == wanted[::-1], "clients in the other order")
        head = browser.find("#connections-table th[data-sort=client]")
        self.assertEqual("descending", head.get_attribute("aria-sort"))

    def test_close(self) -> None:
        """A connection is closed by its button once the question is answered with yes; with no
        nothing happens.
        """
        browser = self.browser
        client, other = self.client(self.stage.orders), self.client(self.stage.orders)
        self.assertEqual(b"hello", client.recv(100))
        browser.click(browser.find(self.close_button(client)))
        self.assertIn(name_of(client), browser.text("#ask-text"))
        browser.click(browser.find("#ask-no"))
        self.assertFalse(browser.find("#ask").is_displayed())
        browser.click(browser.find(self.close_button(client)))
        browser.click(browser.find("#ask-yes"))
        client.settimeout(10)
        self.assertEqual(b"", client.recv(100))
        browser.wait_text("#closes-table", name_of(client))
        ActionChains(browser.driver).move_to_element(browser.find("h1")).perform()
        browser.wait_no_text("#connections-table", name_of(client))
        other.sendall(b"still here")
        self.assertEqual(b"hello", other.recv(5))

    def test_endpoints(self) -> None:
        """A form that changes something asks first, and shows what the endpoint answered."""
        browser = self.browser
        self.click("#home-table button", "reset_counters")
        browser.wait_text("#ask-title", "POST /reset_counters")
        browser.click(browser.find("#ask-yes"))
        browser.wait_text("#ask-answer", "OK")
        browser.click(browser.find("#ask-no"))
        self.assertIn(self.scene.url, browser.driver.current_url)

    def test_hostile_names(self) -> None:
        """Names of clusters, listeners, chains and servers are texts, whatever they would be, and
        none turns the direction of those around it.
        """
        browser = self.browser
        self.client(self.stage.hostile)
        self.client(self.stage.inspected, hello(server_name(EVIL_SNI.encode())))
        browser.wait_text("#connections-table", EVIL_SNI)
        for text in (EVIL, RIGHT_TO_LEFT_SHOWN):
            browser.wait_text("#connections-table", text)
            browser.wait_text("#board", text)
        self.assertNotIn("\u202e", browser.text("main"))
        browser.write("#map-search", "onerror")
        browser.wait_no_text("#board", "front-orders")
        self.assertIn(EVIL, browser.text("#board"))
        self.assertEqual("tcpmesh", browser.driver.title)
        self.assertEqual([], browser.all("main img, main script"))
        self.assertEqual([], browser.complaints())

    # For everybody

    def test_keyboard(self) -> None:
        """All is reached without a mouse: the content past the links, a connection's button, the
        question, and back to where one was.
        """
        browser = self.browser
        client = self.client(self.stage.orders)
        active = "return document.activeElement.textContent || document.activeElement.id"
        keys = ActionChains(browser.driver)
        keys.send_keys(Keys.TAB).perform()
        self.assertEqual("Skip to the content", browser.run(active))
        keys.send_keys(Keys.ENTER).perform()
        self.assertEqual("main", browser.run("return document.activeElement.id"))
        button = browser.find(self.close_button(client))
        browser.run("arguments[0].focus()", button)
        keys.send_keys(Keys.ENTER).perform()
        wait_for(lambda: browser.run(active) == "Cancel", "the question to have the focus")
        keys.send_keys(Keys.ESCAPE).perform()
        label = "return document.activeElement.getAttribute('aria-label') ?? ''"
        wait_for(lambda: name_of(client) in browser.run(label), "the button to have it again")
        browser.run("document.querySelector('#throughput svg.chart').focus()")
        keys.send_keys(Keys.ARROW_LEFT).perform()
        self.assertIn("s ago", browser.text("#throughput figcaption"))

    def test_narrow(self) -> None:
        """At 320 pixels nothing is wider than the window, with rows in all tables."""
        browser = self.browser
        client = self.client(self.stage.hostile)
        self.client(self.stage.inspected, hello(server_name(b"a" * 60 + b"." + b"b" * 60)))
        for width in (320, 768):
            browser.size(width)
            browser.wait_text("#connections-table", name_of(client))
            wide = browser.run(
                "return [document.documentElement.scrollWidth, [...document.querySelectorAll("
                "'main *')].filter(each => each.getBoundingClientRect().right > innerWidth + 1 &&"
                " !each.closest('svg, .visually-hidden, .scroll, pre')).slice(0, 5)"
                ".map(each => each.outerHTML.slice(0, 200))]"
            )
            self.assertEqual([width, []], wide)

    def test_long_names_leave_buttons_whole(self) -> None:
        """Beside names that take all the room, the word on the button to close stays in a line."""
        browser = self.browser
        self.client(self.stage.inspected, hello(server_name(b"a" * 60 + b"." + b"b" * 60)))
        button = browser.find(self.close_button(self.client(self.stage.hostile)))
        lines = "const range = document.createRange(); range.selectNodeContents(arguments[0]);"
        for width in (1200, 800):
            browser.size(width)
            self.assertEqual(
                1, browser.run(f"{lines} return range.getClientRects().length", button)
            )

    def test_long_server_names_leave_addresses_whole(self) -> None:
        """However long the names are that clients ask for, their addresses and those of hosts are
        each in one line.
        """
        browser = self.browser
        asks = hello(server_name(b"w" * 60 + b"." + b"w" * 60))
        client = self.client(self.stage.inspected, asks)
        browser.wait_text("#connections-table", name_of(self.client(self.stage.inspected, asks)))
        browser.wait_text("#connections-table", name_of(self.client(self.stage.hostile)))
        name = name_of(client)
        browser.wait_text("#connections-table", name)
        client.close()
        for width, selector in ((1200, "#closes-table .second"), (1000, "td .addr")):
            browser.size(width)
            browser.wait_text("#closes-table", name)
            broken = browser.run(
                "return [...document.querySelectorAll(arguments[0])]"
                ".filter(each => /^[0-9.:]+$/.test(each.textContent)).filter(each => {"
                "const range = document.createRange(); range.selectNodeContents(each);"
                "return range.getClientRects().length !== 1}).map(each => each.textContent)",
                selector,
            )
            self.assertEqual([], broken)

    def test_accessible(self) -> None:
        """axe finds nothing wrong, light and dark, wide and narrow, with a question open or not."""
        if not AXE.exists():
            raise SkipTest("needs build/axe/axe.min.js (make build/axe/axe.min.js, with npm)")
        browser = self.browser
        self.client(self.stage.orders)
        browser.run(AXE.read_text())
        for scheme, width in (("light", 1440), ("dark", 1440), ("dark", 320)):
            browser.scheme(scheme)
            browser.size(width)
            self.assertEqual([], self.violations(), (scheme, width))
        browser.size(1440)
        self.click("#home-table button", "quitquitquit")
        self.assertEqual([], self.violations())
        browser.click(browser.find("#ask-no"))

    def violations(self) -> list[str]:
        """What axe finds."""
        found = self.browser.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']})"
            ".then(found => done(JSON.stringify(found.violations)))"
        )
        return [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
            for each in json.loads(found)
            for node in each["nodes"][:3]
        ]
