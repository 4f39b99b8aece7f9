"""`tcpmesh migrate`: an old configuration (v2, or with untyped extensions) as one of the v3 API."""

from __future__ import annotations

import getopt
import os
import stat
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from twisted.python import usage

from tcpmesh.config.load import read_text
from tcpmesh.config.migrate import Migration, migrate
from tcpmesh.config.text.problems import ConfigError
from tcpmesh.tap_options import what_is_wrong
from tcpmesh.tap_output import complain, refuse, tell

HELP = """\
Usage: tcpmesh migrate [-o FILE] OLD

Bring a configuration of the v2 API, or with extensions that have no
typed_config, to the v3 API: the new text goes to standard output, and what was
changed, with its line, to standard error.  Comments and layout are kept.  A
file that is right already stays as it is.

  tcpmesh migrate old.yaml > new.yaml
  tcpmesh migrate -o envoy.yaml envoy.yaml

  -o, --output FILE           Where the new text goes.

Exit status: 0; 1 where something is left for you to do, which is told with its
line, or where the file cannot be read."""


class MigrateOptions(usage.Options):
    """Options of `tcpmesh migrate`."""

    optParameters: ClassVar = [["output", "o", "", "Where the new text goes."]]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse a command line.

        :raise usage.UsageError: where it makes no sense.
        """
        try:
            written, files = getopt.gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except getopt.GetoptError as e:
            raise usage.UsageError(what_is_wrong(e, self.longOpt)) from None
        super().parseOptions([part for pair in written for part in pair] + ["--", *files])

    def parseArgs(self, *files: str) -> None:
        """The old file.

        :raise usage.UsageError: unless there is one.
        """
        if len(files) != 1:
            raise usage.UsageError("tell one file" + (f", not {' and '.join(files)}" * bool(files)))
        self["old"] = files[0]


def migrate_file(arguments: Sequence[str]) -> None:
    """Run the command; ends the process with status 1 where something is left to do."""
    options = MigrateOptions()
    try:
        options.parseOptions(arguments)
    except usage.UsageError as e:
        refuse(f"tcpmesh migrate: {e} (--help tells more)")
    path = options["old"]
    try:
        text = read_text(path)
    except ConfigError as e:
        complain(e.problems, e.sources)
        sys.exit(1)
    made = migrate(text, path)
    if made.changes or not made.problems:
        _write(made.text, options["output"])
    _tell_changes(made, path)
    complain(made.problems, {path: text})
    if made.problems:
        sys.exit(1)


def _tell_changes(made: Migration, path: str) -> None:
    for change in made.changes:
        where = f"{change.path}: " if change.path else ""
        print(f"{path}:{change.line}: {where}{change.text}", file=sys.stderr)
    if not made.changes and not made.problems:
        print(f"{path}: nothing to change", file=sys.stderr)


def _write(text: str, path: str) -> None:
    if not path:
        tell(text.removesuffix("\n"))
        return
    try:
        _replace(Path(path), text)
    except OSError as e:
        refuse(f"tcpmesh migrate: cannot write '{path}': {e.strerror}")


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole or not at all, for it may be the old one."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        path.write_text(text, encoding="utf-8")
        return
    target = path.resolve()
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as f:
        try:
            f.write(text.encode())
            f.flush()
            os.fchmod(f.fileno(), mode)
            os.replace(f.name, target)
        except BaseException:
            os.unlink(f.name)
            raise


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now
