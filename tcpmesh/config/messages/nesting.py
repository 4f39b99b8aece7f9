"""Messages inside each other, of which protobuf reads no more than a hundred from bytes.

What is nested deeper can be made of a text, but where it is packed into an `Any` nobody can unpack
it, so it is refused with the text, as by Envoy.  Each level of a mapping of any values
(`google.protobuf.Struct`) is three messages.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError, Message

TOO_DEEP = "nested deeper than the 100 messages inside each other that protobuf reads"


def is_readable(content: Message, packed: bytes) -> bool:
    """Whether the bytes of a message can be read again."""
    try:
        type(content).FromString(packed)
    except DecodeError:
        return False
    return True
