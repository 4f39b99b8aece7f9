"""The access logs of one place that has some: of a filter, of a listener, of the admin interface.

Each is a logger, and a filter that says which connections it is told of.  Where nothing is logged
there is no `AccessLogs`, so that whoever would log asks for no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import time
from typing import Any

from twisted.logger import Logger

from tcpmesh.accesslog.filters import Passes, access_log_filter
from tcpmesh.interfaces import IAccessLogger, IMayWriteNothing, ISaysWhatItWants
from tcpmesh.registry import Context, build_checked, check_provides
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.stream.http_request import HttpRequest
from tcpmesh.values.stream.moment import LogType, Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.wanted import EVERYTHING, NOTHING, Wanted

log = Logger(namespace="filter")


class AccessLogs:
    """What `accesslog.v3.AccessLog` messages ask for; see `access_logs`."""

    def __init__(
        self,
        messages: Iterable[Any],
        context: Context,
        wall: Callable[[], float] = time,
    ) -> None:
        self._clock = context.network.clock
        self._store = context.store
        self._wall = wall
        self._logs: list[tuple[Passes | None, Callable[[StreamInfo, Moment], None]]] = []
        self._extensions: list[Any] = []
        """Loggers, and filters that are extensions."""
        self._holders = 1
        with all_or_nothing() as undo:
            undo.callback(self.close)
            for message in messages:
                self._add(message, context)

    def _add(self, message: Any, context: Context) -> None:
        config = message.typed_config
        passes = None
        if message.HasField("filter"):
            passes = access_log_filter(message.filter, context, self._extensions.append)
        logger = build_checked(
            config, context, lambda built: check_provides(built, IAccessLogger, config)
        )
        self._extensions.append(logger)
        if not (IMayWriteNothing.providedBy(logger) and logger.writes_nothing):
            self._logs.append((passes, logger.log))

    @property
    def is_empty(self) -> bool:
        """Whether there is nobody who would write anything."""
        return not self._logs

    @property
    def wants(self) -> Wanted:
        """What loggers and filters may ask for once a connection is over; one that does not say so
        is taken to ask for everything.
        """
        wanted = NOTHING
        for each in self._extensions:
            wanted |= each.wants if ISaysWhatItWants.providedBy(each) else EVERYTHING
        return wanted

    def hold(self) -> AccessLogs:
        """Keep it open for one more, besides who has made it."""
        self._holders += 1
        return self

    def log(
        self,
        info: StreamInfo,
        log_type: LogType = LogType.NOT_SET,
        request: HttpRequest | None = None,
    ) -> None:
        """Have a connection written down, as it is now, or a request that came by it, by those who
        want it.  Never raises.
        """
        at = Moment(self._clock.seconds(), self._wall(), log_type, request)
        for passes, write in self._logs:
            try:
                if passes is None or passes(info, at):
                    write(info, at)
            except Exception:
                log.failure("an access log failed")
        if at.left_out:
            self._store.counter("access_logs.values_left_out").tally += at.left_out

    def close(self) -> None:
        """One of those that hold it needs it no more; the last one's call closes the loggers."""
        self._holders -= 1
        if not self._holders:
            for each in self._extensions:
                each.close()


def access_logs(messages: Iterable[Any], context: Context) -> AccessLogs | None:
    """The access logs that messages ask for; `None` where nothing would be written.

    :raise OSError: where a file cannot be opened.
    :raise tcpmesh.registry.UnknownExtension: where nothing understands a type.
    :raise tcpmesh.registry.BrokenExtension: where another package's logger fails.
    """
    with all_or_nothing() as undo:
        made = AccessLogs(messages, context)
        undo.callback(made.close)
        if not made.is_empty:
            return made
    made.close()
    return None
