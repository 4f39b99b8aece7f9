"""What an HTTP health check asks, and how it judges the answer, whatever the version of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from envoy.config.core.v3 import base_pb2
from envoy.type.v3 import http_pb2

from tcpmesh.cluster.health.probe import BlockSearch, ExchangeProbe, Failed, hostname, payloads
from tcpmesh.cluster.health.request_headers import Headers, RequestHeaders
from tcpmesh.config.fields.strings import string_matcher
from tcpmesh.stats.metrics import Counter
from tcpmesh.values.hosts import HostSpec
from tcpmesh.wire.http1 import request

USER_AGENT = "Envoy/HC"


DEGRADED = b"x-envoy-degraded"


EXCLUDE = b"x-envoy-immediate-health-check-fail"


SERVICE = b"x-envoy-upstream-healthchecked-cluster"


BODY_SIZE = 1024
"""Bytes of the body that are looked at (`response_buffer_size`, of which 0 is all)."""


MOST_BODY = 1 << 20


WITH_BODY = ("POST", "PUT", "PATCH", "OPTIONS")


class Answer(Protocol):
    """A whole response, of whatever version of HTTP."""

    @property
    def status(self) -> int:
        """Its status."""

    @property
    def body(self) -> bytes:
        """The first bytes of its body."""

    def header(self, name: bytes) -> str | None:
        """The value of a header field, by its name in lower case."""


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

    :param verified: counts the answers whose service was looked at.
    :param verifies: whether to look at that of this answer.
    """

    def __init__(
        self, message: Any, cluster: str, verified: Counter, verifies: Callable[[], bool]
    ) -> None:
        self.method = base_pb2.RequestMethod.Name(message.method) if message.method else "GET"
        self._host: str = message.host or cluster
        self.path: str = message.path
        self.body = b"".join(payloads([message.send]))
        self.is_http2 = message.codec_client_type == http_pb2.HTTP2
        remove = {name.lower() for name in message.request_headers_to_remove}
        self._add = RequestHeaders(
            message.request_headers_to_add, "HTTP/2" if self.is_http2 else "HTTP/1.1", remove
        )
        self.is_fixed = self._add.is_fixed
        """Whether all requests to a host are the same."""
        self._expected = statuses(message.expected_statuses) or frozenset((200,))
        self._retriable = statuses(message.retriable_statuses)
        self._receive = payloads(message.receive)
        size = (
            message.response_buffer_size.value
            if message.HasField("response_buffer_size")
            else BODY_SIZE
        )
        self.keep = min(size or MOST_BODY, MOST_BODY) if self._receive else 0
        self._is_service = (
            string_matcher(message.service_name_matcher)
            if message.HasField("service_name_matcher")
            else None
        )
        self._verified = verified
        self._verifies = verifies

    def host(self, spec: HostSpec) -> str:
        """What a host is asked as."""
        return hostname(spec) or self._host

    def fields(self, spec: HostSpec, now: float) -> Headers:
        """The header fields of a request but `host`, at a time in seconds since 1970."""
        fields = self._add.added_to((("user-agent", USER_AGENT),), spec, now)
        if self.body or (self.method in WITH_BODY and not self.is_http2):
            fields = (*fields, ("content-length", str(len(self.body))))
        return fields

    def request(self, spec: HostSpec, now: float) -> bytes:
        """The request to a host in HTTP/1.1."""
        return request(
            self.method, self.path, (("host", self.host(spec)), *self.fields(spec, now)), self.body
        )

    def judge(self, response: Answer) -> Outcome:
        """Whether this is the answer of a healthy host."""
        status = response.status
        if status not in self._expected:
            return Outcome(False, status in self._retriable, response.header(EXCLUDE) is not None)
        if self._receive and not BlockSearch(self._receive).feed(response.body):
            return FAILED
        if self._is_service is not None and self._verifies():
            self._verified.tally += 1
            return PASSED if self._is_service(response.header(SERVICE) or "") else FAILED
        return PASSED


def judge(probe: ExchangeProbe, check: HttpCheck, response: Answer) -> None:
    """Let a probe come to its result by the answer of its host."""
    passed, retriable, exclude = check.judge(response)
    if passed:
        probe.succeed(response.header(DEGRADED) is not None)
    else:
        probe.fail(Failed.ACTIVE, retriable=retriable, status=response.status, exclude=exclude)


def statuses(messages: Iterable[Any]) -> frozenset[int]:
    """All numbers of `type.v3.Int64Range` messages, which Envoy wants to be from 100 to 599; the
    end of each is not included.
    """
    return frozenset(number for message in messages for number in range(message.start, message.end))
