"""rbac: closes clients that no policy allows, or that one denies.

It decides with the first that a client sends, be it the end of its stream; with CONTINUOUS each
time anew.  So the upstream is connected by then, and what it has said has reached the client.  What
policies are is in `engine`, what they test in `rules`.

Shadow rules decide nothing: what they would is counted, and left in the dynamic metadata.

Nothing of Envoy's is left out but loggers of decisions (`audit_logging_options.logger_configs`), of
which its stock build has none either.
"""

from __future__ import annotations

import re
import time
from typing import Any

from envoy.extensions.filters.network.rbac.v3 import rbac_pb2

from tcpmesh.config.fields.values import seconds
from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.extensions.filters.network.rbac.engine import Decision, engine_of
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

NAMESPACE = "envoy.filters.network.rbac"
"""Of the dynamic metadata of shadow rules."""

COMMON = "envoy.common"
"""Of `access_log_hint`, which tells access logs whether to write a connection down."""

STOP = FilterStatus.STOP
"""An attribute of an Enum costs several times what a name of a module does."""

_BLANK = re.compile(r"[ \t\n\v\f\r]")


@extension(rbac_pb2.RBAC)
class Rbac(ReadFilter):
    """What a chain's `RBAC` message says."""

    serves_many_chains = True
    sees_data = True

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._rules = engine_of(_part(message, "rules"), _part(message, "matcher"), context)
        self._shadow = engine_of(
            _part(message, "shadow_rules"), _part(message, "shadow_matcher"), context
        )
        self._clock = context.network.clock
        is_continuous = message.enforcement_type == rbac_pb2.RBAC.CONTINUOUS
        self._after = FilterStatus.CONTINUE if is_continuous else FilterStatus.DONE
        """What is said once a client is let in."""
        delay = int(seconds(message.delay_deny) * 1000) / 1000
        self._delay = context.network.timers.queue(delay, _deny) if delay else None
        self._delayed: set[FilterManager] = set()
        prefix: str = message.shadow_rules_stat_prefix
        self._shadow_prefix = prefix
        dotted = prefix + "." if prefix and not prefix.endswith(".") else prefix
        with all_or_nothing() as undo:
            self._scope = context.store.scope(f"{message.stat_prefix}.rbac")
            undo.callback(self._scope.close)
            counter = self._scope.counter
            self._counted = {True: counter("allowed"), False: counter("denied")}
            self._shadow_counted = {
                True: counter(f"{dotted}shadow_allowed"),
                False: counter(f"{dotted}shadow_denied"),
            }

    def on_data(self, manager: FilterManager, data: bytes, end: bool) -> FilterStatus:
        """The client has sent something: decide."""
        if self._delayed and manager in self._delayed:
            return STOP
        info = manager.connection.stream_info
        if self._shadow is not None:
            self._tell_shadow(self._shadow.decide(info, self._now), info)
        if self._rules is not None:
            decision = self._rules.decide(info, self._now)
            self._counted[decision.allowed].tally += 1
            if decision.log is not None:
                info.add_metadata(COMMON, {"access_log_hint": decision.log})
            if not decision.allowed:
                self._refuse(manager, decision.policy)
                return STOP
        return self._after

    def _now(self) -> Moment:
        return Moment(self._clock.seconds(), time.time())

    def _tell_shadow(self, decision: Decision, info: StreamInfo) -> None:
        self._shadow_counted[decision.allowed].tally += 1
        prefix = self._shadow_prefix
        told = {f"{prefix}shadow_engine_result": "allowed" if decision.allowed else "denied"}
        if decision.policy:
            told[f"{prefix}shadow_effective_policy_id"] = decision.policy
        info.add_metadata(NAMESPACE, told)

    def _refuse(self, manager: FilterManager, policy: str) -> None:
        info = manager.connection.stream_info
        name = _BLANK.sub("_", policy) or "none"
        info.termination_details = f"rbac_access_denied_matched_policy[{name}]"
        if self._delay is None:
            _deny(manager)
        else:
            manager.connection.transport.pauseProducing()
            self._delayed.add(manager)
            self._delay.add(manager)

    def on_connection_lost(self, manager: FilterManager) -> None:
        """A client is gone."""
        if manager in self._delayed:
            self._delayed.discard(manager)
            if self._delay is not None:
                self._delay.discard(manager)

    def close(self) -> None:
        """No more clients come."""
        self._scope.close()


def _part(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _deny(manager: FilterManager) -> None:
    manager.close("rbac_deny_close")
