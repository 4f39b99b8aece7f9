"""ratelimit: asks a rate limit service about each new client, and closes one too many.

Nothing is done for a client before the answer, which is waited for no longer than `timeout`.  A
service that fails lets clients in, unless `failure_mode_deny` is set.  Two runtime keys, each a
percentage, switch all of it off: `ratelimit.tcp_filter_enabled` the questions, and
`ratelimit.tcp_filter_enforcing` what comes of the answers.

As in Envoy `limit` and `hits_addend` of a descriptor are not sent by this filter.
"""

from __future__ import annotations

import time
from typing import Any

from envoy.extensions.filters.network.ratelimit.v3 import rate_limit_pb2
from envoy.service.ratelimit.v3 import rls_pb2

from tcpmesh.accesslog.operators import Operators
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.config.fields.values import seconds
from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.rpc.client import grpc_client
from tcpmesh.rpc.questions import Questions, metadata_of
from tcpmesh.stats.metrics import Merge
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

METHOD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
NAMESPACE = "envoy.filters.network.ratelimit"
"""Of the dynamic metadata of answers."""

TIMEOUT = 0.02
"""Seconds, where `timeout` is not given."""

ENABLED = "ratelimit.tcp_filter_enabled"
ENFORCING = "ratelimit.tcp_filter_enforcing"

_OVER_LIMIT = rls_pb2.RateLimitResponse.OVER_LIMIT
_COUNTERS = ("total", "error", "over_limit", "ok", "cx_closed", "failure_mode_allowed")


@extension(rate_limit_pb2.RateLimit)
class RateLimit(ReadFilter):
    """What a chain's `RateLimit` message says."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._domain: str = message.domain
        operators = Operators(context.node)
        self._descriptors = [
            [(each.key, TextFormat(each.value, False, operators)) for each in descriptor.entries]
            for descriptor in message.descriptors
        ]
        self._denies_on_failure: bool = message.failure_mode_deny
        self._clock, self._random = context.network.clock, context.random
        runtime = context.runtime
        self._enabled = runtime.setting(ENABLED, lambda: runtime.integer(ENABLED, 100))
        self._enforcing = runtime.setting(ENFORCING, lambda: runtime.integer(ENFORCING, 100))
        client = grpc_client(message.rate_limit_service.grpc_service, context)
        timeout = seconds(message.timeout) if message.HasField("timeout") else TIMEOUT
        self._scope = context.store.scope(f"ratelimit.{message.stat_prefix}")
        self._count = {name: self._scope.counter(name) for name in _COUNTERS}
        self._questions = Questions(
            client,
            METHOD,
            rls_pb2.RateLimitResponse,
            timeout,
            self._scope.gauge("active", Merge.SUM),
            self._scope.close,
        )

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        """Ask, and wait."""
        if not self._is_drawn(self._enabled.value):
            return FilterStatus.CONTINUE
        self._count["total"].tally += 1
        request = self._request(manager.connection.stream_info)
        self._questions.ask(manager, request, self._answered)
        return FilterStatus.STOP

    def _is_drawn(self, percent: int) -> bool:
        return self._random.randrange(100) < percent

    def _request(self, info: StreamInfo) -> Any:
        now = Moment(self._clock.seconds(), time.time())
        request = rls_pb2.RateLimitRequest(domain=self._domain)
        for entries in self._descriptors:
            descriptor = request.descriptors.add()
            for key, value in entries:
                text = value.format(info, now).encode("utf-8", "surrogateescape")
                descriptor.entries.add(key=key, value=text.decode("utf-8", "replace"))
        return request

    def _answered(self, about: FilterManager, answer: Any) -> None:
        if answer is None:
            self._count["error"].tally += 1
            if self._denies_on_failure:
                self._close(about, "ratelimit_error_failure_mode_connection_close")
                return
            self._count["failure_mode_allowed"].tally += 1
            about.resume()
            return
        if answer.dynamic_metadata.fields:
            info = about.connection.stream_info
            info.add_metadata(NAMESPACE, metadata_of(answer.dynamic_metadata))
        is_over = answer.overall_code == _OVER_LIMIT
        self._count["over_limit" if is_over else "ok"].tally += 1
        if is_over and self._is_drawn(self._enforcing.value):
            self._close(about, "ratelimit_close_over_limit")
        else:
            about.resume()

    def _close(self, manager: FilterManager, why: str) -> None:
        self._count["cx_closed"].tally += 1
        manager.close(why)

    def on_connection_lost(self, manager: FilterManager) -> None:
        """The client is gone."""
        self._questions.drop(manager)

    def close(self) -> None:
        """No more clients come."""
        self._questions.close()
