"""The stream of events, over transports in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.live.feed import MOST_VIEWERS
from tcpmesh.admin.live.viewer import STALL_TIMEOUT
from tcpmesh.admin.site import AdminSite
from tcpmesh.admin.table import ENDPOINTS
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.values.live.host_events import HostEvent
from tcpmesh.values.live.origin import ConfigWarning, Origin
from tcpmesh.values.live.traffic import Flow, Sample, Traffic
from tests.admin.client import Client
from tests.admin.fakes import FakeServer

EVENT = HostEvent("1970-01-01T00:00:01.000Z", "db", "10.0.0.3:1", "EJECT", "CONSECUTIVE_5XX")


class FeedTestCase(SynchronousTestCase):
    """A server that somebody looks at."""

    def setUp(self) -> None:
        """Nobody looks yet."""
        self.server = FakeServer()
        self.clock: Any = Clock()
        self.site = AdminSite(self.server, ENDPOINTS, self.clock, shared_cooperator(self.clock))

    def look(self) -> Client:
        """Somebody looks."""
        client = Client(self.server, self.clock, self.site)
        client.send("GET", "/live")
        return client

    def pass_time(self, seconds: float = 1.0) -> None:
        """Let so much time pass."""
        for _ in range(int(seconds * 20)):
            self.clock.advance(0.05)

    def told(self, client: Client) -> list[tuple[str, Any]]:
        """The events that a client got since this was last asked."""
        client.run()
        text = client.transport.value()
        client.transport.clear()
        found = []
        for message in text.decode().replace("\r\n", "\n").split("\n\n"):
            lines = [line for line in message.splitlines() if ": " in line]
            fields = dict(line.split(": ", 1) for line in lines)
            if "event" in fields:
                found.append((fields["event"], json.loads(fields["data"])))
        return found

    def kinds(self, client: Client) -> list[str]:
        """Their kinds."""
        return [kind for kind, _ in self.told(client)]

    @property
    def timers(self) -> int:
        """How many calls are due some time."""
        return len([each for each in self.clock.getDelayedCalls() if each.active()])


class FeedTests(FeedTestCase):
    """What viewers are told."""

    def test_begins_with_all(self) -> None:
        """A newcomer is told at once who this is, then how things are."""
        self.server.bootstrap.node.id = "edge-3"
        warning = ConfigWarning("envoy.yaml:3:1", "node", "x" * 1000)
        self.server.origin = Origin(5.0, (warning,), 7)
        self.server.samples.append(Sample(1.0, 2, 3, 4, 5))
        client = self.look()
        client.run()
        head = client.transport.value().decode().partition("\r\n\r\n")[0]
        self.assertIn("200 OK", head)
        self.assertIn("Content-Type: text/event-stream; charset=UTF-8", head)
        self.pass_time(0.5)
        told = dict(self.told(client))
        hello = told.pop("hello")
        self.assertEqual(
            ("edge-3", 5.0, 7),
            tuple(hello[name] for name in ("node", "loaded_at", "warning_count")),
        )
        self.assertEqual([[1.0, 2, 3, 4, 5]], hello["samples"])
        self.assertEqual(400, len(hello["warnings"][0]["text"]))
        self.assertLessEqual({"tick", "map", "events"}, set(told))

    def test_each_second(self) -> None:
        """How much traffic there is is told each second, what happened to hosts when it does."""
        client = self.look()
        self.pass_time(0.5)
        self.told(client)
        self.server.now = Traffic(Sample(9.0, 1, 2, 3, 4), {Flow("l", "", "db", "h"): 1})
        self.server.host_events.events.append(EVENT)
        self.server.host_events.count += 1
        self.pass_time(1.0)
        told = dict(self.told(client))
        self.assertEqual([9.0, 1, 2, 3, 4], told["tick"]["sample"])
        self.assertEqual([list(EVENT)], told["events"]["events"])
        self.pass_time(1.0)
        self.assertNotIn("events", self.kinds(client))

    def test_made_once(self) -> None:
        """However many look, how things are is asked once a second, and while nobody looks not at
        all.
        """
        asked = []
        traffic = self.server.traffic
        self.server.traffic = lambda: asked.append(1) or traffic()  # type: ignore[func-returns-value,method-assign]
        self.pass_time(3.0)
        self.assertEqual([], asked)
        clients = [self.look() for _ in range(10)]
        self.pass_time(5.0)
        self.assertLess(len(asked), 8)
        self.assertEqual(1, len({str(self.told(client)[-1]) for client in clients}))
        for client in clients:
            client.leave()
        self.pass_time(1.0)
        made = len(asked)
        self.pass_time(3.0)
        self.assertEqual((made, 0), (len(asked), self.timers))

    def test_full(self) -> None:
        """One viewer too many is told so with 503, and there is a place once another one leaves."""
        clients = [self.look() for _ in range(MOST_VIEWERS)]
        self.pass_time(0.1)
        refused = self.look().response()
        self.assertEqual(503, refused.status)
        self.assertIn(str(MOST_VIEWERS), refused.body)
        clients[3].leave()
        again = self.look()
        self.pass_time(0.5)
        self.assertIn("hello", self.kinds(again))

    def test_two_hundred(self) -> None:
        """Two hundred who look at once and leave in the middle leave nothing behind."""
        clients = [self.look() for _ in range(200)]
        self.pass_time(0.2)
        for client in clients[::2]:
            client.leave()
        self.pass_time(2.0)
        for client in clients[1::2]:
            client.leave()
        self.pass_time(2.0)
        self.assertEqual(0, self.timers)

    def test_left_before_its_turn(self) -> None:
        """Who leaves before it was answered is none who looks."""
        client = Client(self.server, self.clock, self.site)
        client.send("GET", "/live")
        client.leave()
        self.pass_time(2.0)
        self.assertEqual(0, self.timers)

    def test_head(self) -> None:
        """A HEAD request is answered and over."""
        client = Client(self.server, self.clock, self.site)
        self.assertEqual(200, client.ask("/live", "HEAD").status)
        self.pass_time(1.0)
        self.assertEqual(200, client.ask("/ready").status)

    def test_hostile_names(self) -> None:
        """Line breaks and lone surrogates in names end no message."""
        self.server.bootstrap.node.id = "a\r\n\r\nevent: tick\ndata: {}\n\n\u2028"
        self.server.host_events.events.append(EVENT._replace(cluster="\ud800\n\nx"))
        self.server.host_events.count += 1
        client = self.look()
        self.pass_time(0.5)
        told = self.told(client)
        self.assertEqual(1, [kind for kind, _ in told].count("tick"))
        self.assertEqual(self.server.bootstrap.node.id, dict(told)["hello"]["node"])


class SlowViewerTests(FeedTestCase):
    """A viewer that does not take what it is told."""

    def test_skips(self) -> None:
        """Nothing waits for it in memory; when it takes more it gets the newest of each kind."""
        client = self.look()
        self.pass_time(0.5)
        self.told(client)
        client.producer.pauseProducing()
        for number in range(1, 6):
            self.server.now = Traffic(Sample(float(number), number, 0, 0, 0), {})
            self.pass_time(1.0)
        self.assertEqual([], self.told(client))
        client.producer.resumeProducing()
        told = self.told(client)
        self.assertEqual(len(told), len(dict(told)))
        self.assertEqual(5, dict(told)["tick"]["sample"][1])
        self.pass_time(1.0)
        self.assertIn("tick", self.kinds(client))

    def test_stalls(self) -> None:
        """One that takes nothing for a minute is left."""
        client = self.look()
        self.pass_time(0.5)
        client.producer.pauseProducing()
        self.pass_time(STALL_TIMEOUT + 1)
        self.assertTrue(client.transport.disconnected)
        client.leave()
        self.pass_time(1.0)
        self.assertEqual(0, self.timers)

    def test_not_idle(self) -> None:
        """One that looks for hours stays, though it asks for nothing more."""
        client = self.look()
        self.pass_time(2.0)
        for _ in range(100):
            self.clock.advance(60)
        client.run()
        self.assertFalse(client.transport.disconnecting)
