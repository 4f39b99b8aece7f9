"""What Envoy demands of flushes and sinks of statistics."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import GOOD, judged, said, warned

METRICS = "type.googleapis.com/envoy.config.metrics.v3"


def sink(kind: str, text: str) -> str:
    """The good bootstrap with a sink."""
    typed = f'{{"@type": {METRICS}.{kind}, {text}}}'
    return f"{GOOD}stats_sinks: [{{name: x, typed_config: {typed}}}]\n"


def udp(address: str, port: str = "port_value: 8125") -> str:
    """An address as people write it for statsd."""
    return f"address: {{socket_address: {{protocol: UDP, address: {address}, {port}}}}}"


class SinkTests(SynchronousTestCase):
    """Where statistics may be sent to."""

    def assert_refused(self, text: str, *wanted: str) -> None:
        """These and no other problems, each in part."""
        found = judged(text)
        self.assertEqual(len(wanted), len(found), found)
        for part, line in zip(wanted, found, strict=True):
            self.assertIn(part, line)

    def test_addresses(self) -> None:
        """An address is numeric, of IPv4 or IPv6, or a path; that it is UDP may be said."""
        for kind in ("StatsdSink", "DogStatsdSink"):
            for address in ("127.0.0.1", "'::1'"):
                self.assertEqual([], said(sink(kind, udp(address))))
            self.assertEqual([], said(sink(kind, "address: {pipe: {path: /run/statsd.sock}}")))
            self.assert_refused(sink(kind, udp("localhost")), "malformed IP address: 'localhost'")
            self.assert_refused(
                sink(kind, udp("127.0.0.1", "named_port: x")),
                "named_port: a named port cannot be resolved here",
            )

    def test_nowhere(self) -> None:
        """A sink sends somewhere, and a datagram has room for something."""
        self.assert_refused(sink("StatsdSink", ""), "one of address, tcp_cluster_name is required")
        self.assert_refused(
            sink("DogStatsdSink", f"{udp('127.0.0.1')}, max_bytes_per_datagram: 0"),
            "the value must be greater than 0",
        )

    def test_cluster(self) -> None:
        """Over TCP there must be the cluster, and a node with names, which options may give."""
        node = "node: {id: a, cluster: b}\n"
        right = sink("StatsdSink", "tcp_cluster_name: web")
        self.assertEqual([], said(node + right))
        self.assert_refused(
            node + sink("StatsdSink", "tcp_cluster_name: wob"),
            "tcp_cluster_name: no static cluster is named 'wob' (did you mean 'web'?)",
        )
        for half in ("", "node: {id: a}\n", "node: {cluster: b}\n"):
            self.assert_refused(half + right, "demands that the node has an id and a cluster")
        given = {"service-node": "a", "service-cluster": "b"}
        self.assertEqual([], said(right, node_arguments=given))

    def test_used(self) -> None:
        """The cluster of a sink serves somebody."""
        more = GOOD[GOOD.index("  - name: web") :].replace("web", "statsd")
        text = f"{GOOD}{more}node: {{id: a, cluster: b}}\n"
        self.assertTrue(any("nothing sends anybody" in line for line in warned(text)))
        text += sink("StatsdSink", "tcp_cluster_name: statsd").removeprefix(GOOD)
        self.assertFalse(any("nothing sends anybody" in line for line in warned(text)))

    def test_never(self) -> None:
        """Of sinks that tcpmesh will not have it says why."""
        (line,) = said(sink("HystrixSink", "num_buckets: 10"))
        self.assertIn("the Hystrix dashboard shows requests of HTTP", line)


class FlushTests(SynchronousTestCase):
    """When statistics are flushed."""

    def test_one_of_two(self) -> None:
        """They are flushed after intervals, or when asked for, not both."""
        on_admin = f"{GOOD}stats_flush_on_admin: true\n"
        self.assertEqual([], said(on_admin))
        (line,) = said(on_admin + "stats_flush_interval: 1s\n")
        self.assertIn("only one of stats_flush_interval and stats_flush_on_admin", line)

    def test_eviction(self) -> None:
        """What is not used any more is to go after a whole number of flushes."""
        self.assertEqual([], said(f"{GOOD}stats_eviction_interval: 10s\n"))
        self.assertEqual([], said(f"{GOOD}stats_eviction_interval: 6s\nstats_flush_interval: 2s\n"))
        (line,) = said(f"{GOOD}stats_eviction_interval: 6s\n")
        self.assertIn("it must be a multiple of stats_flush_interval, 5 s", line)
