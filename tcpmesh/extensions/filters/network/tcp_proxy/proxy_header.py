"""What a PROXY header to a host is to say of a client of a tcp_proxy.

That is what a header from the client has said, if there was any, else the client's addresses and
the extensions of `proxy_protocol_tlvs`; where there are both, `proxy_protocol_tlv_merge_policy`
says which extensions count.  It is put into the filter state, where transport sockets look, and
only where one wants it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from tcpmesh.accesslog.tlvs import TlvEntries
from tcpmesh.connection.proxy_header import HEADER, ReadHeader
from tcpmesh.facts import dataclass
from tcpmesh.registry import WorkerContext
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.transport_socket_options import ProxyProtocolOptions
from tcpmesh.wire.proxy_protocol import block_of, tlvs_in, tlvs_of

OVERWRITE = tcp_proxy_pb2.OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD
APPEND = tcp_proxy_pb2.APPEND_IF_EXISTS_OR_ADD


@dataclass(frozen=True)
class CompleteHeader(ReadHeader):
    """One that nothing is to be added to."""


class ProxyHeader:
    """What a `TcpProxy` message says of it."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._clock = context.network.clock
        self._policy: int = message.proxy_protocol_tlv_merge_policy
        self._tlvs = TlvEntries(message.proxy_protocol_tlvs, context.node)

    def complete(self, info: StreamInfo) -> None:
        """See to it that the filter state has all that the header is to say; once for each
        client.
        """
        read = info.filter_state.get(HEADER)
        if isinstance(read, CompleteHeader):
            return
        if not isinstance(read, ReadHeader):
            said = ProxyProtocolOptions(info.remote_address, info.local_address, self._own(info))
        elif not self._tlvs or self._policy not in (OVERWRITE, APPEND):
            said = read.options
        else:
            said = replace(read.options, extensions=self._merged(read.options.extensions, info))
        info.set_filter_state(HEADER, CompleteHeader(said), read_only=True)

    def _merged(self, theirs: bytes, info: StreamInfo) -> bytes:
        own = self._own(info)
        if self._policy == APPEND:
            return theirs + own
        types = {kind for kind, _ in tlvs_in(own)}
        return own + tlvs_of(theirs, lambda kind: kind not in types)

    def _own(self, info: StreamInfo) -> bytes:
        if not self._tlvs:
            return b""
        return block_of(self._tlvs.of(info, Moment(self._clock.seconds(), time.time())))
