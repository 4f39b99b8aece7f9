"""Names for the page: whoever chose them, they are short."""

from __future__ import annotations

from zlib import crc32

LONGEST = 120


def cut(name: str) -> str:
    """The name, or its beginning with a mark of what it was, so that two stay two."""
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 20]}…#{crc32(name.encode(errors='backslashreplace')):08x}"
