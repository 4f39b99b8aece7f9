"""What the options of a cluster make of its connections."""

from __future__ import annotations

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from h2.settings import SettingCodes

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.upstream.http2_pools import options_of
from tcpmesh.rpc.http2.options import Http2Options, Keepalive
from tests.mesh import parse
from tests.rpc.called import HTTP2, OPTIONS, RpcTestCase


def options(fields: str, more: str = "") -> Http2Options | None:
    """Those of a cluster with these fields of `http2_protocol_options`."""
    return options_of(parse(Cluster, f"{HTTP2 % fields}\n{more}"))


class OptionTests(SynchronousTestCase):
    """`Http2Options`."""

    def test_nothing(self) -> None:
        """Where nothing is said a host may send a mebibyte for a stream and two for all, it gets
        1024 streams at a time, and an idle connection stays for an hour.
        """
        found = options("")
        self.assertEqual(Http2Options(), found)
        assert found is not None
        self.assertEqual((1 << 20, 1 << 21), (found.stream_window, found.connection_window))
        self.assertEqual((1024, 3600), (found.most_streams, found.idle_timeout))

    def test_all(self) -> None:
        """Each field is taken over."""
        found = options(
            "initial_stream_window_size: 70000, initial_connection_window_size: 80000, "
            "max_concurrent_streams: 7, hpack_table_size: 100, connection_keepalive: {interval: "
            "3s, timeout: 2s, interval_jitter: {value: 50}, connection_idle_interval: 1s}",
            "per_connection_buffer_limit_bytes: 1000\nmax_requests_per_connection: 9",
        )
        wanted = Http2Options(
            stream_window=70000,
            connection_window=80000,
            most_streams=7,
            most_requests=9,
            table_size=100,
            keepalive=Keepalive(3.0, 2.0, 50.0, 1.0),
            high_watermark=1000,
        )
        self.assertEqual(wanted, found)

    def test_older_fields(self) -> None:
        """The fields of the cluster itself count where there are no typed options."""
        found = options_of(
            parse(
                Cluster,
                "http2_protocol_options: {max_concurrent_streams: 3}\n"
                "common_http_protocol_options: {idle_timeout: 5s, max_requests_per_connection: 2}",
            )
        )
        self.assertEqual(Http2Options(most_streams=3, idle_timeout=5.0, most_requests=2), found)

    def test_http1(self) -> None:
        """A cluster that does not speak HTTP/2 has none."""
        self.assertIsNone(options_of(Cluster()))
        typed = (
            f"typed_extension_protocol_options: {{{OPTIONS}: {{'@type': type.googleapis.com/"
            f"{OPTIONS}, explicit_http_config: {{http_protocol_options: {{}}}}}}}}\n"
            "http2_protocol_options: {}"
        )
        self.assertIsNone(options_of(parse(Cluster, typed)))


class WireTests(RpcTestCase):
    """What a host is told, and what becomes of it."""

    def test_settings(self) -> None:
        """Windows and the size of the table are the host's settings."""
        self.add(
            "initial_stream_window_size: 70000, initial_connection_window_size: 80000, "
            "hpack_table_size: 100"
        )
        self.call()
        h2 = self.server.connections[0].h2
        told = h2.remote_settings
        self.assertEqual(
            (70000, 100, 0),
            (
                told.initial_window_size,
                told.header_table_size,
                told[SettingCodes.ENABLE_PUSH],
            ),
        )
        self.assertLessEqual(80000 - 100, h2.outbound_flow_control_window)

    def test_most_requests(self) -> None:
        """A connection serves as many calls as it may, and the next one makes another."""
        self.add(more="max_requests_per_connection: 2")
        for _ in range(5):
            self.assertEqual(["a"], self.call())
        self.assertEqual(3, len(self.server.connections))
        self.assertEqual([2, 1], self.moved("upstream_cx_max_requests", "upstream_cx_active"))

    def test_idle_timeout(self) -> None:
        """A connection without calls is closed after `idle_timeout`."""
        self.add(more="common_http_protocol_options: {idle_timeout: 5s}")
        self.mesh.clusters.remove("c")
        self.mesh.add_cluster(
            "c",
            "127.0.0.2:80",
            more="http2_protocol_options: {}\ncommon_http_protocol_options: {idle_timeout: 5s}",
        )
        self.call()
        self.mesh.network.advance(5)
        self.assertEqual([0], self.moved("upstream_cx_active"))

    def test_fields_of_envoy(self) -> None:
        """Envoy's own header fields go with a call, unless they are not wanted."""
        self.call()
        self.client = self.make_client(envoy="cluster_name: c, skip_envoy_headers: true")
        self.call()
        first, second = (call.fields for call in self.server.calls)
        self.assertEqual("true", first["x-envoy-internal"])
        self.assertIn("x-forwarded-for", first)
        self.assertEqual(set(), {"x-envoy-internal", "x-forwarded-for"} & set(second))
