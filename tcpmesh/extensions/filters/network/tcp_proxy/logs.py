"""What a tcp_proxy writes to its access logs while a client is there; the record of the end is its
listener's to ask for, which hears of every end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.accesslog.access_logs import AccessLogs
from tcpmesh.config.fields.values import seconds
from tcpmesh.extensions.filters.network.tcp_proxy.attempts import Attempts
from tcpmesh.net.timeout_queues import TimeoutQueue, TimeoutQueues
from tcpmesh.values.stream.moment import LogType


class SessionLogs:
    """The logs of one `TcpProxy`, and when it writes to them.

    :param on_interval: what a session does when the interval is over.
    """

    def __init__(
        self,
        message: Any,
        logs: AccessLogs,
        timers: TimeoutQueues,
        on_interval: Callable[[Any], None],
    ) -> None:
        # The fields of old times stand in the message itself; with the new ones they are refused.
        has_options = message.HasField("access_log_options")
        options = message.access_log_options if has_options else message
        self._logs = logs
        self._on_start: bool = has_options and options.flush_access_log_on_start
        self._on_connected: bool = options.flush_access_log_on_connected
        self._interval: TimeoutQueue[Any] | None = None
        if options.HasField("access_log_flush_interval"):
            self._interval = timers.queue(seconds(options.access_log_flush_interval), on_interval)

    @property
    def is_silent(self) -> bool:
        """Whether nothing is ever written before the end."""
        return not self._on_start and not self._on_connected and self._interval is None

    def started(self, session: Attempts) -> None:
        """A client is here."""
        if self._on_start:
            self._logs.log(session.stream_info, LogType.TCP_CONNECTION_START)
        if self._interval is not None:
            self._interval.add(session)

    def arrived(self, session: Attempts) -> None:
        """A client of another process goes on here."""
        if self._interval is not None:
            self._interval.add(session)

    def connected(self, session: Attempts) -> None:
        """It has an upstream."""
        if self._on_connected:
            self._logs.log(session.stream_info, LogType.TCP_UPSTREAM_CONNECTED)

    def lasts(self, session: Attempts) -> None:
        """The interval is over, and its bytes are counted."""
        self._logs.log(session.stream_info, LogType.TCP_PERIODIC)
        assert self._interval is not None
        self._interval.add(session)

    def ended(self, session: Attempts) -> None:
        """The client is gone."""
        if self._interval is not None:
            self._interval.discard(session)
