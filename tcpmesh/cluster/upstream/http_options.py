"""What a `cluster.v3.Cluster` says of HTTP: in its `HttpProtocolOptions`, or in fields of its own
as in old times.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions

from tcpmesh.facts import dataclass
from tcpmesh.wire.http1 import HEAD_LIMIT, MOST_FIELDS
from tcpmesh.wire.http1_tunnel import LIMITS, HeadLimits

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_WORD = re.compile(r"(?<![0-9A-Za-z])[a-z]")


class HttpMessages(NamedTuple):
    """The messages that say it."""

    common: Any
    """The `core.v3.HttpProtocolOptions`."""

    http1: Any
    """The `Http1ProtocolOptions`, an empty one where there are none."""

    http2: Any
    """The `Http2ProtocolOptions`; `None` where the cluster does not speak HTTP/2."""


def http_messages(message: Any) -> HttpMessages:
    """Those of a `cluster.v3.Cluster`."""
    if _OPTIONS not in message.typed_extension_protocol_options:
        found = (
            message.http2_protocol_options if message.HasField("http2_protocol_options") else None
        )
        return HttpMessages(
            message.common_http_protocol_options, message.http_protocol_options, found
        )
    from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

    options = HttpProtocolOptions()
    message.typed_extension_protocol_options[_OPTIONS].Unpack(options)
    explicit = options.explicit_http_config
    is_http2 = explicit.HasField("http2_protocol_options")
    return HttpMessages(
        options.common_http_protocol_options,
        Http1ProtocolOptions() if is_http2 else explicit.http_protocol_options,
        explicit.http2_protocol_options if is_http2 else None,
    )


@dataclass(frozen=True)
class TunnelOptions:
    """How proxies are asked for tunnels, and how large their answers may be."""

    limits: HeadLimits = LIMITS
    capitalizes: bool = False
    """Whether words in the names of header fields begin with a capital, in HTTP/1.1."""

    def name(self, name: str) -> str:
        """A name of a field, which is in lower case, as it is sent."""
        if not self.capitalizes:
            return name
        return _WORD.sub(lambda found: found[0].upper(), name)


def tunnel_options(message: Any) -> TunnelOptions:
    """Those of a `cluster.v3.Cluster`."""
    common, http1, _ = http_messages(message)
    fields, kilobytes = common.max_headers_count.value, common.max_response_headers_kb.value
    return TunnelOptions(
        HeadLimits(fields or MOST_FIELDS, kilobytes * 1024 or HEAD_LIMIT),
        http1.header_key_format.HasField("proper_case_words"),
    )
