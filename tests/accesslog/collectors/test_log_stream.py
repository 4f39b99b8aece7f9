"""The stream to a log service, which may be slow, dead, or neither for long."""

from __future__ import annotations

from random import Random

from envoy.config.core.v3 import base_pb2
from envoy.service.accesslog.v3 import als_pb2

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.collectors.log_stream import LINGER, MOST_WAITING, LogStream, RetryPolicy
from tcpmesh.logs.reachability import STEADY, Reachability
from tests.accesslog.collectors.fake_grpc import FakeGrpcClient, FakeStream
from tests.mesh import parse
from tests.told import Told


def message(name: str = "") -> als_pb2.StreamAccessLogsMessage:
    """A message with one record."""
    made = als_pb2.StreamAccessLogsMessage()
    made.tcp_logs.log_entry.add().common_properties.route_name = name
    return made


class LogStreamTests(SynchronousTestCase):
    """One stream after the other."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.client = FakeGrpcClient()
        self.lost = 0
        self.told = Told()
        self.log = Logger(namespace="stats", observer=self.told)
        self.logs = self.make(RetryPolicy())

    def make(self, retry: RetryPolicy) -> LogStream:
        def identify(made: als_pb2.StreamAccessLogsMessage) -> None:
            made.identifier.log_name = "me"

        def lose(records: int) -> None:
            self.lost += records

        return LogStream(
            lambda observer: self.client.stream("/m", None, observer),
            identify,
            lose,
            self.clock,
            Reachability(self.log, "the service", self.clock.seconds),
            1.0,
            retry,
            Random(1),
        )

    def test_lost_and_back(self) -> None:
        """Where streams end with an error, or before anything was taken, the log says so once; and
        that the service takes messages again.
        """
        for error in ("UNAVAILABLE", None):
            self.logs.send(message(), 1)
            self.stream.end(error)
            self.clock.advance(STEADY)
        self.assertTrue(self.logs.send(message(), 1))
        self.stream.end()
        lost, back = self.told.lines
        self.assertIn("the service is lost: UNAVAILABLE", lost)
        self.assertEqual("the service is back", back)

    def test_lost_without_a_word(self) -> None:
        """A stream that ends before it has taken anything is a loss too."""
        self.client.takes = False
        self.logs.send(message(), 1)
        self.stream.end()
        (lost,) = self.told.lines
        self.assertIn("ends the stream before it takes anything", lost)

    @property
    def stream(self) -> FakeStream:
        """The last one."""
        return self.client.streams[-1]

    def names(self, number: int = -1) -> list[str]:
        """What the messages of a stream are called, with a star where they say who sends them."""
        return [
            each.tcp_logs.log_entry[0].common_properties.route_name
            + "*" * each.HasField("identifier")
            for each in self.client.streams[number].messages
        ]

    def test_the_first_message_says_who_sends(self) -> None:
        """The stream is opened with the first message, which alone has the identifier."""
        self.assertEqual(self.client.streams, [])
        self.logs.send(message("a"), 1)
        self.logs.send(message("b"), 1)
        self.assertEqual(self.names(), ["a*", "b"])

    def test_a_stream_that_ends_is_followed_by_another(self) -> None:
        """With the next message, which says again who sends; nothing that had left is lost."""
        self.logs.send(message("a"), 1)
        self.stream.end()
        self.logs.send(message("b"), 1)
        self.assertEqual((self.names(0), self.names(1), self.lost), (["a*"], ["b*"], 0))

    def test_a_slow_service_gets_no_more_than_it_can_take(self) -> None:
        """Beyond the limit nothing is sent until it has taken what waits."""
        self.client.takes = False
        sent = 0
        while self.logs.send(message("x" * 10000), 1):
            sent += 1
        self.assertLess(self.stream.buffered, MOST_WAITING + 20000)
        self.assertFalse(self.logs.is_ready)
        self.stream.drain()
        self.assertTrue(self.logs.send(message("y"), 1))
        self.stream.end()
        self.assertEqual(self.lost, 0)

    def test_what_had_not_left_is_lost_and_counted(self) -> None:
        """Of a stream that breaks, the records count as lost that had not left."""
        self.logs.send(message("left"), 3)
        self.stream.takes = False
        self.logs.send(message("waits"), 5)
        self.stream.end("reset")
        self.assertEqual(self.lost, 5)

    def test_a_dead_service_is_not_asked_all_the_time(self) -> None:
        """After a stream that took nothing the next one waits for the pause."""
        self.client.takes = False
        self.assertTrue(self.logs.send(message(), 1))
        self.stream.end("refused")
        self.assertFalse(self.logs.send(message(), 1))
        self.clock.advance(1.0)
        self.assertTrue(self.logs.send(message(), 1))
        self.assertEqual((len(self.client.streams), self.lost), (2, 1))

    def test_a_stream_that_takes_no_message(self) -> None:
        """What the client does not accept stays with the caller, and the next that it accepts says
        who sends.
        """
        self.logs.send(message(), 1)
        self.stream.end()
        self.client.stream = self._refusing  # type: ignore[method-assign]
        self.assertFalse(self.logs.send(message("a"), 1))
        self.stream.accepts = True
        self.assertTrue(self.logs.send(message("a"), 1))
        self.assertEqual((self.names(), self.lost), (["a*"], 0))

    def _refusing(
        self, method: str, reply: object, observer: object, timeout: object = None
    ) -> FakeStream:
        made = FakeStream(method, observer)
        made.accepts = False
        self.client.streams.append(made)
        return made

    def test_a_policy_sends_again(self) -> None:
        """With a retry policy what had not left goes out on a new stream, after a pause, and
        meanwhile nothing else does.
        """
        self.logs = self.make(RetryPolicy(2))
        self.client.takes = False
        self.logs.send(message("a"), 1)
        self.logs.send(message("b"), 1)
        self.stream.end("refused")
        self.assertFalse(self.logs.is_ready)
        self.client.takes = True
        self.clock.advance(0.3)
        self.assertEqual((len(self.client.streams), self.names(), self.lost), (2, ["a*", "b"], 0))
        self.assertTrue(self.logs.send(message("c"), 1))

    def test_a_policy_has_an_end(self) -> None:
        """After so many retries the records are lost, and a later message begins anew."""
        self.logs = self.make(RetryPolicy(2))
        self.client.takes = False
        self.logs.send(message("a"), 4)
        for _ in range(3):
            self.stream.end("refused")
            self.clock.advance(0.3)
        self.assertEqual((len(self.client.streams), self.lost), (3, 4))
        self.clock.advance(1.0)
        self.assertTrue(self.logs.send(message("b"), 1))

    def test_a_policy_begins_anew(self) -> None:
        """Once a service has taken something, all retries are there again."""
        self.logs = self.make(RetryPolicy(2))
        self.client.takes = False
        self.logs.send(message("a"), 1)
        for _ in range(2):
            self.stream.end("refused")
            self.clock.advance(0.3)
        self.stream.drain()
        self.stream.takes = False
        self.logs.send(message("b"), 1)
        for lost in (0, 0, 1):
            self.stream.end("refused")
            self.clock.advance(0.3)
            self.assertEqual(self.lost, lost)

    def test_policies(self) -> None:
        """A policy that says nothing allows one retry, at pauses of 25 ms up to ten times that."""
        policy = parse(base_pb2.RetryPolicy, "{}")
        self.assertEqual(RetryPolicy.of(policy), (1, 0.025, 0.25))
        policy = parse(
            base_pb2.RetryPolicy, "{num_retries: 5, retry_back_off: {base_interval: 1s}}"
        )
        self.assertEqual(RetryPolicy.of(policy), (5, 1.0, 10.0))
        self.assertLessEqual(RetryPolicy.of(policy).pause(100, Random(1)), 10.0)

    def test_close_ends_the_stream(self) -> None:
        """The service is told that there are no more messages, and may take what waits; no timer is
        left behind once it ends the stream.
        """
        self.logs.send(message(), 1)
        self.stream.takes = False
        self.logs.send(message(), 2)
        self.logs.close()
        self.assertTrue(self.stream.is_ended)
        self.stream.drain()
        self.stream.end()
        self.assertEqual((self.lost, self.clock.getDelayedCalls()), (0, []))

    def test_close_waits_not_for_ever(self) -> None:
        """A service that takes nothing at the end is left after a while, and that is counted."""
        self.client.takes = False
        self.logs.send(message(), 2)
        self.logs.close()
        self.clock.advance(LINGER)
        self.assertFalse(self.stream.is_open)
        self.assertEqual((self.lost, self.clock.getDelayedCalls()), (2, []))

    def test_close_during_a_pause(self) -> None:
        """What waits to be sent again is lost, and nothing is begun any more."""
        self.logs = self.make(RetryPolicy(2))
        self.client.takes = False
        self.logs.send(message(), 1)
        self.stream.end("refused")
        self.logs.close()
        self.assertEqual((self.lost, self.clock.getDelayedCalls()), (1, []))
