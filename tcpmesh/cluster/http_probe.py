"""The HTTP health check: a request to a path, and what is to be read from the answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from envoy.config.core.v3 import base_pb2
from envoy.config.core.v3.base_pb2 import HeaderValueOption

from tcpmesh.cluster.probes import Connect, ExchangeProbe, Failed, IResults, MakeProbe, Terms, has_in_order, hostname, payloads
from tcpmesh.config.strings import string_matcher
from tcpmesh.net.address import Address
from tcpmesh.net.timers import Timers
from tcpmesh.stats.store import Counter
from tcpmesh.wire.http1 import MalformedResponse, Response, ResponseParser, request

USER_AGENT = "Envoy/HC"
DEGRADED = b"x-envoy-degraded"
EXCLUDE = b"x-envoy-immediate-health-check-fail"
SERVICE = b"x-envoy-upstream-healthchecked-cluster"
BODY_SIZE = 1024
"""Bytes of the body that are looked at (`response_buffer_size`, of which 0 is all)."""

MOST_BODY = 1 << 20
WITH_BODY = ("POST", "PUT", "PATCH", "OPTIONS")

Headers = tuple[tuple[str, str], ...]


class Outcome(NamedTuple):
    """What a response amounts to."""

    passed: bool
    retriable: bool = False
    """A status that counts against the threshold like a lost connection."""

    exclude: bool = False
    """The host asks not to be counted among the hosts."""


PASSED = Outcome(True)
FAILED = Outcome(False)


class HttpCheck:
    """What a `core.v3.HealthCheck.HttpHealthCheck` asks, and how it judges the answer.

    @param verified: counts the answers whose service was looked at.
    """

    def __init__(self, message: Any, cluster: str, verified: Counter) -> None:
        self.method = base_pb2.RequestMethod.Name(message.method) if message.method else "GET"
        self._host: str = message.host or cluster
        self._path: str = message.path
        self._body = b"".join(payloads([message.send]))
        self._add = tuple(message.request_headers_to_add)
        self._remove = {name.lower() for name in message.request_headers_to_remove}
        self._expected = statuses(message.expected_statuses) or frozenset((200,))
        self._retriable = statuses(message.retriable_statuses)
        self._receive = payloads(message.receive)
        size = message.response_buffer_size.value if message.HasField("response_buffer_size") else BODY_SIZE
        self.keep = min(size or MOST_BODY, MOST_BODY) if self._receive else 0
        self._is_service = string_matcher(message.service_name_matcher) if message.HasField("service_name_matcher") else None
        self._verified = verified

    def request(self, hostname: str) -> bytes:
        """The request to a host; C{hostname} is what its endpoint says to be asked as, or empty."""
        headers = changed((("host", hostname or self._host), ("user-agent", USER_AGENT)), self._add, self._remove)
        if self._body or self.method in WITH_BODY:
            headers = (*headers, ("content-length", str(len(self._body))))
        return request(self.method, self._path, headers, self._body)

    def judge(self, response: Response) -> Outcome:
        """Whether this is the answer of a healthy host."""
        status = response.status
        if status not in self._expected:
            return Outcome(False, status in self._retriable, response.header(EXCLUDE) is not None)
        if self._receive and not has_in_order(response.body, self._receive):
            return FAILED
        if self._is_service is not None:
            self._verified.value += 1
            return PASSED if self._is_service(response.header(SERVICE) or "") else FAILED
        return PASSED


class HttpProbe(ExchangeProbe):
    """Asks one host."""

    __slots__ = ("_check", "_parser", "_request")

    def __init__(self, terms: Terms, address: Address, results: IResults, check: HttpCheck, hostname: str) -> None:
        super().__init__(terms, address, results)
        self._check = check
        self._request = check.request(hostname)
        self._parser = ResponseParser(head=check.method == "HEAD", keep=check.keep)

    def ask(self, transport: Any) -> None:
        """Send the request."""
        self._parser.reset()
        transport.write(self._request)

    def received(self, data: bytes) -> None:
        """Read the answer; one that is none, or comes unasked, ends the connection."""
        if not self.asking:
            self.hang_up()
            return
        try:
            response = self._parser.feed(data)
        except MalformedResponse:
            self.hang_up()
            self.fail(Failed.NETWORK)
            return
        if response is not None:
            self._judge(response)

    def lost(self) -> None:
        """Between two checks this is of no importance; else the answer may end with the connection, or is missing."""
        self._line = None
        if not self.asking:
            return
        try:
            response = self._parser.end()
        except MalformedResponse:
            self.fail(Failed.NETWORK)
            return
        self._judge(response)

    def _judge(self, response: Response) -> None:
        if not self._terms.reuse or not response.keep_alive:
            self.hang_up()
        passed, retriable, exclude = self._check.judge(response)
        if passed:
            self.succeed(response.header(DEGRADED) is not None)
        else:
            self.fail(Failed.ACTIVE, retriable=retriable, status=response.status, exclude=exclude)


def http_probes(message: Any, connect: Connect, timers: Timers, cluster: str, verified: Counter) -> MakeProbe:
    """How hosts are asked by a `core.v3.HealthCheck` with an `http_health_check`."""
    check = HttpCheck(message.http_health_check, cluster, verified)
    terms = Terms.of(message, connect, timers)
    return lambda address, spec, results: HttpProbe(terms, address, results, check, hostname(spec))


def statuses(messages: Iterable[Any]) -> frozenset[int]:
    """All numbers of `type.v3.Int64Range` messages, which Envoy wants to be from 100 to 599; the end of each is not included."""
    return frozenset(number for message in messages for number in range(message.start, message.end))


def changed(headers: Headers, options: Iterable[Any], remove: set[str]) -> Headers:
    """Header fields with those of `HeaderValueOption`s added, and some removed; `host` stays what it is."""
    found = [(name, value) for name, value in headers if name == "host" or name not in remove]
    for option in options:
        name, value = option.header.key.lower(), option.header.value.replace("%%", "%")
        known = any(each == name for each, _ in found)
        if name == "host" or not (value or option.keep_empty_value):
            continue
        action = option.append_action
        if action == HeaderValueOption.ADD_IF_ABSENT and known:
            continue
        if action == HeaderValueOption.OVERWRITE_IF_EXISTS and not known:
            continue
        if action in (HeaderValueOption.OVERWRITE_IF_EXISTS, HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD):
            found = [each for each in found if each[0] != name]
        found = _appended(found, name, value)
    return tuple(found)


def _appended(headers: list[tuple[str, str]], name: str, value: str) -> list[tuple[str, str]]:
    """With one more value; a second user-agent joins the first, as in Envoy, other fields may come twice."""
    if name == "user-agent" and any(each == name for each, _ in headers):
        return [(each, f"{old},{value}" if each == name else old) for each, old in headers]
    return [*headers, (name, value)]
