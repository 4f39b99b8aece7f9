"""Asking an admin interface."""

from __future__ import annotations

import socket
import tempfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import UnixStreamServer
from threading import Thread
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.terminal import client as client_module
from tcpmesh.terminal.client import AdminClient, NoAnswer, NoSuchPath


class Answers(BaseHTTPRequestHandler):
    """Answers as it is told to."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """A question."""
        self.asked.append(f"{self.command} {self.path}")
        status, body = {
            "/ok": (200, b'{"a": 1}'),
            "/text": (200, b"x"),
            "/400": (400, b"no\x1b\n2"),
        }.get(self.path.partition("?")[0], (404, b"invalid path"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def address_string(self) -> str:
        """Who asks: nobody wants to know."""
        return ""

    def log_message(self, *args: Any) -> None:
        """Not in tests."""


class UnixServer(UnixStreamServer):
    """The same on a unix socket."""


class ClientTests(SynchronousTestCase):
    """Over TCP and over unix sockets."""

    def serve(self, server: Any) -> None:
        """Answer until the test ends."""
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        Answers.asked.clear()

    def tcp(self) -> AdminClient:
        """One that is there."""
        server = HTTPServer(("127.0.0.1", 0), Answers)
        self.serve(server)
        return AdminClient(f"127.0.0.1:{server.server_address[1]}")

    def test_tcp(self) -> None:
        """JSON is read, what changes something is posted, and parameters are written so that any
        value can be one.
        """
        client = self.tcp()
        self.assertEqual({"a": 1}, client.get("/ok", {"x": "&= \n\u6f22"}))
        self.assertEqual("x", client.post("/text", {"id": "3"}))
        self.assertEqual(["GET /ok?x=%26%3D+%0A%E6%BC%A2", "POST /text?id=3"], Answers.asked)

    def test_unix(self) -> None:
        """A path is one of a unix socket, an abstract one too."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "s")
            self.serve(UnixServer(path, Answers))
            self.assertEqual({"a": 1}, AdminClient(f"unix:{path}").get("/ok"))
        name = f"tcpmesh-test-{id(self)}"
        self.serve(UnixServer(f"\0{name}", Answers))
        self.assertEqual({"a": 1}, AdminClient(f"unix:@{name}").get("/ok"))

    def test_refused(self) -> None:
        """What is refused is told in one line that no terminal obeys; a path that is not there is
        told apart.
        """
        client = self.tcp()
        error = self.assertRaises(NoAnswer, client.get, "/400")
        self.assertTrue(str(error).endswith(r"refuses /400: 400 no\x1b"), error)
        self.assertRaises(NoSuchPath, client.get, "/connections")

    def test_nobody_there(self) -> None:
        """Where nobody listens, on either kind of address, the reason is told."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            where = f"127.0.0.1:{sock.getsockname()[1]}"
            error = self.assertRaises(NoAnswer, AdminClient(where).get, "/ok")
        self.assertEqual(f"cannot ask {where}: Connection refused", str(error))
        error = self.assertRaises(NoAnswer, AdminClient("unix:/not/there").get, "/ok")
        self.assertIn("No such file", str(error))
        error = self.assertRaises(NoAnswer, AdminClient("no.host.invalid:1").get, "/ok")
        self.assertIn("cannot ask no.host.invalid:1: ", str(error))

    def test_silent(self) -> None:
        """One that says nothing is waited for so long and no longer."""
        self.patch(client_module, "PATIENCE", 0.05)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            where = f"127.0.0.1:{sock.getsockname()[1]}"
            error = self.assertRaises(NoAnswer, AdminClient(where).get, "/ok")
        self.assertIn("it does not answer", str(error))

    def test_no_admin(self) -> None:
        """Who answers something else is no admin interface; and too much is not read."""
        client = self.tcp()
        self.assertIn("no admin", str(self.assertRaises(NoAnswer, client.get, "/text")))
        self.patch(client_module, "MOST_BYTES", 2)
        self.assertIn("longer than", str(self.assertRaises(NoAnswer, client.get, "/ok")))

    def test_addresses(self) -> None:
        """What is no address is refused before anybody is asked."""
        for wrong in ("", "x", ":1", "x:y", "x:0", "x:65536", "/path"):
            self.assertRaises(ValueError, AdminClient, wrong)
        self.assertEqual(("::1", 9), (AdminClient("[::1]:9")._host, AdminClient("[::1]:9")._port))
