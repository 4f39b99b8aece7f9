"""The demo backend, `twistd tcpmesh-demoapp`: a web server that says who asked and who answers.

Tutorials of L4 proxies need two backends that can be told apart by their answers and taken out of
service by hand.  This is that backend, with the answers of the image that Envoy tutorials use, so
that their texts hold word for word.  It is no part of the proxy: it imports nothing of it, and
nothing imports this.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from twisted.application.internet import TCPServer
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

if TYPE_CHECKING:
    from twisted.application.service import IService
    from twisted.internet.interfaces import IReactorTime

VERSION = "v1.0"

#: What a failing health check answers; the tutorial's own choice (RFC 2295 gave the number another
#: meaning).
FAILING = 506


class Options(UsageOptions):
    """Command line of `twistd tcpmesh-demoapp`."""

    synopsis = "[options]"
    longdesc = (
        "A web server that answers / with who asked and who answered, and /livez and /readyz "
        "with a status that a POST sets. "
        "Example: twistd -n tcpmesh-demoapp --port 8080 --name webserver01"
    )

    optParameters = (
        ("port", "p", None, "TCP port; by default what $PORT says, else 8080."),
        ("name", "N", None, "The name to answer with; by default this host's."),
        ("interface", "i", "", "Address to listen on; by default all IPv4 addresses."),
    )

    def postOptions(self) -> None:
        """Fill in what the environment decides, and turn the port into a number."""
        self["name"] = self["name"] or socket.gethostname()
        text = self["port"] or os.environ.get("PORT") or "8080"
        if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
            raise UsageError(f"--port (or $PORT): {text!r} is not a number from 0 to 65535")
        self["port"] = int(text)


class TextResource(Resource):
    """One page of plain text, made by `text` for each request."""

    isLeaf = True

    def text(self, request: Request) -> str:
        """The body of the answer; may set the status."""
        raise NotImplementedError

    def render_GET(self, request: Request) -> bytes:
        """Answer with `text`."""
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return self.text(request).encode()

    def render_HEAD(self, request: Request) -> bytes:
        """Answer as to GET without the body.  (Twisted would drop the body too, and add a line
        about it to the access log.)
        """
        request.setHeader(b"content-length", b"%d" % len(self.render_GET(request)))
        return b""


class WhoAmI(TextResource):
    """`/`: the client's address as this server sees it, this server's name and the local address of
    the connection.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def text(self, request: Request) -> str:
        """The line that the tutorial shows."""
        client, server = request.getClientAddress().host, request.getHost().host
        return (
            f"demoapp {VERSION} !! ClientIP: {client}, ServerName: {self.name}, ServerIP: "
            f"{server}!\n"
        )


class Hostname(TextResource):
    """`/hostname`: this server's name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def text(self, request: Request) -> str:
        """One line with the name."""
        return f"ServerName: {self.name}\n"


class Probe(TextResource):
    """`/livez` or `/readyz`: GET tells the status, POST of a form with the probe's own name as key
    sets it to OK or FAIL.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.status = "OK"

    def text(self, request: Request) -> str:
        """`OK` with status 200 or `FAIL` with status 506."""
        if self.status != "OK":
            request.setResponseCode(FAILING, b"Failing")
        return self.status

    def render_POST(self, request: Request) -> bytes:
        """Take the new status; anything but OK and FAIL is refused with 400."""
        values = (request.args or {}).get(self.key.encode(), [])
        if values not in ([b"OK"], [b"FAIL"]):
            request.setResponseCode(400)
            request.setHeader(b"content-type", b"text/plain; charset=utf-8")
            return f"expected the form {self.key}=OK or {self.key}=FAIL\n".encode()
        self.status = values[0].decode()
        return b""


def demo_site(name: str, reactor: IReactorTime) -> Site:
    """The whole web site, answering as `name`.  Its access log is Twisted's log: stdout under
    `twistd -n`.
    """
    root = Resource()
    root.putChild(b"", WhoAmI(name))
    root.putChild(b"hostname", Hostname(name))
    for key in ("livez", "readyz"):
        root.putChild(key.encode(), Probe(key))
    return Site(root, reactor=reactor)


def makeService(options: Options) -> IService:
    """The service that twistd runs: the site on one port."""
    from twisted.internet import reactor

    return TCPServer(
        options["port"],
        demo_site(options["name"], reactor),
        interface=options["interface"],
        reactor=reactor,
    )
