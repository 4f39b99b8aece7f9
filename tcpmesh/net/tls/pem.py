"""PEM: blocks of base64 between lines that say what they are.

What stands outside of blocks is nobody's business, and blocks of other kinds are passed over; so a
file may have a key and a certificate in any order, with remarks between them.  A block that was
begun has to be whole.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Container
from dataclasses import field

from tcpmesh.facts import dataclass

CERTIFICATES = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})
REVOCATION_LISTS = frozenset({"X509 CRL"})
PRIVATE_KEYS = frozenset(
    {"PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY"}
)

_BEGIN = re.compile(rb"^-----BEGIN ([^\r\n]*?)-----[ \t\r]*$", re.MULTILINE)


class BrokenPem(ValueError):
    """A block is not whole, or no base64; the text says so in one sentence."""


@dataclass(frozen=True)
class Block:
    """What stands between two lines: `content` in DER, and `text` with the lines.  Neither is
    shown, since it may be a key.
    """

    label: str
    content: bytes = field(repr=False)
    text: bytes = field(repr=False)
    is_encrypted: bool = False


def blocks(data: bytes, labels: Container[str]) -> list[Block]:
    """The blocks of these kinds, in their order.

    :raise BrokenPem: one of any kind is not whole.
    """
    found: list[Block] = []
    begin = _BEGIN.search(data)
    while begin is not None:
        label = begin.group(1)
        end = data.find(b"-----END %b-----" % label, begin.end())
        if end < 0:
            raise BrokenPem(f"the block {_shown(label)!r} has no end")
        stop = end + len(label) + 14
        block = _block(label, data[begin.end() : end], data[begin.start() : stop])
        if block.label in labels:
            found.append(block)
        begin = _BEGIN.search(data, stop)
    return found


def _shown(label: bytes) -> str:
    return label[:40].decode("ascii", "replace")


def _block(label: bytes, body: bytes, text: bytes) -> Block:
    headers, separator, rest = body.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")
    has_headers = bool(separator) and b":" in headers
    encoded = rest if has_headers else body
    try:
        content = base64.b64decode(b"".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BrokenPem(f"the block {_shown(label)!r} is no base64") from None
    is_encrypted = label.startswith(b"ENCRYPTED") or (has_headers and b"ENCRYPTED" in headers)
    return Block(label.decode("ascii", "replace"), content, text + b"\n", is_encrypted)
