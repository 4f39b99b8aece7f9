"""The options of `tcpmesh top` and `tcpmesh connections`, and which admin interface they mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from twisted.python import usage

from tcpmesh.config.fields.values import host_and_port
from tcpmesh.config.load import load
from tcpmesh.config.text.problems import ConfigError
from tcpmesh.connection.live.matching import MOST_ROWS
from tcpmesh.tap_options import MixedOptions
from tcpmesh.terminal.gathering import VIEWS
from tcpmesh.terminal.tables import COLUMNS
from tcpmesh.values.address import PATHS

DEFAULT_ADMIN = "127.0.0.1:9901"

SHORTEST = 0.1
"""Seconds between two looks."""


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not SHORTEST <= seconds <= 86400:
        raise usage.UsageError(f"--interval: from {SHORTEST} to 86400 seconds, not '{text}'")
    return seconds


def _rows(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or not 0 < int(text) <= MOST_ROWS:
        raise usage.UsageError(f"--limit: from 1 to {MOST_ROWS} rows, not '{text}'")
    return int(text)


def _view(text: str) -> str:
    if text not in VIEWS:
        raise usage.UsageError(f"--view: '{text}' is none of {', '.join(VIEWS)}")
    return text


Reader = Callable[[str], Any]


class LookOptions(MixedOptions):
    """Options of either."""

    optParameters: ClassVar[Any] = [
        ["admin", None, "", "The admin interface: HOST:PORT or unix:PATH."],
        ["config", "c", "", "Find the admin interface in this configuration."],
        ["sort", None, "", "The field to sort by; -FIELD for the largest first."],
        ["interval", None, 2.0, "Seconds between two looks.", _seconds],
    ]


class TopOptions(LookOptions):
    """Options of `tcpmesh top`."""

    optParameters: ClassVar[Any] = [
        ["view", None, "overview", "What to show.", _view],
        ["filter", None, "", "Words that must be in each row, or FIELD=VALUE."],
    ]
    optFlags: ClassVar[Any] = [["once", None, "Print what is there now, and end."]]

    def postOptions(self) -> None:
        """See that the view has such a field; of connections the proxy tells.

        :raise usage.UsageError: where it has not.
        """
        view, field = self["view"], self["sort"].removeprefix("-")
        known = [column.key for column in COLUMNS.get(view, ())]
        if view != "connections" and field and field not in known:
            there = f"there are {', '.join(known)}" if known else "name a --view"
            raise usage.UsageError(f"--sort: the view {view} has no field '{field}'; {there}")


class ConnectionsOptions(LookOptions):
    """Options of `tcpmesh connections`."""

    optParameters: ClassVar[Any] = [
        ["limit", None, 100, "At most so many rows.", _rows],
    ]
    optFlags: ClassVar[Any] = [
        ["json", None, "Print what the admin interface answers, for scripts."],
        ["watch", None, "Look again and again, until Ctrl-C."],
        ["closed", None, "Those that have ended, the last first."],
    ]

    def parseArgs(self, *words: str) -> None:
        """What must be in each row."""
        self["words"] = words


def admin_address(admin: str, config: str) -> str:
    """The admin interface that is meant, as `AdminClient` takes it.

    :param admin: what `--admin` says.
    :param config: the path that `--config` says.
    :raise ValueError: where the configuration does not tell; the text says why.
    """
    if admin or not config:
        return admin or DEFAULT_ADMIN
    try:
        bootstrap = load(config, allow_unsupported=True, allow_unknown_fields=True).bootstrap
    except ConfigError as e:
        raise ValueError(str(e).partition("\n")[0]) from None
    if not bootstrap.admin.HasField("address"):
        raise ValueError(f"{config} has no admin interface")
    host, port = host_and_port(bootstrap.admin.address)
    if host.startswith(PATHS):
        return f"unix:{host}"
    if not port:
        raise ValueError(f"{config} leaves the admin port to the system: name it with --admin")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
