"""HTTP/2 as a client speaks it (RFC 9113), begun without an upgrade: h2, set up for a proxy.

h2 takes a connection for closed as soon as it has read GOAWAY.  A server that leaves in an orderly
way answers after it, so whoever reads frames tells that one apart, and h2 never sees it.

Only what speaks HTTP/2 imports this, and is imported only where a configuration asks for it:
proxies without it do not pay for h2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

Fields = tuple[tuple[str, str], ...]
"""Header fields, those with a colon first; where they were received, each character is a byte."""


class Http2Codec(H2Connection):
    """The state of one connection.  It remembers only a few of the streams that are over: a
    connection may live for months.
    """

    MAX_CLOSED_STREAMS = 256

    def __init__(self, most_fields: int, settings: Mapping[Any, int]) -> None:
        """
        :param most_fields: bytes of the header fields of one response.
        :param settings: what else the peer is told.
        """
        super().__init__(H2Configuration(client_side=True, header_encoding="latin-1"))
        told: dict[Any, int] = {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.MAX_HEADER_LIST_SIZE: most_fields,
        }
        self.local_settings = Settings(client=True, initial_values={**told, **settings})
        self.initiate_connection()

    def ignore_length(self, stream: int) -> None:
        """The `content-length` of a response has no meaning: it opens a tunnel, and h2 knows of
        none.
        """
        known = self.streams.get(stream)
        if known is not None:
            known._expected_content_length = None

    def stop(self) -> None:
        """Read no more: what h2 reads frames with are methods of its own, which would keep it."""
        self._frame_dispatch_table: dict[Any, Any] = {}


def encoded(fields: Fields) -> list[tuple[bytes, bytes]]:
    """Header fields as they are sent; texts may hold bytes that are no UTF-8, as surrogates."""
    return [
        (name.encode("ascii"), value.encode("utf-8", "surrogateescape")) for name, value in fields
    ]
