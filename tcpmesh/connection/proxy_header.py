"""PROXY headers as filters, tcp_proxy and the transport socket that writes them have to do with
them: what one from a client has said, and which of its extensions pass.
"""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3.proxy_protocol_pb2 import ProxyProtocolPassThroughTLVs

from tcpmesh.facts import dataclass
from tcpmesh.values.stream.filter_state import StateObject
from tcpmesh.values.stream.transport_socket_options import ProxyProtocolOptions
from tcpmesh.wire.proxy_protocol import tlvs_of

HEADER = "envoy.network.proxy_protocol_options"
"""Where the filter state has a `ReadHeader`, of a client that came with a PROXY header."""


@dataclass(frozen=True)
class ReadHeader(StateObject):
    """What a PROXY header to the upstream is to say, as far as one from the client has said it; a
    log does not show it.
    """

    options: ProxyProtocolOptions


class PassThrough:
    """Which extensions pass (`ProxyProtocolPassThroughTLVs`); none where nothing is said.

    :param message: one that has the field `pass_through_tlvs`.
    """

    def __init__(self, message: Any) -> None:
        rule = message.pass_through_tlvs
        is_given = message.HasField("pass_through_tlvs")
        self._all = is_given and rule.match_type == ProxyProtocolPassThroughTLVs.INCLUDE_ALL
        by_type = is_given and rule.match_type == ProxyProtocolPassThroughTLVs.INCLUDE
        self._types = frozenset(rule.tlv_type if by_type else ())

    def of(self, extensions: bytes) -> bytes:
        """Of a block of extensions, those that pass."""
        if self._all or not extensions:
            return extensions
        return tlvs_of(extensions, self._types.__contains__) if self._types else b""
