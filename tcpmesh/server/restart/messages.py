"""What processes say to each other when one takes over from another: JSON objects, one a frame.

Two releases talk here, so nothing is positional: each object has a `kind`, a reader leaves out
kinds and fields that it does not know, and what is missing has a default.  `VERSION` changes only
where that is not enough; then the older process refuses the newer one, and serves on.

The newer process says `hello`, and is answered with `sockets`, several where there are many, or
with `refused`.  `starting` tells its process number once twistd has detached it.  When it accepts
clients it says `drain`, and the older one answers `draining`: it accepts no more.  From then on
`ask` is answered with `numbers`; `terminate` ends the older one at once; `reopen` has it open its
log files anew.  One that cannot start says `failed` and why.

Where `drain` says that the newer process `takes_clients`, the older one sends those that can move
(`tcpmesh.server.handover`): each as a `client`, which has its two descriptors, and behind the
object, after a newline, what workers know of it.  The newer one answers `can_take`, perhaps with
why it is `refused`, and begins with it once it is told `take`, or not if it is told `forget`.  When
no more come the older one says `stay`: how many do, and why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tcpmesh.server.channel.framing import FramingError

MOST_BYTES = 1 << 24
"""Of one message."""


def encode(kind: str, **fields: object) -> bytes:
    """A message."""
    return json.dumps({"kind": kind, **fields}).encode()


def encode_with(more: bytes, kind: str, **fields: object) -> bytes:
    """One that has bytes behind the object."""
    return b"".join((encode(kind, **fields), b"\n", more))


def behind(body: bytes) -> bytes:
    """The bytes behind the object."""
    return body.partition(b"\n")[2]


def decode(body: bytes) -> Mapping[str, Any]:
    """The fields of a message, with its `kind`.

    :raise FramingError: where it is none.
    """
    try:
        found = json.loads(body.partition(b"\n")[0])
    except (ValueError, RecursionError):
        raise FramingError("it is not JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        raise FramingError("it has no kind")
    return found


def whole(fields: Mapping[str, Any], name: str, default: int = 0) -> int:
    """A field that is a whole number.

    :raise FramingError: where it is something else.
    """
    value = fields.get(name, default)
    if not isinstance(value, int):
        raise FramingError(f"{name} is no number")
    return value


def real(fields: Mapping[str, Any], name: str, default: float = 0.0) -> float:
    """A field that is a number.

    :raise FramingError: where it is something else.
    """
    value = fields.get(name, default)
    if not isinstance(value, int | float):
        raise FramingError(f"{name} is no number")
    return float(value)


def text(fields: Mapping[str, Any], name: str) -> str:
    """A field that is a text, empty where it is missing.

    :raise FramingError: where it is something else.
    """
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise FramingError(f"{name} is no text")
    return value


def rows(fields: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A field that is a list of objects.

    :raise FramingError: where it is something else.
    """
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise FramingError(f"{name} is no list of objects")
    return value


def numbers(fields: Mapping[str, Any], name: str) -> Mapping[str, int]:
    """A field that has whole numbers by texts.

    :raise FramingError: where it is something else.
    """
    value = fields.get(name, {})
    if not isinstance(value, dict) or not all(isinstance(each, int) for each in value.values()):
        raise FramingError(f"{name} are no numbers")
    return value
