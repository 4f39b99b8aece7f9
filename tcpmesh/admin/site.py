"""The HTTP side of the admin interface: Twisted's, which reads requests and writes answers.

What `twisted.web.server` has above that, a tree of resources, sessions and templates, is not used,
and takes longer to import than all pages together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

from twisted.internet.defer import Deferred, DeferredSemaphore, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPFactory, Request

from tcpmesh.accesslog.access_logs import AccessLogs
from tcpmesh.admin.answering import Answering
from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint, Refusal, help_text
from tcpmesh.admin.channel import AdminChannel, AdminRequest, channel_of
from tcpmesh.admin.guard import Guard, normal_path
from tcpmesh.admin.live.feed import Feed
from tcpmesh.admin.live.messages import Messages
from tcpmesh.admin.log import AdminLog
from tcpmesh.admin.traffic import AdminTraffic
from tcpmesh.interfaces import IServer

IDLE_TIMEOUT = 300
"""Seconds that a connection may wait for the next request: longer than scrapers pause."""

MOST_HELD = 16
"""Pages made at once of those that are held in memory; others wait for their turn."""

MOST_PARAMETERS = 200
"""Parameters of a query or a form that are looked at."""

_FORM = b"application/x-www-form-urlencoded"

OPEN = Guard()
"""Lets all paths pass, and changes that no other site asks for."""

_log = Logger(namespace="admin")


class AdminSite(HTTPFactory):
    """Answers the pages of a table for one server."""

    noisy = False
    protocol = AdminChannel  # type: ignore[assignment]  # HTTP/1 only, without Twisted's negotiation of HTTP/2

    def __init__(
        self,
        server: IServer,
        endpoints: Sequence[Endpoint],
        clock: IReactorTime,
        cooperator: Cooperator,
        access_logs: AccessLogs | None = None,
        guard: Guard = OPEN,
    ) -> None:
        self._pages = AdminPages(server, endpoints, clock, cooperator, guard)
        super().__init__(timeout=IDLE_TIMEOUT, reactor=clock)
        self.traffic = AdminTraffic(
            server.store.scope("listener.admin"), server.store.scope("http.admin"), clock
        )
        self._clock = clock
        self._log = AdminLog(access_logs, clock) if access_logs is not None else None

    def let_through(self, guard: Guard) -> None:
        """What this one lets through from now on."""
        self._pages.guard = guard

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A client's connection."""
        channel: Any = super().buildProtocol(addr)
        channel.site = self
        return channel

    def answer(self, request: AdminRequest) -> None:
        """Answer a request when its turn comes."""
        self._pages.answer(request)

    def log_to(self, access_logs: AccessLogs | None) -> None:
        """Write requests down here from now on."""
        self._log = AdminLog(access_logs, self._clock) if access_logs is not None else None

    def startFactory(self) -> None:
        """Open no log, and start no timer for one."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: Request) -> None:
        """Count a request that was answered, and write it down."""
        self.traffic.answered(request.code)
        if self._log is not None:
            assert isinstance(request, AdminRequest)
            self._log.answered(request)


class AdminPages:
    """Finds the page for a request, calls it and sends its answer."""

    def __init__(
        self,
        server: IServer,
        endpoints: Sequence[Endpoint],
        clock: IReactorTime,
        cooperator: Cooperator,
        guard: Guard,
    ) -> None:
        self.guard = guard
        self._server = server
        self._endpoints = {endpoint.path: endpoint for endpoint in endpoints}
        self._clock = clock
        self._cooperator = cooperator
        self._held = DeferredSemaphore(MOST_HELD)
        messages = Messages(server)
        self._feed = Feed(messages, clock, cooperator)

    def answer(self, request: AdminRequest) -> None:
        """Answer a request of whatever method, when its turn comes."""
        channel_of(request).asked(request)
        Answering(request, self._answer, self._clock, self._held).start(self._cooperator)

    def _answer(self, request: Request) -> Deferred[Answer]:
        return maybeDeferred(self._call, request).addErrback(self._refused, request)

    def _refused(self, failure: Failure, request: Request) -> Answer:
        refusal = failure.value
        if isinstance(refusal, Refusal):
            return Answer(refusal.text, refusal.status, refusal.content_type)
        _log.failure("cannot answer {uri}", failure, uri=request.uri)
        return Answer("internal error, see the log\n", 500)

    def _call(self, request: Request) -> Deferred[Answer]:
        raw_path, _, query = request.uri.decode("latin-1").partition("?")
        path = normal_path(raw_path)
        self.guard.check_path(path, query)
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            raise Refusal("invalid path. " + help_text(tuple(self._endpoints.values())), 404)
        if endpoint.changes and request.method != b"POST":
            raise Refusal(
                f"Method {request.method.decode('latin-1')} not allowed, POST required.", 405
            )
        if endpoint.changes:
            self.guard.check_change(request)
        parameters = {**_form_parameters(request), **query_parameters(query)}
        accept = (request.getHeader(b"accept") or b"").decode("latin-1")
        endpoints = tuple(self._endpoints.values())
        call = Call(self._server, parameters, endpoints, accept, self._feed)
        answer = endpoint.answer(call)
        return answer if isinstance(answer, Deferred) else succeed(answer)


def query_parameters(query: str) -> dict[str, str]:
    """The parameters of a query string, decoded; of one given twice the first counts, and `+` is no
    blank.
    """
    found: dict[str, str] = {}
    for part in query.split("&", MOST_PARAMETERS)[:MOST_PARAMETERS]:
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
    body = request.content.read().decode("latin-1")
    try:
        pairs = parse_qsl(body, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise Refusal("too many parameters\n") from None
    return dict(reversed(pairs))
