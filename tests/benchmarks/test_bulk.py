"""The bulk transfers of the benchmark: what a proxy does to the bytes is found."""

from __future__ import annotations

import socket
import threading
import time

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import bulk
from benchmarks.process import BenchmarkError
from tests.benchmarks.peers import DamagingProxy, Listening

BLOCK = bulk.pattern()


class StreamTests(SynchronousTestCase):
    """A stream of which every byte is known by its position."""

    def setUp(self) -> None:
        self.sender, self.receiver = socket.socketpair()
        self.addCleanup(self.sender.close)
        self.addCleanup(self.receiver.close)
        self.receiver.settimeout(5)

    def received(self, data: bytes, count: int) -> None:
        """Send the data and the end of the stream; receive as if `count` bytes were due."""

        def send_all() -> None:
            self.sender.sendall(data)
            self.sender.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send_all)
        sending.start()
        try:
            bulk.receive(self.receiver, count, BLOCK, time.monotonic() + 5)
        finally:
            self.receiver.close()
            sending.join(5)

    def test_block_repeats(self) -> None:
        """Whatever is sent over more than two periods is what the receiver expects."""
        count = 2 * bulk.PERIOD + 12_345
        sending = threading.Thread(target=bulk.send, args=(self.sender, count, BLOCK))
        sending.start()

        bulk.receive(self.receiver, count, BLOCK, time.monotonic() + 5)

        sending.join(5)

    def test_changed_byte(self) -> None:
        """One changed byte is found."""
        data = bytearray(BLOCK[:100_000])
        data[77_777] ^= 1

        self.assertRaisesRegex(BenchmarkError, "wrong bytes", self.received, bytes(data), len(data))

    def test_lost_byte(self) -> None:
        """One lost byte is found, although the number of bytes is right."""
        data = BLOCK[:5_000] + BLOCK[5_001:100_001]

        self.assertRaisesRegex(BenchmarkError, "wrong bytes", self.received, data, len(data))

    def test_swapped_pieces(self) -> None:
        """Two pieces in the wrong order are found."""
        data = BLOCK[4_096:8_192] + BLOCK[:4_096]

        self.assertRaisesRegex(BenchmarkError, "wrong bytes", self.received, data, len(data))

    def test_early_end(self) -> None:
        """A stream that ends early is found."""
        self.assertRaisesRegex(
            BenchmarkError, "ended after 999 of 1000", self.received, BLOCK[:999], 1_000
        )

    def test_deadline(self) -> None:
        """A stream that trickles is given up at the deadline."""
        self.sender.sendall(BLOCK[:10])

        self.assertRaisesRegex(
            BenchmarkError, "in time", bulk.receive, self.receiver, 100, BLOCK, time.monotonic() - 1
        )


class PeerTests(SynchronousTestCase):
    """A client of the bulk peer, with nothing between them."""

    def setUp(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        self.port: int = listening.getsockname()[1]
        self.serving = threading.Thread(
            target=lambda: bulk.serve(listening.accept()[0], BLOCK), daemon=True
        )
        self.serving.start()
        self.addCleanup(self.serving.join, 5)

    def test_download(self) -> None:
        """A download is verified to its end."""
        with bulk.Transfer(self.port, BLOCK, 5) as transfer:
            transfer.download(3_000_000)

    def test_upload(self) -> None:
        """An upload is verified by the peer."""
        with bulk.Transfer(self.port, BLOCK, 5) as transfer:
            transfer.upload(3_000_000)

    def test_damaged_upload(self) -> None:
        """The peer tells of a damaged upload."""
        with bulk.Transfer(self.port, BLOCK[1:] + BLOCK[:1], 5) as transfer:
            self.assertRaisesRegex(BenchmarkError, "the peer says b'NO", transfer.upload, 1_000)


class BulkPeer(Listening):
    """The peer of the benchmark, in a thread."""

    def serve(self, sock: socket.socket) -> None:
        """Answer one client."""
        bulk.serve(sock, BLOCK)


class DamagingProxyTests(SynchronousTestCase):
    """A client of the bulk peer, with a proxy between them that changes one byte."""

    def setUp(self) -> None:
        self.peer = BulkPeer()
        self.peer.start()
        self.addCleanup(self.peer.stop)

    def transfer(self, position: int) -> bulk.Transfer:
        """A connection through a proxy that changes the byte at this position of what goes to the
        client.
        """
        passed = 0

        def damage(data: bytes) -> bytes:
            nonlocal passed
            place = position - passed
            passed += len(data)
            if not 0 <= place < len(data):
                return data
            return data[:place] + bytes([data[place] ^ 0x80]) + data[place + 1 :]

        proxy = DamagingProxy(self.peer.port, damage)
        proxy.start()
        self.addCleanup(proxy.stop)
        return bulk.Transfer(proxy.port, BLOCK, 5)

    def test_right(self) -> None:
        """A byte behind the end cannot be changed, and all is right."""
        with self.transfer(8_000_000) as transfer:
            transfer.download(8_000_000)

    def test_download(self) -> None:
        """One changed byte of millions is found."""
        with self.transfer(7_654_321) as transfer:
            self.assertRaisesRegex(
                BenchmarkError, "wrong bytes between", transfer.download, 8_000_000
            )

    def test_last_byte(self) -> None:
        """So is the last one."""
        with self.transfer(7_999_999) as transfer:
            self.assertRaisesRegex(
                BenchmarkError, "wrong bytes between", transfer.download, 8_000_000
            )

    def test_verdict(self) -> None:
        """A changed verdict on an upload is no success."""
        with self.transfer(0) as transfer:
            self.assertRaisesRegex(BenchmarkError, "after an upload", transfer.upload, 1_000)
