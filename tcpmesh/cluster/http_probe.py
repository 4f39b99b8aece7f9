"""The HTTP health check: a request to a path, and what is to be read from the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.config.core.v3.base_pb2 import HeaderValueOption

from tcpmesh.cluster.host import HostSpec
from tcpmesh.cluster.probes import Connect, ExchangeProbe, Failed, IResults, MakeProbe, has_in_order, payloads
from tcpmesh.config.values import seconds
from tcpmesh.net.address import Address
from tcpmesh.net.timers import Timers
from tcpmesh.stats.store import Counter
from tcpmesh.wire.http1 import MalformedResponse, Response, ResponseParser, request

USER_AGENT = "Envoy/HC"
DEGRADED = "x-envoy-degraded"
EXCLUDE = "x-envoy-immediate-health-check-fail"
SERVICE = "x-envoy-upstream-healthchecked-cluster"
BODY_SIZE = 1024
"""Bytes of the body that are looked at (`response_buffer_size`, of which 0 is all)."""

MOST_BODY = 1 << 20
WITH_BODY = ("POST", "PUT", "PATCH")

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Outcome:
    """What a response amounts to."""

    passed: bool
    retriable: bool = False
    """A status that counts against the threshold like a lost connection."""

    exclude: bool = False
    """The host asks not to be counted among the hosts."""


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
        self._expected = ranges(message.expected_statuses) or ((200, 201),)
        self._retriable = ranges(message.retriable_statuses)
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
        if not within(status, self._expected):
            return Outcome(False, within(status, self._retriable), response.header(EXCLUDE) is not None)
        if self._receive and not has_in_order(response.body, self._receive):
            return Outcome(False)
        if self._is_service is not None:
            self._verified.value += 1
            return Outcome(self._is_service(response.header(SERVICE) or ""))
        return Outcome(True)


class HttpProbe(ExchangeProbe):
    """Asks one host."""

    __slots__ = ("_check", "_parser", "_request")

    def __init__(
        self,
        connect: Connect,
        address: Address,
        timeout: float,
        results: IResults,
        reuse: bool,
        timers: Timers,
        check: HttpCheck,
        hostname: str,
    ) -> None:
        super().__init__(connect, address, timeout, results, reuse, timers)
        self._check = check
        self._request = check.request(hostname)
        self._parser = ResponseParser()

    def ask(self, transport: Any) -> None:
        """Send the request."""
        self._parser = ResponseParser(head=self._check.method == "HEAD", keep=self._check.keep)
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
        if not self._reuse or not response.keep_alive:
            self.hang_up()
        outcome = self._check.judge(response)
        if outcome.passed:
            self.succeed(response.header(DEGRADED) is not None)
        else:
            self.fail(Failed.ACTIVE, retriable=outcome.retriable, status=response.status, exclude=outcome.exclude)


def http_probes(message: Any, connect: Connect, timers: Timers, cluster: str, verified: Counter) -> MakeProbe:
    """How hosts are asked by a `core.v3.HealthCheck` with an `http_health_check`."""
    check = HttpCheck(message.http_health_check, cluster, verified)
    timeout = seconds(message.timeout)
    reuse = message.reuse_connection.value if message.HasField("reuse_connection") else True

    def make(address: Address, spec: HostSpec, results: IResults) -> HttpProbe:
        hostname = spec.health_check_config.hostname if spec.health_check_config is not None else ""
        return HttpProbe(connect, address, timeout, results, reuse, timers, check, hostname)

    return make


def ranges(messages: Iterable[Any]) -> tuple[tuple[int, int], ...]:
    """`type.v3.Int64Range` messages as (start, end), the end not included."""
    return tuple((message.start, message.end) for message in messages)


def within(number: int, chosen: tuple[tuple[int, int], ...]) -> bool:
    """Whether the number is in one of the ranges."""
    return any(start <= number < end for start, end in chosen)


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


def string_matcher(message: Any) -> Callable[[str], bool]:
    """A `type.matcher.v3.StringMatcher` without a regular expression."""
    kind = message.WhichOneof("match_pattern")
    test, wanted = _TESTS[kind], getattr(message, kind)
    if message.ignore_case:
        folded = wanted.lower()
        return lambda text: test(text.lower(), folded)
    return lambda text: test(text, wanted)


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
}
