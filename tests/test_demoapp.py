"""Tests of `tcpmesh.demoapp`: what the tutorial's reader sees from a backend."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys

from twisted.application.internet import TCPServer
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.demoapp import Options, demo_site, makeService
from tcpmesh.testing.child import TWISTD


class SiteTests(SynchronousTestCase):
    """The pages, asked over a connection in memory from 172.21.1.254 to 172.21.1.3."""

    def setUp(self) -> None:
        """One site for each test: the probes have state."""
        self.patch(sys, "__stdout__", out := io.StringIO())
        self.out = out
        self.site = demo_site("webserver02", Clock())
        self.site.doStart()
        self.addCleanup(self.site.doStop)

    def ask(self, request: str, body: str = "") -> tuple[str, str]:
        """Send one request on a connection of its own; return the status line and the body of the
        answer.
        """
        transport = StringTransport(
            hostAddress=IPv4Address("TCP", "172.21.1.3", 8080),
            peerAddress=IPv4Address("TCP", "172.21.1.254", 40000),
        )
        protocol = self.site.buildProtocol(transport.getPeer())
        assert protocol is not None
        protocol.makeConnection(transport)
        protocol.dataReceived(
            f"{request} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\nContent-Type: "
            f"application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head, _, content = transport.value().decode().partition("\r\n\r\n")
        return head.splitlines()[0].removeprefix("HTTP/1.1 "), content

    def test_who_am_i(self) -> None:
        """The root page is the tutorial's line: the client's address, the server's name and the
        connection's local address.
        """
        status, body = self.ask("GET /")

        self.assertEqual("200 OK", status)
        self.assertEqual(
            "demoapp v1.0 !! ClientIP: 172.21.1.254, ServerName: webserver02, ServerIP: "
            "172.21.1.3!\n",
            body,
        )

    def test_hostname(self) -> None:
        """/hostname answers with the name alone."""
        self.assertEqual(("200 OK", "ServerName: webserver02\n"), self.ask("GET /hostname"))

    def test_probes_begin_healthy(self) -> None:
        """Both probes answer OK until told otherwise."""
        for path in ("/livez", "/readyz"):
            self.assertEqual(("200 OK", "OK"), self.ask(f"GET {path}"))

    def test_probe_fails_and_recovers(self) -> None:
        """A POST takes a probe out with status 506, and back in with status 200."""
        self.assertEqual(("200 OK", ""), self.ask("POST /livez", "livez=FAIL"))
        self.assertEqual(("506 Failing", "FAIL"), self.ask("GET /livez"))

        self.assertEqual(("200 OK", ""), self.ask("POST /livez", "livez=OK"))
        self.assertEqual(("200 OK", "OK"), self.ask("GET /livez"))

    def test_probes_are_apart(self) -> None:
        """One probe's status says nothing about the other's."""
        self.ask("POST /readyz", "readyz=FAIL")

        self.assertEqual(("200 OK", "OK"), self.ask("GET /livez"))

    def test_probe_refuses_nonsense(self) -> None:
        """A POST that is neither OK nor FAIL, or names another probe, is refused and changes
        nothing.
        """
        for body in ("livez=MAYBE", "readyz=FAIL", "livez=OK&livez=FAIL", ""):
            self.assertEqual("400 Bad Request", self.ask("POST /livez", body)[0])
        self.assertEqual(("200 OK", "OK"), self.ask("GET /livez"))

    def test_unknown_page_and_method(self) -> None:
        """An unknown page is a 404, a POST to a page that takes none a 405."""
        self.assertEqual("404 Not Found", self.ask("GET /nothing")[0])
        self.assertEqual("405 Method Not Allowed", self.ask("POST /hostname")[0])

    def test_one_line_for_each_request(self) -> None:
        """Each request adds one line to stdout in the tutorial's form, with the client, the request
        and the status, also where HEAD drops the body.
        """
        self.assertEqual(("200 OK", ""), self.ask("HEAD /"))
        self.ask("GET /missing")

        lines = self.out.getvalue().splitlines()
        self.assertEqual(2, len(lines), lines)
        start = r"^172\.21\.1\.254 - - \[\d\d/[A-Z][a-z]{2}/\d{4} \d\d:\d\d:\d\d\] "
        self.assertRegex(lines[0], start + r'"HEAD / HTTP/1\.1" 200 -$')
        self.assertRegex(lines[1], start + r'"GET /missing HTTP/1\.1" 404 -$')

    def test_nobody_reads(self) -> None:
        """A stdout that is closed stops no answer."""
        closed = io.StringIO()
        closed.close()
        self.patch(sys, "__stdout__", closed)

        self.assertEqual("200 OK", self.ask("GET /")[0])


class OptionsTests(SynchronousTestCase):
    """The command line of twistd tcpmesh-demoapp."""

    def parse(self, *arguments: str) -> Options:
        """The options that these arguments give."""
        options = Options()
        options.parseOptions(list(arguments))
        return options

    def test_defaults(self) -> None:
        """Without arguments it answers on port 8080 of all addresses, with the name of the host."""
        self.patch_environment(None)
        options = self.parse()

        self.assertEqual(
            (8080, "", socket.gethostname()),
            (options["port"], options["interface"], options["name"]),
        )

    def test_port_of_the_environment(self) -> None:
        """$PORT, which the tutorial's compose file sets, is the port unless --port says another."""
        self.patch_environment("8081")

        self.assertEqual(8081, self.parse()["port"])
        self.assertEqual(8082, self.parse("--port", "8082")["port"])

    def test_bad_ports(self) -> None:
        """What is not a port number is refused before anything starts."""
        for port in ("http", "-1", "65536", "8080.0", "²"):
            self.assertRaises(UsageError, self.parse, "--port", port)

    def test_service(self) -> None:
        """The service is one TCP server, at the port and interface asked for."""
        service = makeService(
            self.parse("--port", "8080", "--interface", "127.0.0.2", "--name", "webserver01")
        )

        assert isinstance(service, TCPServer)
        self.assertEqual((8080, "127.0.0.2"), (service.args[0], service.kwargs["interface"]))

    def test_port_in_use(self) -> None:
        """A port that somebody else has ends it with status 1 and one line."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = str(other.getsockname()[1])
            command = [TWISTD, "-n", "--pidfile=", "tcpmesh-demoapp", "--interface", "127.0.0.1"]
            ran = subprocess.run(
                [*command, "--port", port], capture_output=True, text=True, timeout=30
            )
        said = f"cannot listen on port {port}: Address already in use\n"
        self.assertEqual((1, "", said), (ran.returncode, ran.stdout, ran.stderr))

    def patch_environment(self, port: str | None) -> None:
        """Set $PORT, or make sure that it is not set."""
        self.patch(os, "environ", {} if port is None else {"PORT": port})
