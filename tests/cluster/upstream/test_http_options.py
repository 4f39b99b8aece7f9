"""What clusters say of HTTP."""

from __future__ import annotations

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.upstream.http_options import http_messages, tunnel_options
from tcpmesh.wire.http1_tunnel import LIMITS, HeadLimits
from tests.mesh import parse

TYPED = "typed_extension_protocol_options: {%s: {'@type': type.googleapis.com/%s, %s}}"


def typed(text: str) -> Cluster:
    """A cluster with these `HttpProtocolOptions`."""
    name = HttpProtocolOptions.DESCRIPTOR.full_name
    return parse(Cluster, TYPED % (name, name, text))


class MessagesTests(SynchronousTestCase):
    """Where it is said."""

    def test_protocols(self) -> None:
        """It is HTTP/1.1 where nothing says that it is HTTP/2; typed options count before those of
        old times.
        """
        http1 = "explicit_http_config: {http_protocol_options: {}}"
        http2 = "explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 3}}"
        old = parse(Cluster, "http2_protocol_options: {max_concurrent_streams: 4}")
        both = typed(http1)
        both.MergeFrom(old)
        streams = [
            found and found.max_concurrent_streams.value
            for found in (
                http_messages(each).http2
                for each in (Cluster(), typed(http1), typed(http2), old, both)
            )
        ]
        self.assertEqual([None, None, 3, 4, None], streams)


class TunnelOptionsTests(SynchronousTestCase):
    """What of it tunnels go by."""

    def test_defaults(self) -> None:
        """Nothing is said of most clusters."""
        self.assertEqual((LIMITS, False), (tunnel_options(Cluster()).limits, False))

    def test_limits(self) -> None:
        """How large an answer may be, in either place."""
        text = "common_http_protocol_options: {max_headers_count: 5, max_response_headers_kb: 2}"
        explicit = f"{text}, explicit_http_config: {{http2_protocol_options: {{}}}}"
        for message in (typed(explicit), parse(Cluster, f"{{{text}}}")):
            self.assertEqual(HeadLimits(5, 2048), tunnel_options(message).limits)

    def test_names(self) -> None:
        """Words in names of fields begin with capitals only where that is said."""
        proper = "http_protocol_options: {header_key_format: {proper_case_words: {}}}"
        for message, name in (
            (Cluster(), "x-ab-1c"),
            (typed(f"explicit_http_config: {{{proper}}}"), "X-Ab-1c"),
            (parse(Cluster, proper), "X-Ab-1c"),
        ):
            self.assertEqual(name, tunnel_options(message).name("x-ab-1c"))
