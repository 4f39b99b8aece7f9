"""A bootstrap as bytes: what is kept of those that were served before, and a hash by which two are
known to be the same.

It is done by a thread, resource by resource, for a thread that works on ten thousand clusters at
once lets nobody else run.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from xxhash import xxh64

from tcpmesh.config.messages.copying import copy_into
from tcpmesh.facts import dataclass
from tcpmesh.server.link.deep import read_message

LENGTH = 5
"""Bytes before each message: one says what it is, four how long."""

_LISTS = (("listeners", Listener), ("clusters", Cluster), ("secrets", Secret))


@dataclass(frozen=True)
class Packed:
    """A whole bootstrap."""

    data: bytes
    version: str
    """The hash of it, in hexadecimal."""


def pack(bootstrap: Any) -> Packed:
    """Its bytes, and the hash of them."""
    squeezing, hashing = zlib.compressobj(1), xxh64()
    parts = []
    for piece in _pieces(bootstrap):
        hashing.update(piece)
        parts.append(squeezing.compress(piece))
    return Packed(b"".join((*parts, squeezing.flush())), hashing.hexdigest())


def unpack(packed: Packed) -> Any:
    """The bootstrap that was packed."""
    bootstrap = Bootstrap()
    for number, message in _messages(zlib.decompress(packed.data)):
        if number == len(_LISTS):
            bootstrap.MergeFrom(message)
        else:
            getattr(bootstrap.static_resources, _LISTS[number][0]).add().CopyFrom(message)
    return bootstrap


def _messages(data: bytes) -> Iterator[tuple[int, Any]]:
    kinds = (*(kind for _, kind in _LISTS), Bootstrap)
    at = 0
    while at < len(data):
        number, begins = data[at], at + LENGTH
        at = begins + int.from_bytes(data[at + 1 : begins], "big")
        yield number, read_message(kinds[number], data[begins:at])


def _pieces(bootstrap: Any) -> Iterator[bytes]:
    rest = Bootstrap()
    copy_into(rest, bootstrap, with_resources=False)
    yield from _piece(len(_LISTS), rest)
    for number, (name, _) in enumerate(_LISTS):
        for message in getattr(bootstrap.static_resources, name):
            yield from _piece(number, message)


def _piece(number: int, message: Any) -> Iterator[bytes]:
    data = message.SerializeToString(deterministic=True)
    yield bytes((number,)) + len(data).to_bytes(LENGTH - 1, "big")
    yield data
