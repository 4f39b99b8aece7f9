"""Files that hold a configuration, or that one names.

Whoever reads one while the proxy runs must not be held up: a pipe that nobody writes to would keep
a thread for ever, and with it all later reloads and the end of the process.
"""

from __future__ import annotations

import os
from errno import EFBIG, EINVAL
from stat import S_ISREG
from typing import BinaryIO

MAX_BYTES = 256 << 20
"""What a file may have: ten times the largest that anybody writes, and a bound where the file is a
device without end.
"""

_AT_ONCE = 1 << 20


def content_of(path: str, may_wait: bool = False) -> bytes:
    """What a file has.

    :param may_wait: whether it may be a pipe or a device, as `/dev/stdin` is.
    :raise OSError: where it cannot be read; `strerror` says why.
    :raise ValueError: where the path is none.
    """
    with open(path, "rb", opener=None if may_wait else _open_at_once) as file:
        if not may_wait and not S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(EINVAL, "it is no file, and nobody waits for a pipe or a device")
        pieces: list[bytes] = []
        left = MAX_BYTES + 1
        while left and (piece := _piece(file, left)):
            left -= len(piece)
            pieces.append(piece)
    if not left:
        raise OSError(EFBIG, f"it is larger than {MAX_BYTES >> 20} MiB")
    return b"".join(pieces)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _piece(file: BinaryIO, left: int) -> bytes:
    """The next bytes; room for all that it may have is not asked for."""
    return file.read(min(left, _AT_ONCE))
