"""When, and at which point of its life, a connection is written down."""

from __future__ import annotations

from enum import Enum

from tcpmesh.facts import dataclass
from tcpmesh.values.stream.http_request import HttpRequest

MOST_TEXT = 128 << 10
"""Characters of others that the records of one moment may hold."""


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


@dataclass(slots=True)
class Moment:
    """One moment, on both clocks: connections are timed by one that only goes forward, and people
    read the other.

    All that is written down at it shares one allowance of text that others than the author of the
    configuration have chosen: a format may ask for what a client sent any number of times.
    """

    seconds: float
    """By the network's clock, the one that the times of a `StreamInfo` are of."""

    wall: float
    """Since 1970, by the wall clock."""

    log_type: LogType = LogType.NOT_SET
    """What is written at this moment, where something is."""

    request: HttpRequest | None = None
    """What was asked, where it is a request of HTTP that is written down."""

    room: int = MOST_TEXT
    """Characters of others that there is still room for."""

    left_out: int = 0
    """Values that there was no room for."""

    def wall_of(self, seconds: float) -> float:
        """When something was, by the wall clock, that the network's clock had at so many
        seconds.
        """
        return self.wall - (self.seconds - seconds)
