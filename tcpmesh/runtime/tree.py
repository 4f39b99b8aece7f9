"""A disk layer: a tree of directories in which each file is a value, and its path the key.

Whoever changes such a layer makes a new tree and points a symbolic link to it, so a tree that is
read does not change; one that does is read wrong at worst, and never waited for.  It is read in
steps, a file each, by whoever runs the generator.  All that cannot be read makes the whole layer
unreadable, as in Envoy.  The bounds are ours, but for the depth: a symbolic link to a directory
above itself would make a tree without end.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Generator
from stat import S_ISREG

from tcpmesh.runtime.entries import NotReadable, entry_of_text
from tcpmesh.values.runtime import Entry

MOST_DEPTH = 16
"""Directories inside each other, the root with them, as in Envoy."""

MOST_FILES = 250_000
"""Files, directories and whatever else is in the tree."""

MOST_BYTES = 1 << 20
"""Of one file."""

MOST_BYTES_OF_ALL = 64 << 20

PIECE = 1 << 15
"""Characters of a text that are looked at in one step, and up to the end of their last line."""

Reading = Generator[None, None, "dict[str, Entry] | None"]


def read_tree(root: str) -> Reading:
    """The values of a tree by their keys, or `None` where there is no such directory.

    :raise NotReadable: where something in it cannot be read.
    """
    path = os.path.realpath(os.fsencode(root))
    if not os.path.isdir(path):
        return None
    return (yield from _Tree().read(path))


class _Tree:
    def __init__(self) -> None:
        self._values: dict[str, Entry] = {}
        self._seen = 0
        self._bytes = 0
        self._open: list[tuple[os._ScandirIterator[bytes], str]] = []
        """The directory that is being read, after those around it, and what keys in it begin
        with.
        """

    def read(self, path: bytes) -> Generator[None, None, dict[str, Entry]]:
        """All of it."""
        try:
            self._enter(path, "")
            while self._open:
                yield
                yield from self._step()
        except OSError as e:
            name = os.fsdecode(e.filename or path)
            raise NotReadable(f"cannot read {name!r}: {e.strerror}") from None
        finally:
            while self._open:
                self._open.pop()[0].close()
        return self._values

    def _step(self) -> Generator[None, None, None]:
        entries, prefix = self._open[-1]
        entry = next(entries, None)
        if entry is None:
            self._open.pop()[0].close()
            return
        self._seen += 1
        if self._seen > MOST_FILES:
            raise NotReadable(f"more than {MOST_FILES} files")
        key = prefix + _text(entry.name)
        if entry.is_symlink():
            entry.stat()  # raises where it leads nowhere
        if entry.is_dir():
            self._enter(entry.path, f"{key}.")
        elif entry.is_file():
            yield from self._take(key, entry.path)

    def _enter(self, path: bytes, prefix: str) -> None:
        if len(self._open) == MOST_DEPTH:
            raise NotReadable(f"{os.fsdecode(path)!r} is deeper than {MOST_DEPTH} directories")
        self._open.append((os.scandir(path), prefix))

    def _take(self, key: str, path: bytes) -> Generator[None, None, None]:
        data = _content(path)
        self._bytes += len(data) + len(key)
        if self._bytes > MOST_BYTES_OF_ALL:
            raise NotReadable(f"more than {MOST_BYTES_OF_ALL >> 20} MiB")
        text = yield from what_counts((yield from _decoded(data)))
        try:
            self._values[key] = entry_of_text(text)
        except NotReadable as e:
            raise NotReadable(f"{os.fsdecode(path)!r}: {e}") from None


def _content(path: bytes) -> bytes:
    """The bytes of a file; of what has taken the place of one since it was seen, nothing."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        data = b""
        while len(data) <= MOST_BYTES and (more := os.read(descriptor, MOST_BYTES + 1)):
            data += more
    finally:
        os.close(descriptor)
    if len(data) > MOST_BYTES:
        raise NotReadable(f"{os.fsdecode(path)!r} is larger than {MOST_BYTES >> 20} MiB")
    return data


def _text(data: bytes) -> str:
    """Bytes that are no UTF-8 become blanks, as in Envoy."""
    return data.decode("utf-8", "replace").replace("\ufffd", " ")


def _decoded(data: bytes) -> Generator[None, None, str]:
    """The same of many bytes."""
    if len(data) <= PIECE:
        return _text(data)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    found = []
    for start in range(0, len(data), PIECE):
        piece = decoder.decode(data[start : start + PIECE], start + PIECE >= len(data))
        found.append(piece.replace("\ufffd", " "))
        yield
    return "".join(found)


def what_counts(text: str) -> Generator[None, None, str]:
    """The lines of a file that count: neither empty ones nor those that begin with `#`; the last
    one without the blanks at its end.
    """
    text = text.rstrip("\n")
    found = []
    start = 0
    while start < len(text):
        end = text.find("\n", start + PIECE) + 1 or len(text)
        if start:
            yield
        found.append(_lines(text[start:end], end == len(text)))
        start = end
    return "".join(found)


def _lines(text: str, has_last: bool) -> str:
    lines = [line for line in text.split("\n") if line]
    last = len(lines) - 1 if has_last else -1
    return "".join(
        line.rstrip() if index == last else f"{line}\n"
        for index, line in enumerate(lines)
        if line[0] != "#"
    )
