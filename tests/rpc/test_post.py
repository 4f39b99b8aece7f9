"""Requests over HTTP/2 of which only the status is wanted."""

from __future__ import annotations

from typing import Any

from tcpmesh.rpc.post import PostFailed, post
from tests.rpc.called import Call, RpcTestCase

FIELDS = ((":method", "POST"), (":scheme", "http"), (":path", "/p"), (":authority", "a"))


class PostTests(RpcTestCase):
    """With a server that does as it is told."""

    def ask(self) -> list[Any]:
        """Make a request; a list that gets its status, or why it failed."""
        cluster: Any = self.mesh.cluster("c")
        found: list[Any] = []
        made = post(cluster.http2, FIELDS, b"body", self.mesh.clock, 2.0)
        made.addCallbacks(found.append, lambda failure: found.append(failure.value))
        self.pump()
        return found

    def assertFailed(self, found: list[Any], why: str) -> None:
        """The request came to nothing, for this reason."""
        (error,) = found
        self.assertIsInstance(error, PostFailed)
        self.assertIn(why, str(error))

    def test_a_status(self) -> None:
        """The status of the response is the answer, whatever its body is."""
        self.server.reply = lambda call: call.head(((":status", "503"),), ended=True)
        self.assertEqual(self.ask(), [503])

        def reply(call: Call) -> None:
            call.head(((":status", "200"),))
            call.data(b"x" * 1000, ended=True)

        self.server.reply = reply
        found = self.ask()
        self.mesh.advance(2.0)
        self.assertEqual(found, [200])
        self.assertEqual(bytes(self.server.calls[0].body), b"body")

    def test_no_answer(self) -> None:
        """After the timeout the request is broken off."""
        self.server.reply = lambda call: None
        found = self.ask()
        self.mesh.advance(2.0)
        self.assertFailed(found, "no answer in time")
        self.assertIsNotNone(self.server.calls[0].reset)

    def test_no_host(self) -> None:
        """Where nobody can be asked the request fails."""
        self.add(hosts=())
        self.assertFailed(self.ask(), "no healthy upstream")
        self.add(hosts=("127.0.0.9:9",))
        self.assertFailed(self.ask(), "connection failure")
