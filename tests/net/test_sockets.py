"""What is asked of a socket beyond reading and writing."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.sockets import TCP_INFO, tcp_facts


class TcpFactsTests(SynchronousTestCase):
    """What the kernel tells of a TCP connection."""

    def test_loopback(self) -> None:
        """Bytes and segments are told as they went over the wire, both ways."""
        with socket.create_server(("127.0.0.1", 0)) as port:
            near = socket.create_connection(port.getsockname())
            far, _ = port.accept()
        with near, far:
            near.sendall(b"x" * 1000)
            far.recv(2000)
            far.sendall(b"y" * 500)
            near.recv(2000)
            facts = tcp_facts(near)
        assert facts is not None
        self.assertEqual((1000, 500), (facts.bytes_sent, facts.bytes_received))
        self.assertEqual((1, 1), (facts.data_segments_sent, facts.data_segments_received))
        self.assertTrue(facts.segments_sent > 2 and facts.segments_received > 1, facts)
        self.assertEqual((0, 0, 0), (facts.retransmits, facts.unsent, facts.unacked))
        self.assertTrue(facts.rtt > 0 and facts.rtt_variance > 0, facts)

    def test_old_kernel(self) -> None:
        """Of what an older kernel does not count there is none."""

        class Old:
            """A socket of one."""

            def getsockopt(self, *args: object) -> bytes:
                """The beginning of the structure."""
                return b"\1" * (TCP_INFO.size - 104)

        facts = tcp_facts(Old())
        assert facts is not None
        self.assertEqual((0x01010101, 0), (facts.rtt, facts.bytes_sent))
