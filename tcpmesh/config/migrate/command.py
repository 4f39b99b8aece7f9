"""The command line of a migration: files in, files out, each change named with its line.

Standard output gets the new text (or the difference), standard error what was done and what is
left; so `tcpmesh migrate old.yaml > new.yaml` does what one expects.
"""

from __future__ import annotations

import argparse
import codecs
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import NoReturn

from tcpmesh.config.migrate.outcome import Migration
from tcpmesh.config.text.problems import render

#: The name of standard input.
STDIN = "-"

_ABOUT = """\
Rewrite configurations of Envoy's v2 API, and those that name extensions without a type, to the v3
API.  Comments, order and layout are kept; a file that Envoy takes as it is stays as it is.  What
is changed is told on standard error with its line, and so is what a person has to decide.
"""

_EPILOG = """\
For example:
  tcpmesh migrate old.yaml > new.yaml     write the new text elsewhere
  tcpmesh migrate --diff old.yaml         show what would change
  tcpmesh migrate --in-place *.yaml       rewrite the files
  tcpmesh migrate --check *.yaml          status 1 where a file is old

Exit status: 0; 1 where something is left to do by hand, a file cannot be read or written, or with
--check is old.
"""


class CommandLineError(Exception):
    """A command line that cannot be followed."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandLineError(message)


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    made = _Parser(
        "tcpmesh migrate",
        description=_ABOUT,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="YAML or JSON; - is standard input")
    where = made.add_mutually_exclusive_group()
    where.add_argument("-i", "--in-place", action="store_true", help="rewrite the files")
    where.add_argument("-o", "--output", metavar="FILE", help="write the one new text there")
    where.add_argument("--check", action="store_true", help="write nothing, only tell")
    where.add_argument("--diff", action="store_true", help="show the difference")
    made.add_argument("-q", "--quiet", action="store_true", help="do not name the changes")
    return made


def main(arguments: Sequence[str], migrate: Callable[[str, str], Migration]) -> int:
    """Follow a command line.

    :param arguments: what follows `tcpmesh migrate`.
    :param migrate: what migrates one text: the text and its name.
    :return: the exit status.
    """
    try:
        options = parser().parse_args(arguments)
        if len(options.files) > 1 and not (options.in_place or options.check or options.diff):
            raise CommandLineError("several files need --in-place, --diff or --check")
    except CommandLineError as error:
        print(f"tcpmesh migrate: {error}\nTry tcpmesh migrate --help", file=sys.stderr)
        return 1
    return max(_one(name, options, migrate) for name in options.files)


# ---------------------------------------------------------------- one file


@dataclass(frozen=True)
class _Source:
    """A file as text, and how that becomes bytes again."""

    name: str
    text: str
    encoding: str
    mark: bytes = b""

    def encoded(self, text: str) -> bytes:
        """A text as this file's bytes."""
        return self.mark + text.encode(self.encoding)


def _read(name: str) -> _Source:
    """Read a file, or standard input.

    :raise OSError: where it cannot be read.
    :raise ValueError: where it is no text.
    """
    data = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    shown = "standard input" if name == STDIN else name
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if data.startswith(mark):
            return _Source(shown, data[len(mark) :].decode(encoding), encoding, mark)
    return _Source(shown, data.decode("utf-8"), "utf-8")


def _one(name: str, options: argparse.Namespace, migrate: Callable[[str, str], Migration]) -> int:
    """Migrate one file; its part of the exit status."""
    try:
        source = _read(name)
    except OSError as error:
        print(f"{name}: cannot be read: {error.strerror}", file=sys.stderr)
        return 1
    except ValueError:
        print(f"{name}: cannot be read: it is neither UTF-8 nor UTF-16", file=sys.stderr)
        return 1
    done = migrate(source.text, source.name)
    _tell(source, done, options.quiet)
    try:
        _write(name, source, done, options)
    except OSError as error:
        target = options.output or name
        print(f"{target}: cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 1 if done.problems or (options.check and done.changes) else 0


def _tell(source: _Source, done: Migration, is_quiet: bool) -> None:
    """Say on standard error what was changed and what was not."""
    if not is_quiet:
        for change in done.changes:
            print(f"{source.name}:{change}", file=sys.stderr)
    if done.problems:
        sources = {source.name: source.text} if sys.stderr.isatty() else {}
        print(render(done.problems, sources), file=sys.stderr)
    if not is_quiet:
        print(_summary(source.name, done), file=sys.stderr)


def _summary(name: str, done: Migration) -> str:
    changes, problems = len(done.changes), len(done.problems)
    if not changes and not problems:
        return f"{name}: nothing to change, it is v3"
    left = f"; {problems} left to do by hand" if problems else ""
    return f"{name}: {changes} {'change' if changes == 1 else 'changes'}{left}"


def _write(name: str, source: _Source, done: Migration, options: argparse.Namespace) -> None:
    """Put the new text where it is wanted."""
    if options.check:
        return
    if options.in_place and name != STDIN:
        if done.text != source.text:
            replace_file(Path(name), source.encoded(done.text))
    elif options.output:
        replace_file(Path(options.output), source.encoded(done.text))
    else:
        text = _difference(source, done) if options.diff else done.text
        sys.stdout.buffer.write(source.encoded(text) if not options.diff else text.encode())
        sys.stdout.flush()


def _difference(source: _Source, done: Migration) -> str:
    lines = unified_diff(
        source.text.splitlines(keepends=True),
        done.text.splitlines(keepends=True),
        source.name,
        f"{source.name} (v3)",
    )
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, with the rights that it had.

    :raise OSError: where it cannot be written; the old file is then still there.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        target.write_bytes(data)
        return
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
