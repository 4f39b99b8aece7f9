"""The HTTP side of the admin interface: Twisted's server with one resource below which all pages
hang.

Short answers go out at once.  Long ones (a hundred thousand statistics) are made piece by piece as
the client takes them: the reactor, which also relays traffic, is never held up for longer than a
step takes, and never more than a step is in memory. A client that takes nothing for a while is
left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from urllib.parse import parse_qsl, unquote

from zope.interface import implementer

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint, Refusal, help_text
from tcpmesh.admin.traffic import AdminTraffic
from tcpmesh.interfaces import IServer

IDLE_TIMEOUT = 300
"""Seconds that a connection may wait for the next request: longer than scrapers pause."""

STALL_TIMEOUT = 60
"""Seconds that a client may take nothing of an answer."""

_STEP_SECONDS = 0.005
_STEP_SIZE = 1 << 16
_FORM_LIMIT = 1 << 16
_FORM = b"application/x-www-form-urlencoded"

_log = Logger()


class AdminChannel(HTTPChannel):
    """A client's connection: counted, and followed by what had to wait until the client is gone."""

    site: AdminSite
    _opened_at = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.afterwards: Callable[[], object] | None = None
        self._has_spoken = False

    def connectionMade(self) -> None:
        """Count the connection."""
        self._opened_at = self.site.traffic.opened()
        super().connectionMade()

    def asked(self, request: Request) -> None:
        """Count a request."""
        if not self._has_spoken:
            self._has_spoken = True
            self.site.traffic.spoke()
        self.site.traffic.asked(request.notifyFinish())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count its end, and do what had to wait for it."""
        super().connectionLost(reason)
        self.site.traffic.closed(self._opened_at, self._has_spoken)
        if self.afterwards is not None:
            self.afterwards()


class AdminSite(Site):
    """Answers the pages of a table for one server."""

    displayTracebacks = False
    noisy = False
    protocol = AdminChannel  # type: ignore[assignment]  # HTTP/1 only, without Twisted's negotiation of HTTP/2

    def __init__(self, server: IServer, endpoints: Sequence[Endpoint], clock: IReactorTime) -> None:
        super().__init__(AdminPages(server, endpoints, clock), timeout=IDLE_TIMEOUT, reactor=clock)
        self.traffic = AdminTraffic(
            server.store.scope("listener.admin"), server.store.scope("http.admin"), clock
        )

    def startFactory(self) -> None:
        """Open no log, and start no timer for one."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: HTTPRequest) -> None:
        """Count a request that was answered."""
        self.traffic.answered(request.code)


@implementer(IResource)
class AdminPages:
    """Finds the page for a request, calls it and sends its answer."""

    isLeaf = True

    def __init__(self, server: IServer, endpoints: Sequence[Endpoint], clock: IReactorTime) -> None:
        self._server = server
        self._endpoints = {endpoint.path: endpoint for endpoint in endpoints}
        self._clock = clock

    def getChildWithDefault(self, name: bytes, request: Request) -> AdminPages:
        """All paths end here."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """Pages come from the table only."""
        raise NotImplementedError("pages are added to tcpmesh.admin.endpoints.table")

    def render(self, request: Request) -> int:
        """Answer a request of whatever method."""
        _channel(request).asked(request)
        try:
            self._send(request, self._answer(request))
        except Refusal as refusal:
            self._send(request, Answer(refusal.text, refusal.status))
        except Exception:
            _log.failure("cannot answer {uri}", uri=request.uri)
            self._send(request, Answer("internal error, see the log\n", 500))
        return NOT_DONE_YET

    def _answer(self, request: Request) -> Answer:
        raw_path, _, query = request.uri.partition(b"?")
        endpoint = self._endpoints.get(unquote(raw_path.decode("latin-1")))
        if endpoint is None:
            raise Refusal("invalid path. " + help_text(tuple(self._endpoints.values())), 404)
        if endpoint.changes and request.method != b"POST":
            raise Refusal(
                f"Method {request.method.decode('latin-1')} not allowed, POST required.", 405
            )
        parameters = {**_form_parameters(request), **query_parameters(query.decode("latin-1"))}
        return endpoint.answer(Call(self._server, parameters, tuple(self._endpoints.values())))

    def _send(self, request: Request, answer: Answer) -> None:
        request.setResponseCode(answer.status)
        request.setHeader(b"content-type", answer.content_type.encode())
        request.setHeader(b"cache-control", b"no-cache, max-age=0")
        request.setHeader(b"x-content-type-options", b"nosniff")
        request.setHeader(b"server", b"tcpmesh")
        if answer.afterwards is not None:
            request.setHeader(b"connection", b"close")
            _channel(request).afterwards = answer.afterwards
        pieces = iter((answer.body,)) if isinstance(answer.body, str) else answer.body
        Sending(request, pieces, self._clock).start()


def query_parameters(query: str) -> dict[str, str]:
    """The parameters of a query string, decoded; of one given twice the first counts, and `+` is no
    blank.
    """
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name:
            found.setdefault(unquote(name), unquote(value))
    return found


def _form_parameters(request: Request) -> dict[str, str]:
    """The parameters that an HTML form has put into the body of a POST."""
    content_type = (request.getHeader(b"content-type") or b"").partition(b";")[0].strip().lower()
    if request.method != b"POST" or content_type != _FORM:
        return {}
    assert request.content is not None
    request.content.seek(0)
    body = request.content.read(_FORM_LIMIT).decode("latin-1")
    return dict(reversed(parse_qsl(body, keep_blank_values=True)))


@implementer(IPushProducer)
class Sending:
    """An answer on its way."""

    def __init__(self, request: Request, pieces: Iterator[str], clock: IReactorTime) -> None:
        self._request = request
        self._pieces: Iterator[str] | None = pieces
        self._clock = clock
        self._stall: IDelayedCall | None = None
        self._scheduled = False

    def start(self) -> None:
        """Send the whole answer if it is short, else what can be made in one step."""
        step, finished = self._make_step()
        if finished:
            self._request.setHeader(b"content-length", str(len(step)).encode())
            self._end(step)
            return
        self._request.registerProducer(self, True)
        self._request.write(step)
        self._schedule()

    def pauseProducing(self) -> None:
        """The client does not take more for now."""
        if self._stall is None:
            self._stall = self._clock.callLater(STALL_TIMEOUT, self._leave)

    def resumeProducing(self) -> None:
        """The client takes more."""
        self._forget_stall()
        self._schedule()

    def stopProducing(self) -> None:
        """The client is gone."""
        self._pieces = None
        self._forget_stall()

    def _leave(self) -> None:
        self._stall = None
        channel = self._request.channel
        if isinstance(channel, AdminChannel):
            channel.forceAbortClient()

    def _forget_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._step)

    def _step(self) -> None:
        self._scheduled = False
        if self._stall is not None or self._pieces is None:
            return
        try:
            step, finished = self._make_step()
        except Exception:
            _log.failure("cannot go on answering {uri}", uri=self._request.uri)
            self._request.loseConnection()
            return
        if finished:
            self._forget_stall()
            self._request.unregisterProducer()
            self._end(step)
            return
        if step:
            self._request.write(step)
        self._schedule()

    def _make_step(self) -> tuple[bytes, bool]:
        """The next bytes of the answer, and whether they are the last.  An empty piece is one that
        took a while to make.
        """
        assert self._pieces is not None
        made, size, finished = [], 0, True
        until = perf_counter() + _STEP_SECONDS
        for piece in self._pieces:
            made.append(piece)
            size += len(piece)
            if size >= _STEP_SIZE or perf_counter() > until:
                finished = False
                break
        return "".join(made).encode(errors="backslashreplace"), finished

    def _end(self, last: bytes) -> None:
        channel = _channel(self._request)
        self._request.write(last)
        self._request.finish()
        if channel.afterwards is not None:
            channel.loseConnection()


def _channel(request: Request) -> AdminChannel:
    """The connection that a request came by, which it forgets when it is finished."""
    assert isinstance(request.channel, AdminChannel)
    return request.channel
