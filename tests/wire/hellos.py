"""ClientHellos: built by hand, and those of real clients with what Envoy 1.40 said of them."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUITES = b"\x13\x01\xc0\x2f"


def record(content: bytes, kind: int = 22, version: int = 0x301) -> bytes:
    """A record of TLS."""
    return struct.pack("!BHH", kind, version, len(content)) + content


def alert(level: int, description: int) -> bytes:
    """A record with an alert."""
    return record(bytes((level, description)), 21)


def block(data: bytes, size: int = 2) -> bytes:
    """Bytes after their length."""
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, data: bytes = b"") -> bytes:
    """An extension of a hello."""
    return struct.pack("!H", kind) + block(data)


def server_name(name: bytes, kind: int = 0) -> bytes:
    """The extension for SNI."""
    return extension(0, block(bytes((kind,)) + block(name)))


def protocols(*names: bytes) -> bytes:
    """The extension for ALPN."""
    return extension(16, block(b"".join(block(name, 1) for name in names)))


def versions(*numbers: int) -> bytes:
    """The extension `supported_versions`."""
    return extension(43, block(struct.pack(f"!{len(numbers)}H", *numbers), 1))


def message(
    *extensions: bytes,
    version: int = 0x303,
    session_id: bytes = b"",
    suites: bytes = SUITES,
    compression: bytes = b"\0",
    trailing: bytes = b"",
) -> bytes:
    """The handshake message; without extensions it has no room for any."""
    body = struct.pack("!H", version) + bytes(32) + block(session_id, 1) + block(suites)
    body += block(compression, 1)
    if extensions:
        body += block(b"".join(extensions))
    return b"\1" + block(body + trailing, 3)


def hello(*extensions: bytes, **more: Any) -> bytes:
    """The message in one record."""
    return record(message(*extensions, **more))


def in_records(of: bytes, size: int) -> bytes:
    """The message of a hello of one record, in records of so many bytes."""
    content = of[5:]
    return b"".join(
        record(content[at : at + size], version=int.from_bytes(of[1:3], "big"))
        for at in range(0, len(content), size)
    )


@dataclass(frozen=True)
class Recorded:
    """What a real client has sent, and what Envoy 1.40 found in it."""

    client: str
    hello: bytes
    server_name: str
    protocols: tuple[str, ...]
    ja3: str
    ja4: str


def recorded() -> list[Recorded]:
    """Those of `hellos.json`."""
    entries = json.loads(Path(__file__).with_name("hellos.json").read_text("utf-8"))
    return [
        Recorded(
            **{
                **entry,
                "hello": bytes.fromhex(entry["hello"]),
                "protocols": tuple(entry["protocols"]),
            }
        )
        for entry in entries
    ]
