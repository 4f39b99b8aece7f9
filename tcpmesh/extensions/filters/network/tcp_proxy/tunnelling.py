"""What the `tunneling_config` of a tcp_proxy says: the request that opens a client's tunnel, and
what is kept of its answer.
"""

from __future__ import annotations

import time
from typing import Any

from tcpmesh.accesslog.operators import Operators
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.config.fields.headers import with_headers
from tcpmesh.config.fields.operators import names_of_formatters
from tcpmesh.connection.state_objects import Flag
from tcpmesh.facts import dataclass
from tcpmesh.interfaces import IRequestIds
from tcpmesh.registry import WorkerContext, build
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE, StateObject
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

DISABLED = "envoy.tcp_proxy.disable_tunneling"
"""Where the filter state has a `Flag`: true, and a client has no tunnel."""

RESPONSE_HEADERS = "envoy.tcp_proxy.propagate_response_headers"
RESPONSE_TRAILERS = "envoy.tcp_proxy.propagate_response_trailers"
"""Where the filter state has what is kept of an answer."""

NAMESPACE = "envoy.filters.network.tcp_proxy"
REQUEST_ID_HEADER = "x-request-id"
REQUEST_ID_KEY = "tunnel_request_id"

_NONE_OF_AN_AUTHORITY = dict.fromkeys([*range(0x21), 0x7F])
"""What an operator may have found, such as the name that a client asks for, and that would end the
line of a request.
"""

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class HeaderFields(StateObject):
    """The header fields of an answer; only JSON shows them."""

    fields: Fields

    @property
    def typed(self) -> object:
        """As Envoy's message has them."""
        return {"headers": [{"key": name, "value": value} for name, value in self.fields]}


@dataclass(frozen=True)
class TunnelRequest:
    """What a proxy is asked."""

    is_post: bool
    authority: str
    path: str
    """Of a POST."""

    added: Fields
    """Header fields beyond those that each request has."""


class Tunnelling:
    """What a `TcpProxy.TunnelingConfig` says.

    :raise FormatError: where Envoy refuses a text in it.
    """

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._clock = context.network.clock
        known = Operators(context.node, names_of_formatters(message.formatters))
        self._host = TextFormat(message.hostname, known=known)
        self._added = [
            (option, TextFormat(option.header.value, omit_empty=True, known=known))
            for option in message.headers_to_add
        ]
        self.is_post: bool = message.use_post
        self._path: str = message.post_path or "/"
        self._keeps_headers: bool = message.propagate_response_headers
        self._keeps_trailers: bool = message.propagate_response_trailers
        self._ids: IRequestIds | None = None
        if message.request_id_extension.HasField("typed_config"):
            self._ids = build(message.request_id_extension.typed_config, context)
        self._id_header = (message.request_id_header or REQUEST_ID_HEADER).lower()
        self._id_key: str = message.request_id_metadata_key or REQUEST_ID_KEY

    def is_for(self, info: StreamInfo) -> bool:
        """Whether a client is to have a tunnel."""
        if info.filter_state is NO_FILTER_STATE:
            return True
        found = info.filter_state.get(DISABLED)
        return not (isinstance(found, Flag) and found.value)

    def request(self, info: StreamInfo) -> TunnelRequest:
        """The request for a client."""
        at = Moment(self._clock.seconds(), time.time())
        values = [(option, words.format(info, at)) for option, words in self._added]
        added = with_headers([], values)
        if self._ids is not None:
            found = self._ids.new()
            added = [*(each for each in added if each[0] != self._id_header)]
            added.append((self._id_header, found))
            info.add_metadata(NAMESPACE, {self._id_key: found})
        authority = self._host.format(info, at).translate(_NONE_OF_AN_AUTHORITY)
        return TunnelRequest(self.is_post, authority, self._path, tuple(added))

    def keep_headers(self, info: StreamInfo, fields: Fields) -> None:
        """An answer has come, whatever it says."""
        if self._keeps_headers:
            info.set_filter_state(RESPONSE_HEADERS, HeaderFields(fields))

    def keep_trailers(self, info: StreamInfo, fields: Fields) -> None:
        """Its last fields have come."""
        if self._keeps_trailers:
            info.set_filter_state(RESPONSE_TRAILERS, HeaderFields(fields))
