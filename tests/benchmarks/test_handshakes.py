"""The TLS clients of the benchmark, against servers of Python's own."""

from __future__ import annotations

import contextlib
import ssl
import threading
from pathlib import Path
from socket import create_server

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.bulk import Transfer, pattern, serve
from benchmarks.certificates import make_certificates
from benchmarks.handshakes import FULL, RESUMED, Client, client_context
from benchmarks.process import BenchmarkError


class Server:
    """Speaks TLS with a certificate of the benchmark.

    :param resumes: whether it gives tickets.
    :ivar resumed: for each connection whether it was resumed.
    """

    def __init__(self, directory: Path, resumes: bool = True, body: bytes = b"") -> None:
        self.resumed: list[bool] = []
        self._body = body
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(make_certificates(directory).ecdsa.both)
        if not resumes:
            self._context.options |= ssl.OP_NO_TICKET
            self._context.num_tickets = 0
        self.listening = create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listening.accept()
                with self._context.wrap_socket(sock, server_side=True) as served:
                    self.resumed.append(bool(served.session_reused))
                    self._answer(served)

    def _answer(self, served: ssl.SSLSocket) -> None:
        line = served.recv(4096).split(b"\r\n")[0]
        body = self._body or line.partition(b"id=")[2].partition(b" ")[0]
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        served.sendall(head + body)


class ClientTests(SynchronousTestCase):
    """What one client sees to."""

    def server(self, resumes: bool = True, body: bytes = b"") -> Server:
        """A server that is there until the test ends."""
        directory = Path(self.mktemp())
        directory.mkdir()
        server = Server(directory, resumes, body)
        self.addCleanup(server.listening.close)
        return server

    def test_full(self) -> None:
        """Each connection has a handshake of its own."""
        server = self.server()
        client = Client(server.port, "1.3", FULL)
        for number in range(3):
            client.connect(number)
        self.assertEqual([False, False, False], server.resumed)

    def test_resumed(self) -> None:
        """After the first connection all are resumed, in either version."""
        for version in ("1.2", "1.3"):
            server = self.server()
            client = Client(server.port, version, RESUMED)
            for number in range(3):
                client.connect(number)
            self.assertEqual([False, True, True], server.resumed)

    def test_not_resumed(self) -> None:
        """A server that resumes nothing is found out."""
        client = Client(self.server(resumes=False).port, "1.3", RESUMED)
        client.connect(0)
        self.assertRaisesRegex(BenchmarkError, "not resumed", client.connect, 1)

    def test_wrong_reply(self) -> None:
        """A wrong reply is found out."""
        client = Client(self.server(body=b"8").port, "1.3", FULL)
        self.assertRaisesRegex(BenchmarkError, "wrong reply", client.connect, 7)


class BulkTests(SynchronousTestCase):
    """A bulk transfer with TLS."""

    def test_both_ways(self) -> None:
        """Every byte arrives, to the client and from it."""
        directory, block = Path(self.mktemp()), pattern()
        directory.mkdir()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(make_certificates(directory).rsa.both)
        with contextlib.ExitStack() as stack:
            listening = stack.enter_context(create_server(("127.0.0.1", 0)))

            def peer() -> None:
                for _ in range(2):
                    sock, _address = listening.accept()
                    serve(context.wrap_socket(sock, server_side=True), block)

            thread = threading.Thread(target=peer)
            thread.start()
            for transfer in (Transfer.download, Transfer.upload):
                port = listening.getsockname()[1]
                with Transfer(port, block, 20, client_context()) as bulk:
                    transfer(bulk, 1 << 20)
            thread.join()
