"""`tcpmesh reload`: has a running proxy read its configuration again, and says what has come of
that.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.python import usage

from tcpmesh.tap_options import MixedOptions
from tcpmesh.tap_output import refuse, tell
from tcpmesh.terminal.client import AdminClient, NoAnswer
from tcpmesh.terminal.options import admin_address

PATIENCE = 600.0
"""Seconds that a reload may take."""

RELOAD_HELP = """\
Usage: tcpmesh reload [options]

Have a running proxy read its configuration again, and serve it if nothing is
wrong with it.  Prints what has changed, or why nothing has.

  tcpmesh reload                     the proxy whose admin is 127.0.0.1:9901
  tcpmesh reload --dry-run           only say what would change
  tcpmesh reload --rollback          serve the configuration before again

      --admin ADDRESS         The admin interface: HOST:PORT or unix:PATH.
  -c, --config FILE           Find the admin interface in this configuration.
      --dry-run               Change nothing, and say what would be changed.
      --rollback              Serve an earlier configuration again.
      --to NUMBER             Which one, as --history has it; else that before.
      --history               Print the last configurations.
      --json                  Print it as the admin interface does, for scripts.

Exit status: 0; 1 where the configuration is refused, or nobody can be asked."""


def _number(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or not 0 < int(text[:10]) < 1 << 30:
        raise usage.UsageError(f"--to: '{text}' is no number of a configuration")
    return int(text)


class ReloadOptions(MixedOptions):
    """Options of `tcpmesh reload`."""

    optParameters: ClassVar[Any] = [
        ["admin", None, "", "The admin interface: HOST:PORT or unix:PATH."],
        ["config", "c", "", "Find the admin interface in this configuration."],
        ["to", None, None, "Which configuration to go back to.", _number],
    ]
    optFlags: ClassVar[Any] = [
        ["dry-run", None, "Change nothing, and say what would be changed."],
        ["rollback", None, "Serve an earlier configuration again."],
        ["history", None, "Print the last configurations."],
        ["json", None, "Print it as the admin interface does, for scripts."],
    ]

    def postOptions(self) -> None:
        """See that they make sense together.

        :raise usage.UsageError: where they do not.
        """
        chosen = [f"--{name}" for name in ("dry-run", "rollback", "history") if self[name]]
        if len(chosen) > 1:
            raise usage.UsageError(f"{' and '.join(chosen)} make no sense together")
        if self["to"] is not None and not self["rollback"]:
            raise usage.UsageError("--to is for --rollback")


def reload(arguments: Sequence[str]) -> None:
    """Run `tcpmesh reload`; ends the process with status 1 where nothing comes of it."""
    options = ReloadOptions()
    try:
        options.parseOptions(arguments)
        client = AdminClient(admin_address(options["admin"], options["config"]), PATIENCE)
    except (usage.UsageError, ValueError) as e:
        refuse(f"tcpmesh reload: {e} (--help tells more)")
    try:
        status, text = client.told(*_question(options))
    except NoAnswer as e:
        refuse(f"tcpmesh reload: {e}")
    if status == 200:
        tell(text)
    elif options["json"]:
        tell(text)
        sys.exit(1)
    else:
        refuse(text)


def _question(options: ReloadOptions) -> tuple[str, str, dict[str, str]]:
    """The method, the path and the parameters of the request."""
    parameters = {"format": "json"} if options["json"] else {}
    if options["history"]:
        return "GET", "/reload/history", parameters
    if options["rollback"]:
        to = {"to": str(options["to"])} if options["to"] is not None else {}
        return "POST", "/reload/rollback", {**to, **parameters}
    return "POST", "/reload", {**({"dry_run": ""} if options["dry-run"] else {}), **parameters}
