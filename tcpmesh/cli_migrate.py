"""`tcpmesh migrate`: old configurations (v2, or with untyped extensions) as ones of the v3 API.

Standard output gets the new text, or the difference, and standard error what was changed and what
is left to do; so `tcpmesh migrate old.yaml > new.yaml` does what one expects.
"""

from __future__ import annotations

import codecs
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import unified_diff
from pathlib import Path
from typing import Any, ClassVar

from twisted.python import usage

from tcpmesh.config.migrate import Migration, migrate
from tcpmesh.config.text.files import MAX_BYTES
from tcpmesh.facts import dataclass
from tcpmesh.tap_options import MixedOptions
from tcpmesh.tap_output import complain, refuse, tell

HELP = """\
Usage: tcpmesh migrate [options] FILE...

Bring configurations of the v2 API, or with extensions that have no
typed_config, to the v3 API: the new text goes to standard output, and what was
changed, with its line, to standard error.  Comments, order and layout are kept.
A file that Envoy takes stays as it is.  Of a Kubernetes manifest the
configuration in it is changed.  YAML or JSON; - is standard input.

  tcpmesh migrate old.yaml > new.yaml     write the new text elsewhere
  tcpmesh migrate --diff *.yaml           show what would change
  tcpmesh migrate --in-place *.yaml       rewrite the files
  tcpmesh migrate --check *.yaml          status 1 where a file is old

  -i, --in-place              Rewrite the files.
  -o, --output FILE           Where the new text of one file goes.
      --check                 Write nothing.
      --diff                  Show the difference.
  -q, --quiet                 Do not name the changes.

Exit status: 0; 1 where something is left for you to do, which is told with its
line, where a file cannot be read or written, or with --check is old."""

#: The name of standard input.
_STDIN = "-"

#: What byte order marks say of a text, and how it is without one.
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"", "utf-8"),
)


class MigrateOptions(MixedOptions):
    """Options of `tcpmesh migrate`."""

    optParameters: ClassVar[Any] = [["output", "o", "", "Where the new text of one file goes."]]

    optFlags: ClassVar[Any] = [
        ["in-place", "i", "Rewrite the files."],
        ["check", None, "Write nothing, tell by the status whether a file is old."],
        ["diff", None, "Show the difference."],
        ["quiet", "q", "Do not name the changes."],
    ]

    def parseArgs(self, *files: str) -> None:
        """The old files.

        :raise usage.UsageError: where there is none, or where it is not told what becomes of
            several.
        """
        chosen = [f"--{name}" for name in ("in-place", "output", "check", "diff") if self[name]]
        if not files:
            raise usage.UsageError("name a file")
        if len(chosen) > 1:
            raise usage.UsageError(f"{' and '.join(chosen)} exclude each other")
        if len(files) > 1 and chosen in ([], ["--output"]):
            raise usage.UsageError("several files need --in-place, --diff or --check")
        self["files"] = files


def migrate_file(arguments: Sequence[str]) -> None:
    """Run the command; ends the process with status 1 where something is left to do."""
    options = MigrateOptions()
    try:
        options.parseOptions(arguments)
    except usage.UsageError as e:
        refuse(f"tcpmesh migrate: {e} (--help tells more)")
    statuses = [_one(name, options) for name in options["files"]]
    if any(statuses):
        sys.exit(1)


# ---------------------------------------------------------------- one file


@dataclass(frozen=True)
class _Source:
    """A file as text, and how that becomes bytes again."""

    name: str
    text: str
    encoding: str
    mark: bytes

    def encoded(self, text: str) -> bytes:
        """A text as this file's bytes."""
        return self.mark + text.encode(self.encoding)


def _read(name: str) -> _Source:
    """Read a file, or standard input.

    :raise OSError: where it cannot be read.
    :raise ValueError: where it is no text, or too large.
    """
    if name == _STDIN:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        with open(name, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
    mark, encoding = next(pair for pair in _ENCODINGS if data.startswith(pair[0]))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("it is neither UTF-8 nor UTF-16") from None
    return _Source("standard input" if name == _STDIN else name, text, encoding, mark)


def _one(name: str, options: MigrateOptions) -> bool:
    """Migrate one file; whether something is left to do."""
    try:
        source = _read(name)
    except OSError as e:
        return _fail(f"{name}: cannot be read: {e.strerror}")
    except ValueError as e:
        return _fail(f"{name}: cannot be read: {e}")
    made = migrate(source.text, source.name)
    for line in () if options["quiet"] else _changes(made, source.name):
        print(line, file=sys.stderr)
    complain(made.problems, {source.name: source.text})
    target = options["output"] or name
    try:
        _write(name, source, made, options)
    except OSError as e:
        return _fail(f"{target}: cannot be written: {e.strerror}")
    return bool(made.problems or (options["check"] and made.changes))


def _fail(line: str) -> bool:
    print(line, file=sys.stderr)
    return True


def _changes(made: Migration, name: str) -> Iterator[str]:
    for change in made.changes:
        yield f"{name}:{change}"
    if not made.changes and not made.problems:
        yield f"{name}: nothing to change"


def _write(name: str, source: _Source, made: Migration, options: MigrateOptions) -> None:
    """Put the new text where it is wanted."""
    if options["diff"]:
        difference = "".join(_difference(source, made))
        if difference:
            tell(difference.removesuffix("\n"))
    elif options["check"] or (made.problems and not made.changes):
        return
    elif options["output"]:
        _replace(Path(options["output"]), source.encoded(made.text))
    elif not options["in-place"] or name == _STDIN:
        tell(made.text.removesuffix("\n"))
    elif made.changes:
        _replace(Path(name), source.encoded(made.text))


def _difference(source: _Source, made: Migration) -> Iterator[str]:
    """What `diff -u` would print."""
    old, new = (text.splitlines(keepends=True) for text in (source.text, made.text))
    for line in unified_diff(old, new, source.name, f"{source.name} (v3)"):
        yield line if line.endswith("\n") else f"{line}\n"


def _replace(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all, for it may be the old one.

    :raise OSError: where it cannot be written; the old file is then still there.
    """
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        path.write_bytes(data)
        return
    target = path.resolve()
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as f:
        try:
            f.write(data)
            f.flush()
            os.fchmod(f.fileno(), mode)
            os.replace(f.name, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(f.name)
            raise


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now
