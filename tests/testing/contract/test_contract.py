"""The contract suite finds bugs: each bug that a proxy's transport has had somewhere makes it
fail.
"""

from __future__ import annotations

import unittest
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.net.internal import transport as stream
from tcpmesh.net.internal.pipe import Pipe
from tcpmesh.testing.contract import NetworkContract, StreamContract
from tcpmesh.testing.harness import MemoryHarness, TransportHarness
from tcpmesh.testing.memory.transport import MemoryTransport


def failures() -> set[str]:
    """The names of the tests that the memory network fails now."""

    class MemoryTests(StreamContract, NetworkContract, TestCase):
        def make_harness(self) -> TransportHarness:
            return MemoryHarness()

    result = unittest.TestResult()
    for name in unittest.TestLoader().getTestCaseNames(MemoryTests):
        MemoryTests(name).run(result)
    return {str(test.id()).rpartition(".")[2] for test, _ in (*result.failures, *result.errors)}


class ContractTests(SynchronousTestCase):
    """The suite, with bugs planted into the memory transport."""

    def assert_found(self, name: str, bug: Any, *tests: str) -> None:
        """With `bug` in place of a method of the transport these tests fail."""
        self.patch(MemoryTransport, name, bug)
        found = failures()
        self.flushLoggedErrors()
        self.assertLessEqual(set(tests), found)

    def test_sound(self) -> None:
        """Without a bug nothing fails."""
        self.assertEqual(set(), failures())
        self.flushLoggedErrors()

    def test_reads_while_paused(self) -> None:
        """A transport that ignores pauseProducing."""
        self.assert_found(
            "pauseProducing",
            lambda self: None,
            "test_paused",
            "test_eof_while_paused",
            "test_reset_while_paused",
        )

    def test_forgets_pull_of_the_rest(self) -> None:
        """A transport that does not flush before it closes."""
        self.assert_found(
            "loseConnection", MemoryTransport.abortConnection, "test_close_flushes", "test_close"
        )

    def test_closes_both_ways(self) -> None:
        """A transport whose half-close is a close."""
        self.assert_found(
            "loseWriteConnection", MemoryTransport.loseConnection, "test_answer_after_eof"
        )

    def test_never_pauses_its_producer(self) -> None:
        """A transport without backpressure."""
        self.assert_found(
            "_pause_producer",
            lambda self: None,
            "test_producer_paused_and_resumed",
            "test_slow_reader",
        )

    def test_resumes_too_early(self) -> None:
        """A transport that resumes its producer at once."""

        def resume(self: Any) -> None:
            if self._producer is not None and self._producer_paused:
                self._producer_paused = False
                self._producer.resumeProducing()

        self.assert_found("_resume_producer", resume, "test_producer_paused_and_resumed")

    def test_reset_is_an_end(self) -> None:
        """A transport that tells a reset as an orderly end."""
        self.patch(stream, "ConnectionLost", ConnectionDone)
        self.assertLessEqual({"test_bytes_before_a_reset", "test_abort"}, failures())
        self.flushLoggedErrors()

    def test_ends_twice(self) -> None:
        """A transport that reports its loss from within the call, and then again."""

        def abort(self: Any) -> None:
            self.protocol.connectionLost(Failure(ConnectionDone()))
            self._steps.add(self._aborted)

        self.assert_found("abortConnection", abort, "test_ends_are_told_later", "test_ends_once")

    def test_loses_the_last_bytes(self) -> None:
        """A transport that drops what was unread when the reset came."""

        def drop(self: Any, size: int) -> bytes:
            taken = b"" if self.reset else bytes(self.data[:size])
            del self.data[:size]
            return taken

        self.patch(Pipe, "take", drop)
        self.assertLessEqual({"test_reset_while_paused", "test_reset_after_flush"}, failures())
        self.flushLoggedErrors()
