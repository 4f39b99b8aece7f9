"""Requests of the proxy's own in HTTP/1.1, and the connections that they are made on."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tcpmesh.cluster.upstream.http1_pools import MOST_IDLE, RequestFailed
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.hosts import Assignment
from tests.mesh import MeshTestCase

HOST = "127.0.0.2:80"
REQUEST = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Http1PoolsTests(MeshTestCase):
    """With a host that does as it is told."""

    def setUp(self) -> None:
        """A cluster c of one host."""
        super().setUp()
        self.served: list[RecordingProtocol] = []
        self.mesh.upstream(HOST).make = self._serve
        self.mesh.add_cluster("c", HOST, more="connect_timeout: 1s")

    @property
    def cluster(self) -> Any:
        """As a worker has it."""
        return self.mesh.cluster("c")

    def _serve(self) -> RecordingProtocol:
        self.served.append(RecordingProtocol())
        return self.served[-1]

    def ask(self, request: bytes = REQUEST, timeout: float = 5.0) -> list[Any]:
        """Make a request; a list that gets its status, or what it failed with."""
        found: list[Any] = []
        asked = self.cluster.http1.send(request, timeout)
        asked.addCallbacks(found.append, lambda failure: found.append(failure.value))
        self.mesh.pump()
        return found

    def answer(self, data: bytes = OK, number: int = -1) -> None:
        """The host sends this."""
        self.served[number].transport.write(data)
        self.mesh.pump()

    def assertFailed(self, found: list[Any], why: str) -> None:
        """The request came to nothing, for this reason."""
        (error,) = found
        self.assertIsInstance(error, RequestFailed)
        self.assertIn(why, str(error))

    def test_a_connection_serves_one_request_after_the_other(self) -> None:
        """What has answered is used again, and all is counted as for any connection."""
        for _ in range(3):
            found = self.ask()
            self.answer()
            self.assertEqual(found, [200])
        self.assertEqual(bytes(self.served[0].received), REQUEST * 3)
        stats = self.mesh.stats("cluster.c.")
        self.assertEqual(stats["upstream_cx_total"], 1)
        self.assertEqual(stats["upstream_cx_active"], 1)
        self.assertEqual(stats["upstream_cx_http1_total"], 1)
        self.assertEqual(stats["upstream_rq_total"], 3)
        self.assertEqual(stats["upstream_rq_active"], 0)
        self.assertEqual(stats["upstream_cx_tx_bytes_total"], 3 * len(REQUEST))
        self.assertEqual(stats["upstream_cx_rx_bytes_total"], 3 * len(OK))

    def test_requests_at_one_time_have_connections_of_their_own(self) -> None:
        """No request waits for another's answer, and no more connections are kept than are
        usual.
        """
        asked = [self.ask() for _ in range(4)]
        self.assertEqual(len(self.served), 4)
        for number in range(4):
            self.answer(number=number)
        self.assertEqual(asked, [[200]] * 4)
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_active"), MOST_IDLE)

    def test_any_status_is_an_answer(self) -> None:
        """It is for the caller to judge; a response that ends the connection ends it."""
        found = self.ask()
        self.answer(b"HTTP/1.1 503 No\r\nconnection: close\r\n\r\nbody")
        self.served[0].transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(found, [503])
        self.ask()
        self.assertEqual(len(self.served), 2)

    def test_a_host_that_does_not_answer(self) -> None:
        """After the timeout the request has failed, and its connection is of no more use."""
        found = self.ask(timeout=2.0)
        self.mesh.advance(2.0)
        self.assertFailed(found, "no answer in time")
        self.assertTrue(self.served[0].lost)
        self.assertEqual(self.mesh.stat("cluster.c.upstream_rq_active"), 0)
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_active"), 0)

    def test_a_host_that_answers_nonsense(self) -> None:
        """What is no response fails the request and ends the connection."""
        found = self.ask()
        self.answer(b"SSH-2.0-OpenSSH\r\n")
        self.assertFailed(found, "no head of a response")
        self.assertTrue(self.served[0].lost)
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_protocol_error"), 1)

    def test_a_host_that_speaks_unasked(self) -> None:
        """A connection on which something comes between two requests is not used again."""
        self.ask()
        self.answer()
        self.answer(OK)
        self.assertTrue(self.served[0].lost)
        self.ask()
        self.assertEqual(len(self.served), 2)

    def test_a_host_that_hangs_up(self) -> None:
        """In the midst of a request that has failed; between two, the next has a connection of its
        own.
        """
        found = self.ask()
        self.served[0].transport.abortConnection()
        self.mesh.pump()
        self.assertFailed(found, "closed within the response")
        self.ask()
        self.answer()
        self.served[1].transport.loseConnection()
        self.mesh.pump()
        found = self.ask()
        self.answer()
        self.assertEqual((found, len(self.served)), ([200], 3))
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_active"), 1)

    def test_a_host_that_refuses(self) -> None:
        """The failure is the cluster's, and is counted there."""
        self.mesh.add_cluster("c", "127.0.0.9:9")
        self.assertFailed(self.ask(), "closed within the response")
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_connect_fail"), 1)
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_active"), 0)

    def test_no_host(self) -> None:
        """Then the request fails at once."""
        self.mesh.add_cluster("c")
        self.assertFailed(self.ask(), "no healthy upstream")
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_none_healthy"), 1)

    def test_close(self) -> None:
        """It ends all connections, and what is under way fails."""
        self.ask()
        self.answer()
        found = self.ask()
        other = self.ask()
        self.cluster.close()
        self.mesh.pump()
        for each in (found, other):
            self.assertFailed(each, "closed")
        self.assertEqual([each.lost for each in self.served], [True, True])
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_active"), 0)

    def test_a_host_that_leaves(self) -> None:
        """Its connections are closed, once they have nothing to do."""
        self.ask()
        self.answer()
        self.mesh.tell_hosts("c", Assignment())
        self.mesh.pump()
        self.assertTrue(self.served[0].lost)

    def test_close_while_it_connects(self) -> None:
        """An attempt is given up."""
        found: list[Any] = []
        asked: Deferred[int] = self.cluster.http1.send(REQUEST, 5.0)
        asked.addErrback(lambda failure: found.append(failure.value))
        self.cluster.close()
        self.mesh.pump()
        self.assertFailed(found, "closed")
        self.assertEqual(self.mesh.stat("cluster.c.upstream_cx_active"), 0)
