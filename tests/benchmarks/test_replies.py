"""The check of single replies."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import replies
from benchmarks.process import BenchmarkError

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"


class AnswerTests(SynchronousTestCase):
    """One reply to one request."""

    def setUp(self) -> None:
        self.server, self.client = socket.socketpair()
        self.addCleanup(self.server.close)
        self.addCleanup(self.client.close)
        self.client.settimeout(5)

    def test_body(self) -> None:
        """The body is returned."""
        self.server.sendall(REPLY)

        self.assertEqual(b"body", replies.answer(self.client))

    def test_cut_short(self) -> None:
        """A reply that ends before its length is an error."""
        self.server.sendall(REPLY[:-1])
        self.server.close()

        self.assertRaisesRegex(BenchmarkError, "closed within a reply", replies.answer, self.client)

    def test_surplus(self) -> None:
        """Bytes behind the reply are an error."""
        self.server.sendall(REPLY + b"!")

        self.assertRaisesRegex(BenchmarkError, "behind a reply", replies.answer, self.client)

    def test_status(self) -> None:
        """Any status but 200 is an error."""
        self.server.sendall(REPLY.replace(b"200 OK", b"502 Bad"))

        self.assertRaisesRegex(BenchmarkError, "unexpected reply", replies.answer, self.client)
