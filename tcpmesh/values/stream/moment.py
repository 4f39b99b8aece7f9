"""When, and at which point of its life, a connection is written down."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from tcpmesh.values.stream.http_request import HttpRequest


class LogType(Enum):
    """Why a record is written (`data.accesslog.v3.AccessLogType`); ACCESS_LOG_TYPE prints the
    value.
    """

    NOT_SET = "NotSet"
    """A listener's own record of a connection that has ended."""

    TCP_CONNECTION_START = "TcpConnectionStart"
    """tcp_proxy has got the connection."""

    TCP_UPSTREAM_CONNECTED = "TcpUpstreamConnected"
    """Its upstream connection is made."""

    TCP_PERIODIC = "TcpPeriodic"
    """It goes on: written at intervals."""

    TCP_CONNECTION_END = "TcpConnectionEnd"
    """It has ended."""

    DOWNSTREAM_END = "DownstreamEnd"
    """A request of HTTP was answered: one to the admin interface."""


class Moment(NamedTuple):
    """One moment, on both clocks: connections are timed by one that only goes forward, and people
    read the other.
    """

    seconds: float
    """By the network's clock, the one that the times of a `StreamInfo` are of."""

    wall: float
    """Since 1970, by the wall clock."""

    log_type: LogType = LogType.NOT_SET
    """What is written at this moment, where something is."""

    request: HttpRequest | None = None
    """What was asked, where it is a request of HTTP that is written down."""

    def wall_of(self, seconds: float) -> float:
        """When something was, by the wall clock, that the network's clock had at so many
        seconds.
        """
        return self.wall - (self.seconds - seconds)
