"""What `core.v3.Http2ProtocolOptions` say of a connection to an upstream."""

from __future__ import annotations

from typing import Any

from h2.settings import SettingCodes

from tcpmesh.config.fields.values import seconds
from tcpmesh.facts import dataclass

STREAM_WINDOW = 1 << 20
CONNECTION_WINDOW = 1 << 21
"""Bytes that a host may send before it waits for us, where nothing is said.  What comes is taken at
once, so this is no memory that is kept; Envoy's 16 and 24 MiB would only let a host send more in
one go.
"""

LEAST_WINDOW = 65535
MOST_STREAMS = 1024
IDLE_TIMEOUT = 3600.0
JITTER = 15.0


@dataclass(frozen=True)
class Keepalive:
    """When a host is asked whether it is there (`core.v3.KeepaliveSettings`)."""

    interval: float = 0.0
    """Seconds between two pings; 0 for none."""

    timeout: float = 0.0
    """Seconds in which a ping is to be answered."""

    jitter: float = JITTER
    """Percent of the interval that may be added to it."""

    idle: float = 0.0
    """A stream that begins after so many seconds without a frame of the host's brings a ping along;
    0 for never.
    """


@dataclass(frozen=True)
class Http2Options:
    """How a connection is set up."""

    stream_window: int = STREAM_WINDOW
    connection_window: int = CONNECTION_WINDOW
    most_streams: int = MOST_STREAMS
    """Streams at a time, where the host does not say less."""

    table_size: int | None = None
    """Bytes of the table of header fields (HPACK) that a host may fill."""

    most_requests: int = 0
    """Requests that one connection is for (`max_requests_per_connection`); 0 for any number."""

    keepalive: Keepalive = Keepalive()
    idle_timeout: float = IDLE_TIMEOUT
    """Seconds after which a connection without streams is closed; 0 for never."""

    high_watermark: int = 1 << 20
    """Bytes that a connection may keep for a host that does not take them."""

    @property
    def settings(self) -> dict[SettingCodes | int, int]:
        """What the host is told."""
        told: dict[SettingCodes | int, int] = {SettingCodes.INITIAL_WINDOW_SIZE: self.stream_window}
        if self.table_size is not None:
            told[SettingCodes.HEADER_TABLE_SIZE] = self.table_size
        return told


def http2_options(message: Any, **more: Any) -> Http2Options:
    """As the message says; `more` are further fields of `Http2Options`."""
    given = dict(more)
    names = {
        "initial_stream_window_size": "stream_window",
        "initial_connection_window_size": "connection_window",
        "max_concurrent_streams": "most_streams",
        "hpack_table_size": "table_size",
    }
    for field, name in names.items():
        if message.HasField(field):
            given[name] = getattr(message, field).value
    if message.HasField("connection_keepalive"):
        given["keepalive"] = _keepalive(message.connection_keepalive)
    return Http2Options(**given)


def _keepalive(message: Any) -> Keepalive:
    jitter = message.interval_jitter.value if message.HasField("interval_jitter") else JITTER
    return Keepalive(
        seconds(message.interval),
        seconds(message.timeout),
        float(jitter),
        seconds(message.connection_idle_interval),
    )
