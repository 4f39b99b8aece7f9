"""`tcpmesh top` and `tcpmesh connections`: what a proxy does, on a terminal, by what its admin
interface tells.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.python import usage

from tcpmesh.tap_output import refuse, tell
from tcpmesh.terminal.client import AdminClient, NoAnswer
from tcpmesh.terminal.filters import filter_of, filter_of_words
from tcpmesh.terminal.gathering import Gatherer, Wanted
from tcpmesh.terminal.options import ConnectionsOptions, LookOptions, TopOptions, admin_address
from tcpmesh.terminal.tables import COLUMNS, SORTS, lay
from tcpmesh.terminal.top import Top, report

UNBOUNDED = 10_000
"""Columns, where a table does not go to a terminal."""

CLEAR = "\x1b[H\x1b[2J"

TOP_HELP = """\
Usage: tcpmesh top [options]

Show what a running proxy does, live: listeners, clusters, hosts, connections,
and why others have ended.  ? tells of the keys.

  tcpmesh top                        of the proxy whose admin is 127.0.0.1:9901
  tcpmesh top --admin unix:/run/admin.sock
  tcpmesh top --once --view hosts          print it, for a script

      --admin ADDRESS         The admin interface: HOST:PORT or unix:PATH.
  -c, --config FILE           Find the admin interface in this configuration.
      --view VIEW             overview, listeners, clusters, hosts, connections
                              or closes.
      --filter TEXT           Words that must be in each row, or FIELD=VALUE.
      --sort FIELD            Sort by this field; -FIELD has the largest first.
      --interval SECONDS      Between two looks; 2 by default.
      --once                  Print what is there now, and end.

Exit status: 0; 1 where the admin interface cannot be asked; 130 after Ctrl-C."""

CONNECTIONS_HELP = """\
Usage: tcpmesh connections [options] [FIELD=VALUE | WORD]...

Print who is connected to what, now.  Each FIELD=VALUE, and each word, must fit:
a text as it is or as ~REGEX, a number also as >N or <N, an address also without
its port or as a prefix.

  tcpmesh connections cluster=db --sort -age
  tcpmesh connections client=10.0.0.0/8 'age=>3600' --json
  tcpmesh connections --closed by=upstream   why others have ended

      --admin ADDRESS         The admin interface: HOST:PORT or unix:PATH.
  -c, --config FILE           Find the admin interface in this configuration.
      --closed                Those that have ended, the last first.
      --sort FIELD            Sort by this field; -FIELD has the largest first.
      --limit N               At most so many rows; 100 by default.
      --json                  Print it as the admin interface does, for scripts.
      --watch                 Look again and again, until Ctrl-C.
      --interval SECONDS      Between two looks; 2 by default.

Exit status: 0; 1 where the admin interface cannot be asked; 130 after Ctrl-C."""


def top(arguments: Sequence[str]) -> None:
    """Run `tcpmesh top`."""
    options = TopOptions()
    client = _client("tcpmesh top", options, arguments)
    gatherer = Gatherer(client)
    view = options["view"]
    wanted = Wanted(
        view,
        filter_of(options["filter"]),
        options["sort"] or SORTS.get(view) or SORTS["connections"],
    )
    try:
        if options["once"]:
            tell(_once(client, gatherer, wanted, options["interval"]))
        else:
            gatherer.gather(wanted)
            _show(client, gatherer, options)
    except NoAnswer as e:
        refuse(f"tcpmesh top: {e}")


def _once(client: AdminClient, gatherer: Gatherer, wanted: Wanted, interval: float) -> str:
    """What two looks have shown: there are no rates after one."""
    gatherer.gather(wanted)
    time.sleep(interval)
    snapshot = gatherer.gather(wanted)
    return report(client.address, snapshot, wanted, _width())


def _show(client: AdminClient, gatherer: Gatherer, options: TopOptions) -> None:
    try:
        from tcpmesh.terminal.fetching import Fetching
        from tcpmesh.terminal.screen import NoScreen, show
    except ImportError as e:  # Python can be built without curses
        refuse(f"tcpmesh top: there is no screen to draw on ({e}): try --once")
    state = Top(client.address, options["view"], options["filter"])
    if options["sort"]:
        state.sort_by(options["sort"])
    try:
        show(state, Fetching(gatherer, options["interval"]))
    except NoScreen as e:
        refuse(f"tcpmesh top: {e}")


def connections(arguments: Sequence[str]) -> None:
    """Run `tcpmesh connections`."""
    options = ConnectionsOptions()
    client = _client("tcpmesh connections", options, arguments)
    view = "closes" if options["closed"] else "connections"
    words = filter_of_words(options["words"])
    wanted = Wanted(view, words, options["sort"], options["limit"])
    gatherer = Gatherer(client)
    try:
        is_taken = tell(_printed(gatherer, wanted, options))
    except NoAnswer as e:
        refuse(f"tcpmesh connections: {e}")
    if options["watch"] and is_taken:
        _watch(gatherer, wanted, options)


def _watch(gatherer: Gatherer, wanted: Wanted, options: ConnectionsOptions) -> None:
    """Look again and again, while somebody reads; that the proxy does not answer is said once."""
    failure = ""
    while True:
        time.sleep(options["interval"])
        try:
            text = _printed(gatherer, wanted, options)
        except NoAnswer as e:
            if str(e) != failure:
                failure = str(e)
                print(f"{failure}; trying again", file=sys.stderr, flush=True)
            continue
        failure = ""
        if not tell(text):
            return


def _printed(gatherer: Gatherer, wanted: Wanted, options: ConnectionsOptions) -> str:
    told = gatherer.told(wanted.view, wanted)
    if options["json"]:
        return json.dumps(told, indent=None if options["watch"] else 1)
    rows = told[wanted.view]
    sort = wanted.sort if wanted.view == "connections" else ""
    laid = lay(COLUMNS[wanted.view], rows, _width(), sort)
    clear = CLEAR if options["watch"] and sys.stdout.isatty() else ""
    return clear + "\n".join([laid.head, *laid.lines, *_count(told, len(rows))])


def _count(told: Mapping[str, Any], rows: int) -> list[str]:
    """How many of how many are shown, of those that are open."""
    if "total" not in told:
        return []
    return [f"{rows} shown, {told.get('matched', rows)} fit, {told['total']} are open"]


def _client(command: str, options: LookOptions, arguments: Sequence[str]) -> AdminClient:
    """Who is to be asked; ends the process where the command line makes no sense."""
    try:
        options.parseOptions(arguments)
        return AdminClient(admin_address(options["admin"], options["config"]))
    except (usage.UsageError, ValueError) as e:
        refuse(f"{command}: {e} (--help tells more)")


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else UNBOUNDED
