"""What a server has by its bootstrap beside listeners and clusters, and can have otherwise while it
runs: stats sinks and when they are written to, and what the admin interface logs and lets through.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tcpmesh.accesslog.access_logs import AccessLogs
from tcpmesh.admin.guard import Guard
from tcpmesh.admin.service import AdminService
from tcpmesh.config.fields.strings import string_matcher
from tcpmesh.config.fields.values import seconds
from tcpmesh.interfaces import IStatsSink
from tcpmesh.server.main import Main
from tcpmesh.server.stats_flush import StatsFlush
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.server_options import ServerOptions

STATS_FLUSH_INTERVAL = 5.0


def flush_interval(bootstrap: Any) -> float | None:
    """Seconds between two flushes of the statistics; `None` where only the admin interface asks for
    them (`stats_flush_on_admin`).
    """
    if bootstrap.WhichOneof("stats_flush") is not None:
        return None
    interval = bootstrap.stats_flush_interval
    given = bootstrap.HasField("stats_flush_interval")
    return seconds(interval) if given else STATS_FLUSH_INTERVAL


def guard_of(bootstrap: Any, options: ServerOptions) -> Guard:
    """What the admin interface lets through."""
    return Guard(map(string_matcher, bootstrap.admin.allow_paths), options.admin_name)


class Settings:
    """Those of another bootstrap, built and not yet in effect.

    :param admin: the admin interface, if there is one.
    :raise CannotLog: where an access log cannot be opened.
    :raise tcpmesh.registry.BrokenExtension: where another package's sink or logger fails.
    """

    def __init__(
        self,
        bootstrap: Any,
        main: Main,
        flush: StatsFlush,
        admin: AdminService | None,
        options: ServerOptions,
    ) -> None:
        self._bootstrap = bootstrap
        self._main = main
        self._flush = flush
        self._admin = admin
        self._options = options
        self._logs: AccessLogs | None = None
        self._has_logs = admin is not None and main.admin_logs_differ(bootstrap)
        with all_or_nothing() as undo:
            self._sinks = main.build_sinks(bootstrap.stats_sinks)
            undo.callback(self._close_sinks, self._sinks, main.sinks)
            if self._has_logs:
                self._logs = main.admin_logs(bootstrap)

    def close(self) -> None:
        """They are not wanted after all."""
        self._close_sinks(self._sinks, self._main.sinks)
        if self._logs is not None:
            self._logs.close()

    def taking_effect(self) -> Iterator[None]:
        """From now on they are, in place of what was there: in small steps."""
        before = self._main.sinks
        self._main.serve_bootstrap(self._bootstrap, self._sinks)
        yield
        if self._admin is not None:
            self._admin.site.let_through(guard_of(self._bootstrap, self._options))
            if self._has_logs:
                self._admin.log_to(self._logs)
        yield from self._flush.change(self._sinks, flush_interval(self._bootstrap))
        self._close_sinks(before, self._sinks)

    def _close_sinks(self, sinks: list[IStatsSink], others: list[IStatsSink]) -> None:
        """Close those that are not among others too."""
        for each in sinks:
            if not any(each is other for other in others):
                each.close()
