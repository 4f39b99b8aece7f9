"""The demo backend, `twistd tcpmesh-demoapp`: a web server that says who asked and who answers.

Tutorials of L4 proxies need two backends that can be told apart by their answers and taken out of
service by hand.  This is that backend, with the answers of the image that Envoy tutorials use, so
that their texts hold word for word.  It is no part of the proxy: it imports nothing of it, and
nothing imports this.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from twisted.application.internet import TCPServer
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
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


class DemoSite(Site):
    """A site that tells of each request as the tutorial's backend does, a line on stdout."""

    def log(self, request: Any) -> None:
        """Print `172.21.1.254 - - [30/Nov/2026 12:00:00] "GET / HTTP/1.1" 200 -`."""
        moment = time.strftime("%d/%b/%Y %H:%M:%S")
        # Twisted has refused a request line with anything but printable ASCII.
        line = b" ".join((request.method, request.uri, request.clientproto)).decode("ascii")
        client = request.getClientAddress().host
        tell(f'{client} - - [{moment}] "{line}" {request.code} -')


def tell(text: str) -> None:
    """Print a line.  Past the log of twistd, which would put its own words before it."""
    with suppress(OSError, ValueError):
        print(text, file=sys.__stdout__, flush=True)


def demo_site(name: str, reactor: IReactorTime) -> Site:
    """The whole web site, answering as `name`; each request is a line on stdout."""
    root = Resource()
    root.putChild(b"", WhoAmI(name))
    root.putChild(b"hostname", Hostname(name))
    for key in ("livez", "readyz"):
        root.putChild(key.encode(), Probe(key))
    return DemoSite(root, reactor=reactor)


@implementer(ILogObserver)
class Troubles:
    """Of what Twisted has to say, only what is wrong: to standard error."""

    def __call__(self, event: LogEvent) -> None:
        """Print a warning or worse."""
        if event.get("log_level", LogLevel.info) >= LogLevel.warn:
            with suppress(OSError, ValueError):
                print(eventAsText(event).rstrip(), file=sys.__stderr__, flush=True)


class NoPort(Exception, SystemExit):
    """The port cannot be had, which was said; the process ends with status 1.

    Both kinds at once, because twistd wants to see an Exception, of which it tells the process that
    daemonized it, and Python ends without a traceback at a SystemExit.
    """

    def __init__(self) -> None:
        super().__init__("the port cannot be had")
        self.code = 1


class DemoServer(TCPServer):
    """The site's server, which says where it is as the tutorial's backend does."""

    def setServiceParent(self, parent: Any) -> None:
        """Let nothing but troubles into the log of the application."""
        parent.setComponent(ILogObserver, Troubles())
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Bind the port, or end the process with status 1 and a line that tells why."""
        try:
            super().privilegedStartService()
        except CannotListenError as e:
            reason = e.socketError.strerror or e.socketError
            print(f"cannot listen on port {e.port}: {reason}", file=sys.__stderr__)
            raise NoPort from None

    def startService(self) -> None:
        """Serve."""
        super().startService()
        host = self.kwargs["interface"] or "0.0.0.0"
        tell(f" * Running on http://{host}:{self.args[0]}/ (Press CTRL+C to quit)")


def makeService(options: Options) -> IService:
    """The service that twistd runs: the site on one port."""
    from twisted.internet import reactor

    return DemoServer(
        options["port"],
        demo_site(options["name"], reactor),
        interface=options["interface"],
        reactor=reactor,
    )
