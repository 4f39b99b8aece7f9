"""The listener filter `proxy_protocol`: takes a client's addresses from the PROXY header that a
proxy before this one has sent.

The header is consumed; source and destination become the connection's remote and local address, and
a destination that is not the socket's own counts as restored.  UNKNOWN (version 1) and LOCAL
(version 2) leave the addresses as they are.  A header that is wrong in any way closes the client,
and so does none where none is not allowed.

Extensions (TLVs) named by `rules` go to the dynamic metadata or, with `tlv_location` FILTER_STATE,
to the filter state `envoy.network.proxy_protocol.tlv`; of several of one type the first counts, in
the filter state the last.  Bytes of theirs that are not UTF-8 become `!`, unless
`value_string_encoding` asks for base64.

What the header says is there for a PROXY header to the upstream, with those extensions that
`pass_through_tlvs` lets pass.

Stricter than Envoy's: an IPv6 address with a zone is none.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from envoy.config.core.v3.proxy_protocol_pb2 import ProxyProtocolConfig
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from zope.interface import implementer

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.proxy_header import HEADER, PassThrough, ReadHeader
from tcpmesh.facts import dataclass
from tcpmesh.interfaces import IInspector, IListenerFilter
from tcpmesh.logs.debug import debug_logger
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.stats.store import Store, sanitize
from tcpmesh.values.address import Address
from tcpmesh.values.filter_status import InspectResult
from tcpmesh.values.stream.filter_state import Field, StateObject
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.transport_socket_options import ProxyProtocolOptions
from tcpmesh.wire.proxy_protocol import (
    FIRST,
    V1_SIGNATURE,
    V2_SIGNATURE,
    BadHeader,
    Header,
    parse,
    version_of,
)

debug_log = debug_logger("filter")

NAMESPACE = "envoy.filters.listener.proxy_protocol"
"""Where a rule without `metadata_namespace` puts what it finds."""

FILTER_STATE = "envoy.network.proxy_protocol.tlv"

SIGNATURES = {1: V1_SIGNATURE, 2: V2_SIGNATURE}

_NO_UTF8 = re.compile("[\udc80-\udcff]")
"""Bytes that are no UTF-8, once they are decoded with `surrogateescape`: without a call for each
byte, of which a client may send 64 KiB.
"""


class ProxyProtocolStats:
    """The statistics under `proxy_proto.` or `proxy_proto.<stat_prefix>.`, and the one from before
    these.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        scope = self.scope = store.scope(
            f"proxy_proto.{sanitize(prefix)}" if prefix else "proxy_proto"
        )
        self.not_found_allowed = scope.counter("not_found_allowed")
        self.not_found_disallowed = scope.counter("not_found_disallowed")
        self.found = {
            version: scope.counter(f"versions.v{version}.found") for version in SIGNATURES
        }
        self.disallowed = {
            version: scope.counter(f"versions.v{version}.disallowed") for version in SIGNATURES
        }
        self.errors = {
            version: scope.counter(f"versions.v{version}.error") for version in SIGNATURES
        }
        self.error = store.counter("downstream_cx_proxy_proto_error")


@dataclass(frozen=True)
class Extensions(StateObject):
    """What rules have found, by their keys."""

    values: Mapping[str, str]

    @property
    def text(self) -> str:
        """As JSON."""
        return json.dumps(dict(self.values), ensure_ascii=False, separators=(",", ":"))

    @property
    def typed(self) -> object:
        """By the keys."""
        return dict(self.values)

    def field(self, name: str) -> Field:
        """The value of one key."""
        return self.values.get(name)


@extension(proxy_protocol_pb2.ProxyProtocol)
@implementer(IListenerFilter)
class ProxyProtocol:
    """Built from a `ProxyProtocol` message."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        refused = {ProxyProtocolConfig.Version.Name(each) for each in message.disallowed_versions}
        self.signatures = {
            version: each for version, each in SIGNATURES.items() if f"V{version}" not in refused
        }
        """Of the versions that are allowed."""
        self.plain_is_allowed: bool = message.allow_requests_without_proxy_protocol
        rules = {rule.tlv_type: rule.on_tlv_present for rule in message.rules}
        self._rules = {
            kind: (each.metadata_namespace or NAMESPACE, each.key, _decoder(each))
            for kind, each in rules.items()
        }
        self._passing = PassThrough(message)
        self._to_filter_state: bool = message.tlv_location == message.FILTER_STATE
        # Last, for it is to be given back.
        self.stats = ProxyProtocolStats(context.store, message.stat_prefix)

    def accept(self, connection: Connection) -> HeaderInspector:
        """The header has to come."""
        return HeaderInspector(self, connection)

    def close(self) -> None:
        """The listener takes no more clients."""
        self.stats.scope.close()

    def apply(self, header: Header, connection: Connection) -> None:
        """Let the connection have what its header says."""
        info = connection.stream_info
        if header.source is not None and header.destination is not None:
            info.restored_remote = Address(*header.source)
            destination = Address(*header.destination)
            if destination != info.local_address:
                info.restored_local = destination
        if self._rules and header.extensions:
            self._keep(header, info)
        said = ProxyProtocolOptions(
            info.remote_address, info.local_address, self._passing.of(header.extensions)
        )
        info.set_filter_state(HEADER, ReadHeader(said), read_only=True)

    def _keep(self, header: Header, info: StreamInfo) -> None:
        ruled = [(*self._rules[kind], value) for kind, value in header.tlvs if kind in self._rules]
        if self._to_filter_state:
            values = {key: decode(value) for _, key, decode, value in ruled}
            if values:
                extensions = Extensions(MappingProxyType(values))
                info.set_filter_state(FILTER_STATE, extensions, read_only=True)
            return
        found: dict[str, dict[str, str]] = {}
        for namespace, key, decode, value in ruled:
            found.setdefault(namespace, {}).setdefault(key, decode(value))
        for namespace, each in found.items():
            info.add_metadata(namespace, each)


def _decoder(pair: Any) -> Callable[[bytes], str]:
    """What makes a text of the bytes of an extension, for a `KeyValuePair`."""
    if pair.value_string_encoding == pair.BASE64:
        return lambda value: b64encode(value).decode("ascii")
    return lambda value: _NO_UTF8.sub("!", value.decode("utf-8", "surrogateescape"))


@implementer(IInspector)
class HeaderInspector:
    """Waits for the header of one client."""

    __slots__ = ("_connection", "_filter", "wanted")

    def __init__(self, owner: ProxyProtocol, connection: Connection) -> None:
        self._filter = owner
        self._connection = connection
        self.wanted = FIRST

    def inspect(self, data: bytearray) -> int | InspectResult:
        """Consume the header, once it is there."""
        owner = self._filter
        stats = owner.stats
        if owner.plain_is_allowed and not any(
            _may_begin(each, data) for each in owner.signatures.values()
        ):
            stats.not_found_allowed.tally += 1
            return 0
        try:
            version = version_of(data)
            if version is not None and version not in owner.signatures:
                stats.found[version].tally += 1
                stats.disallowed[version].tally += 1
                return InspectResult.CLOSE
            header = parse(data)
        except BadHeader as error:
            return self._refuse(error)
        if isinstance(header, int):
            self.wanted = max(self.wanted, header)
            return InspectResult.WAIT
        stats.found[header.version].tally += 1
        owner.apply(header, self._connection)
        return header.length

    def _refuse(self, error: BadHeader) -> InspectResult:
        stats = self._filter.stats
        counter = stats.errors[error.version] if error.version else stats.not_found_disallowed
        counter.tally += 1
        stats.error.tally += 1
        if debug_log.enabled:
            number = self._connection.stream_info.id
            debug_log.debug("[C{id}] no PROXY header: {error}", id=number, error=error)
        return InspectResult.CLOSE


def _may_begin(signature: bytes, data: bytearray) -> bool:
    """Whether what begins with these bytes may have this signature."""
    return signature.startswith(data[: len(signature)])
