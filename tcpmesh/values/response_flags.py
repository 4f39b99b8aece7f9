"""Envoy's response flags: why a connection did not go as its client wished."""

from __future__ import annotations

from enum import IntFlag
from functools import lru_cache


class ResponseFlag(IntFlag):
    """All response flags of Envoy 1.40 by their short names; `long_name` has the long one.

    A log filter may name any of them (`accesslog.v3.ResponseFlagFilter`).  Those of the first block
    are set in TCP connections today; the second block is what filters that are still to come set;
    those of the third are HTTP's, and no TCP connection has them.

    Envoy writes flags in the order in which they were set.  Of those that one TCP connection can
    have together, each comes about before the ones below it: so the order here is Envoy's.
    """

    UF = 1 << 0
    """A connection attempt was refused or took too long."""
    UH = 1 << 1
    """The cluster has no host to choose."""
    UO = 1 << 2
    """A circuit breaker is open."""
    NC = 1 << 3
    """The route names a cluster that does not exist."""
    URX = 1 << 4
    """All connect attempts were used."""
    UR = 1 << 5
    """The upstream reset the connection."""
    DT = 1 << 6
    """The connection lived for its maximum duration."""
    NR = 1 << 7
    """No filter chain matches."""

    UAEX = 1 << 8
    """The authorization service denied the connection."""
    RL = 1 << 9
    """A rate limit denied the connection."""
    RLSE = 1 << 10
    """The rate limit service failed."""
    OM = 1 << 11
    """The overload manager closed the connection."""
    NFCF = 1 << 12
    """The configuration of a filter has not come."""
    DF = 1 << 13
    """The name of the upstream could not be resolved."""
    UC = 1 << 14
    """The upstream closed the connection."""
    UT = 1 << 15
    """The upstream took too long."""
    DC = 1 << 16
    """The client closed the connection."""
    DR = 1 << 17
    """The client reset the connection."""
    LR = 1 << 18
    """This side reset the connection."""
    SI = 1 << 19
    """Nothing was sent for the idle timeout of a stream."""

    LH = 1 << 20
    DI = 1 << 21
    FI = 1 << 22
    IH = 1 << 23
    DPE = 1 << 24
    UMSDR = 1 << 25
    RFCF = 1 << 26
    UPE = 1 << 27
    DO = 1 << 28
    UDO = 1 << 29

    @property
    def long_name(self) -> str:
        """The names that RESPONSE_FLAGS_LONG shows, comma-separated, or `-`."""
        return _names(self._value_)[1]

    def __str__(self) -> str:
        """The names that RESPONSE_FLAGS shows, comma-separated, or `-`."""
        return _names(self._value_)[0]


_LONG = {
    ResponseFlag.UF: "UpstreamConnectionFailure",
    ResponseFlag.UH: "NoHealthyUpstream",
    ResponseFlag.UO: "UpstreamOverflow",
    ResponseFlag.NC: "NoClusterFound",
    ResponseFlag.URX: "UpstreamRetryLimitExceeded",
    ResponseFlag.UR: "UpstreamRemoteReset",
    ResponseFlag.DT: "DurationTimeout",
    ResponseFlag.NR: "NoRouteFound",
    ResponseFlag.UAEX: "UnauthorizedExternalService",
    ResponseFlag.RL: "RateLimited",
    ResponseFlag.RLSE: "RateLimitServiceError",
    ResponseFlag.OM: "OverloadManagerTerminated",
    ResponseFlag.NFCF: "NoFilterConfigFound",
    ResponseFlag.DF: "DnsResolutionFailed",
    ResponseFlag.UC: "UpstreamConnectionTermination",
    ResponseFlag.UT: "UpstreamRequestTimeout",
    ResponseFlag.DC: "DownstreamConnectionTermination",
    ResponseFlag.DR: "DownstreamRemoteReset",
    ResponseFlag.LR: "LocalReset",
    ResponseFlag.SI: "StreamIdleTimeout",
    ResponseFlag.LH: "FailedLocalHealthCheck",
    ResponseFlag.DI: "DelayInjected",
    ResponseFlag.FI: "FaultInjected",
    ResponseFlag.IH: "InvalidEnvoyRequestHeaders",
    ResponseFlag.DPE: "DownstreamProtocolError",
    ResponseFlag.UMSDR: "UpstreamMaxStreamDurationReached",
    ResponseFlag.RFCF: "ResponseFromCacheFilter",
    ResponseFlag.UPE: "UpstreamProtocolError",
    ResponseFlag.DO: "DropOverload",
    ResponseFlag.UDO: "UnconditionalDropOverload",
}

NO_FLAGS = ResponseFlag(0)


@lru_cache(256)
def _names(value: int) -> tuple[str, str]:
    """The short and the long names of a combination: each record of a log asks for them, and there
    are few combinations.
    """
    flags = [flag for flag in ResponseFlag if flag & value]
    short = ",".join(flag.name or "" for flag in flags)
    return short or "-", ",".join(_LONG[flag] for flag in flags) or "-"
