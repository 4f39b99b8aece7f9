"""What outlier detection is told and what it counts: causes, settings and statistics, by Envoy's
names.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from tcpmesh.config.fields.values import seconds
from tcpmesh.facts import dataclass
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration, Scope

RUNTIME_PREFIX = "outlier_detection."
"""Of the runtime keys: the names of the fields follow, of times with `_ms` for milliseconds."""

NOT_SET = -1

BASE = 30.0
"""Seconds (`base_ejection_time`)."""


class Cause(Enum):
    """Why a host is out, by the names of `data.cluster.v3.OutlierEjectionType`; the value is its
    name in statistics.
    """

    CONSECUTIVE_5XX = "consecutive_5xx"
    CONSECUTIVE_GATEWAY_FAILURE = "consecutive_gateway_failure"
    CONSECUTIVE_LOCAL_ORIGIN_FAILURE = "consecutive_local_origin_failure"
    SUCCESS_RATE = "success_rate"
    SUCCESS_RATE_LOCAL_ORIGIN = "local_origin_success_rate"
    FAILURE_PERCENTAGE = "failure_percentage"
    FAILURE_PERCENTAGE_LOCAL_ORIGIN = "local_origin_failure_percentage"


DECLARED = Declaration(counters=("ejections_detected_degradation",))


class OutlierStats:
    """The statistics under `cluster.<name>.outlier_detection.`."""

    def __init__(self, cluster: Scope) -> None:
        scope = cluster.scope("outlier_detection")
        self.active = scope.gauge("ejections_active", Merge.SUM)
        self.overflow = scope.counter("ejections_overflow")
        self.enforced_total = scope.counter("ejections_enforced_total")
        self.detected = {
            cause: scope.counter(f"ejections_detected_{cause.value}") for cause in Cause
        }
        self.enforced = {
            cause: scope.counter(f"ejections_enforced_{cause.value}") for cause in Cause
        }
        # Envoy's older names, of what was detected whether it was enforced or not.
        self.old_total = scope.counter("ejections_total")
        self.old = {
            Cause.CONSECUTIVE_5XX: scope.counter("ejections_consecutive_5xx"),
            Cause.SUCCESS_RATE: scope.counter("ejections_success_rate"),
        }
        scope.declare(DECLARED)


@dataclass(frozen=True)
class Settings:
    """A `cluster.v3.OutlierDetection`; times in seconds, shares in percent."""

    interval: float
    base_ejection_time: float
    max_ejection_time: float
    max_ejection_time_jitter: float
    max_ejection_percent: int
    always_eject_one_host: bool
    split: bool
    consecutive: dict[Cause, int]
    """How many failures in a row are a cause."""

    enforcing: dict[Cause, int]
    """How often, in percent, a cause has its effect."""

    success_rate_minimum_hosts: int
    success_rate_request_volume: int
    success_rate_stdev_factor: float
    failure_percentage_threshold: int
    failure_percentage_minimum_hosts: int
    failure_percentage_request_volume: int
    health_check_returns: bool
    """Whether a passed health check ends an ejection."""

    @classmethod
    def of(cls, message: Any, runtime: Runtime) -> Settings:
        """What is not given is as in Envoy; what the runtime has of the same name goes before."""

        def configured(name: str, default: float) -> float:
            return seconds(getattr(message, name)) if message.HasField(name) else default

        def number(name: str, default: int) -> int:
            value = int(getattr(message, name).value) if message.HasField(name) else default
            return runtime.integer(f"{RUNTIME_PREFIX}{name}", value)

        def time(name: str, default: float) -> float:
            value = configured(name, default)
            milliseconds = runtime.integer(f"{RUNTIME_PREFIX}{name}_ms", NOT_SET)
            return value if milliseconds == NOT_SET else milliseconds / 1000

        base = configured("base_ejection_time", BASE)
        uneject = message.successful_active_health_check_uneject_host
        return cls(
            interval=time("interval", 10.0),
            base_ejection_time=time("base_ejection_time", BASE),
            max_ejection_time=time("max_ejection_time", max(300.0, base)),
            max_ejection_time_jitter=time("max_ejection_time_jitter", 0.0),
            max_ejection_percent=min(number("max_ejection_percent", 10), 100),
            always_eject_one_host=message.always_eject_one_host.value,
            split=message.split_external_local_origin_errors,
            consecutive={
                Cause.CONSECUTIVE_5XX: number("consecutive_5xx", 5),
                Cause.CONSECUTIVE_GATEWAY_FAILURE: number("consecutive_gateway_failure", 5),
                Cause.CONSECUTIVE_LOCAL_ORIGIN_FAILURE: number(
                    "consecutive_local_origin_failure", 5
                ),
            },
            enforcing={
                Cause.CONSECUTIVE_5XX: number("enforcing_consecutive_5xx", 100),
                Cause.CONSECUTIVE_GATEWAY_FAILURE: number(
                    "enforcing_consecutive_gateway_failure", 0
                ),
                Cause.CONSECUTIVE_LOCAL_ORIGIN_FAILURE: number(
                    "enforcing_consecutive_local_origin_failure", 100
                ),
                Cause.SUCCESS_RATE: number("enforcing_success_rate", 100),
                Cause.SUCCESS_RATE_LOCAL_ORIGIN: number("enforcing_local_origin_success_rate", 100),
                Cause.FAILURE_PERCENTAGE: number("enforcing_failure_percentage", 0),
                Cause.FAILURE_PERCENTAGE_LOCAL_ORIGIN: number(
                    "enforcing_failure_percentage_local_origin", 0
                ),
            },
            success_rate_minimum_hosts=number("success_rate_minimum_hosts", 5),
            success_rate_request_volume=number("success_rate_request_volume", 100),
            success_rate_stdev_factor=number("success_rate_stdev_factor", 1900) / 1000,
            failure_percentage_threshold=number("failure_percentage_threshold", 85),
            failure_percentage_minimum_hosts=number("failure_percentage_minimum_hosts", 5),
            failure_percentage_request_volume=number("failure_percentage_request_volume", 50),
            health_check_returns=uneject.value
            if message.HasField("successful_active_health_check_uneject_host")
            else True,
        )
