"""What Envoy demands of PROXY headers to hosts."""

from __future__ import annotations

from tests.config.checks.test_checks import CheckTests, cluster, filters, network_filter
from tests.config.texts import problems_of

SOCKETS = "type.googleapis.com/envoy.extensions.transport_sockets."
RAW = f"{{name: raw, typed_config: {{'@type': {SOCKETS}raw_buffer.v3.RawBuffer}}}}"
ENTRY = "an extension needs a value of one byte at least, or a format_string"
BOTH = "an extension has either a value or a format_string"
FORMAT = "format_string: {text_format_source: {inline_string: x}}"


def header(fields: str, inner: str = RAW) -> str:
    """A cluster whose hosts are sent headers with this `ProxyProtocolConfig`."""
    kind = f"{SOCKETS}proxy_protocol.v3.ProxyProtocolUpstreamTransport"
    config = f"'@type': {kind}, config: {{{fields}}}, transport_socket: {inner}"
    return cluster(f"transport_socket: {{name: p, typed_config: {{{config}}}}}")


def proxy(fields: str) -> str:
    """A tcp_proxy with these fields."""
    return filters(
        network_filter("tcp_proxy.v3.TcpProxy", f", stat_prefix: t, cluster: other, {fields}")
    )


class ProxyHeaderTests(CheckTests):
    """Extensions, and the inner transport socket."""

    def test_extensions(self) -> None:
        """An extension has a value or a format, not both, be it added by the cluster or by a
        tcp_proxy.
        """
        for text in ("version: V2, added_tlvs: [%s]", "version: V1, added_tlvs: [%s]"):
            self.assert_fine(header(text % "{type: 1, value: YQ==}"))
            self.assert_fine(header(text % f"{{{FORMAT}}}"))
            self.assert_says(ENTRY, header(text % "{type: 1}"))
            self.assert_says(BOTH, header(text % f"{{type: 1, value: YQ==, {FORMAT}}}"))
            self.assert_says("less than 256", header(text % "{type: 256, value: YQ==}"))
            self.assert_says("NOPE", header(text % f"{{{FORMAT}}}".replace("x}", "'%NOPE%'}")))
        self.assert_says(ENTRY, proxy("proxy_protocol_tlvs: [{type: 1}]"))
        self.assert_says(BOTH, proxy(f"proxy_protocol_tlvs: [{{type: 1, value: YQ==, {FORMAT}}}]"))

    def test_inner_socket(self) -> None:
        """The inner transport socket has to be there, and to be one towards hosts; it may be of the
        same type.
        """
        kind = f"{SOCKETS}tls.v3.DownstreamTlsContext"
        downstream = f"{{name: tls, typed_config: {{'@type': {kind}}}}}"
        self.assert_says("here one for hosts is needed", header("", downstream))
        named = "{name: envoy.transport_sockets.raw_buffer}"
        self.assert_says("has no typed_config", header("", named))
        kind = f"{SOCKETS}proxy_protocol.v3.ProxyProtocolUpstreamTransport"
        same = f"{{name: p, typed_config: {{'@type': {kind}, transport_socket: {RAW}}}}}"
        self.assert_fine(header("", same))

    def test_acted_on(self) -> None:
        """All of it is acted on."""
        rule = "pass_through_tlvs: {match_type: INCLUDE, tlv_type: [1]}"
        self.assertEqual((), problems_of(header(f"version: V2, {rule}")))
