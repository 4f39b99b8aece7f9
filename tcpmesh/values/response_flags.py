"""Envoy's response flags: why a connection did not go as its client wished."""

from __future__ import annotations

from enum import IntFlag


class ResponseFlag(IntFlag):
    """Why a connection did not go as its client wished: Envoy's RESPONSE_FLAGS that concern TCP, by
    their short names.

    Envoy writes them as they come about: the only order in which two of them can come is the one
    here.
    """

    UF = 1 << 0
    """UpstreamConnectionFailure: connecting was refused or took too long."""
    UH = 1 << 1
    """NoHealthyUpstream: the cluster has no host to choose."""
    UO = 1 << 2
    """UpstreamOverflow: a circuit breaker is open."""
    NC = 1 << 3
    """NoClusterFound: the route names a cluster that does not exist."""
    URX = 1 << 4
    """UpstreamRetryLimitExceeded: all connect attempts were used."""
    UR = 1 << 5
    """UpstreamRemoteReset: the upstream reset the connection."""
    DT = 1 << 6
    """DurationTimeout: the connection lived for its maximum duration."""
    NR = 1 << 7
    """NoRouteFound: no filter chain matches."""

    def __str__(self) -> str:
        """Comma-separated short names in Envoy's order, or `-`."""
        return ",".join(flag.name or "" for flag in ResponseFlag if flag in self) or "-"


NO_FLAGS = ResponseFlag(0)
