"""ext_authz: asks an authorization service about each client, and closes whom it denies.

The question is asked with the first that the client sends, be it the end of its stream, so the
upstream is connected by then and what it has said has reached the client; what the client sends
waits for the answer.  A service that fails closes the client, unless `failure_mode_allow` is set.
With `shadow_mode` answers are counted, and nobody is closed.

Of Envoy's this leaves out `send_tls_alert_on_denial` and `typed_metadata_context_namespaces`.
Different from Envoy 1.40: that crashes with the first client where there is no `grpc_service`; here
the service has failed then.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2
from envoy.service.auth.v3 import external_auth_pb2

from tcpmesh.config.fields.value_matcher import metadata_matcher
from tcpmesh.config.fields.values import seconds
from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.extensions.filters.network.ext_authz.request import Requests
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.rpc.client import grpc_client
from tcpmesh.rpc.questions import Questions, metadata_of
from tcpmesh.stats.metrics import Merge
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.response_flags import ResponseFlag

METHOD = "/envoy.service.auth.v3.Authorization/Check"
NAMESPACE = "envoy.filters.network.ext_authz"
"""Of the dynamic metadata of answers."""

TIMEOUT = 0.2
"""Seconds, where the service has no `timeout`."""

_COUNTERS = ("total", "error", "denied", "disabled", "failure_mode_allowed", "ok", "cx_closed")


@extension(ext_authz_pb2.ExtAuthz)
class ExtAuthz(ReadFilter):
    """What a chain's `ExtAuthz` message says."""

    sees_data = True

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._allows_on_failure: bool = message.failure_mode_allow
        self._is_shadow: bool = message.shadow_mode
        self._applies = (
            metadata_matcher(message.filter_enabled_metadata)
            if message.HasField("filter_enabled_metadata")
            else None
        )
        self._requests = Requests(message, context.node)
        self._clock = context.network.clock
        service = message.grpc_service
        timeout = seconds(service.timeout) if service.HasField("timeout") else TIMEOUT
        client = grpc_client(service, context)
        self._scope = context.store.scope(f"ext_authz.{message.stat_prefix}")
        self._count = {name: self._scope.counter(name) for name in _COUNTERS}
        self._questions = Questions(
            client,
            METHOD,
            external_auth_pb2.CheckResponse,
            timeout,
            self._scope.gauge("active", Merge.SUM),
            self._scope.close,
        )

    def on_data(self, manager: FilterManager, data: bytes, end: bool) -> FilterStatus:
        """The client has sent something: ask, and wait."""
        if manager in self._questions:
            return FilterStatus.STOP
        info = manager.connection.stream_info
        if self._applies is not None and not self._applies(info.metadata):
            self._count["disabled"].tally += 1
            return FilterStatus.CONTINUE
        self._count["total"].tally += 1
        asked = self._clock.seconds()
        self._questions.ask(manager, self._requests.of(info), partial(self._answered, asked))
        return FilterStatus.STOP

    def _answered(self, asked: float, about: FilterManager, answer: Any) -> None:
        verdict = "error" if answer is None else _verdict(answer)
        self._count[verdict].tally += 1
        if answer is not None:
            self._keep_metadata(about, answer, verdict, asked)
        allows = verdict == "error" and self._allows_on_failure
        if verdict == "ok" or self._is_shadow or allows:
            if allows:
                self._count["failure_mode_allowed"].tally += 1
            about.resume(done=True)
            return
        self._count["cx_closed"].tally += 1
        about.connection.stream_info.details = f"ext_authz_{verdict}"
        about.close("ext_authz_close", ResponseFlag.UAEX)

    def _keep_metadata(
        self, manager: FilterManager, answer: Any, verdict: str, asked: float
    ) -> None:
        """What the service has to say of the client, and how long it took to let it in."""
        found = answer.dynamic_metadata
        if not found.fields and answer.WhichOneof("http_response") == "ok_response":
            found = answer.ok_response.dynamic_metadata
        told = metadata_of(found)
        if verdict == "ok":
            told["ext_authz_duration"] = int((self._clock.seconds() - asked) * 1000)
        if told:
            manager.connection.stream_info.add_metadata(NAMESPACE, told)

    def on_connection_lost(self, manager: FilterManager) -> None:
        """The client is gone."""
        self._questions.drop(manager)

    def close(self) -> None:
        """No more clients come."""
        self._questions.close()


def _verdict(answer: Any) -> str:
    """Which counter an answer is for."""
    if answer.status.code == 0:
        return "ok"
    return "error" if answer.WhichOneof("http_response") == "error_response" else "denied"
