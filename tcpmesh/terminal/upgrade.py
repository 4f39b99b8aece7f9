"""`tcpmesh upgrade`: has a running proxy start the program that is installed now, which takes over
from it, and says what has come of that.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.python import usage

from tcpmesh.tap_options import MixedOptions
from tcpmesh.tap_output import refuse, tell
from tcpmesh.terminal.client import AdminClient, NoAnswer
from tcpmesh.terminal.options import admin_address

PATIENCE = 180.0
"""Seconds that an upgrade may take: the running process gives up before."""

UPGRADE_HELP = """\
Usage: tcpmesh upgrade [options]

Have a running proxy start the program that is installed now, with its own
command line, and hand over to it: no connection is refused, and those that
there are end by themselves.  Where the new one fails the old one serves on.

  tcpmesh upgrade                    the proxy whose admin is 127.0.0.1:9901
  tcpmesh upgrade --pid 4711         one without admin: its log has the outcome

      --admin ADDRESS         The admin interface: HOST:PORT or unix:PATH.
  -c, --config FILE           Find the admin interface in this configuration.
      --pid NUMBER            Send this process SIGUSR2 instead.

Exit status: 0; 1 where the old process serves on, or nobody can be asked."""


def _pid(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or not 1 < int(text[:10]) < 1 << 22:
        raise usage.UsageError(f"--pid: '{text}' is no number of a process")
    return int(text)


class UpgradeOptions(MixedOptions):
    """Options of `tcpmesh upgrade`."""

    optParameters: ClassVar[Any] = [
        ["admin", None, "", "The admin interface: HOST:PORT or unix:PATH."],
        ["config", "c", "", "Find the admin interface in this configuration."],
        ["pid", None, None, "Send this process SIGUSR2 instead.", _pid],
    ]

    def postOptions(self) -> None:
        """See that they make sense together.

        :raise usage.UsageError: where they do not.
        """
        if self["pid"] is not None and (self["admin"] or self["config"]):
            raise usage.UsageError("--pid is for a proxy that is not asked by its admin interface")


def upgrade(arguments: Sequence[str]) -> None:
    """Run `tcpmesh upgrade`; ends the process with status 1 where nothing comes of it."""
    options = UpgradeOptions()
    try:
        options.parseOptions(arguments)
        if options["pid"] is not None:
            _signal(options["pid"])
            return
        client = AdminClient(admin_address(options["admin"], options["config"]), PATIENCE)
    except (usage.UsageError, ValueError) as e:
        refuse(f"tcpmesh upgrade: {e} (--help tells more)")
    try:
        status, text = client.told("POST", "/upgrade", {})
    except NoAnswer as e:
        refuse(f"tcpmesh upgrade: {e}")
    if status != 200:
        refuse(f"tcpmesh upgrade: {text}")
    tell(text)


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGUSR2)
    except OSError as e:
        refuse(f"tcpmesh upgrade: cannot tell process {pid}: {e.strerror}")
    tell(f"process {pid} was told: its log says what comes of it")
