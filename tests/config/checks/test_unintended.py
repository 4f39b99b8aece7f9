"""What is legal and surely not meant is said, and stops nobody."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import GOOD, changed, load_text

MORE_CLUSTER = """\
  - name: {name}
    type: {kind}
    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{endpoint}]}}]}}
"""
ENDPOINT = "{endpoint: {address: {socket_address: {address: 127.0.0.3, port_value: 80}}}}"
FILTERS = "envoy.extensions.filters"


def remarked(text: str) -> list[str]:
    """The warnings of a text that loads, without their places."""
    return [f"{each.path}: {each.text}" for each in load_text(text).warnings]


def with_cluster(name: str, kind: str = "STATIC", endpoint: str = ENDPOINT) -> str:
    """The good bootstrap with a cluster more."""
    return GOOD + MORE_CLUSTER.format(name=name, kind=kind, endpoint=endpoint)


class UnintendedTests(SynchronousTestCase):
    """Parts of a configuration that do nothing."""

    def test_good(self) -> None:
        """A configuration in which everything is used is not commented on."""
        self.assertEqual([], remarked(GOOD))

    def test_no_listener(self) -> None:
        """A proxy without a listener serves nobody."""
        self.assertEqual([": there is no listener: no client will be served"], remarked("{}"))

    def test_no_filter(self) -> None:
        """A chain without filters closes all its connections."""
        text = GOOD[: GOOD.index("    - filters:")] + "    - filters: []\n"

        (found,) = remarked(text)
        self.assertIn("no filter: every connection is closed", found)

    def test_no_endpoints(self) -> None:
        """A cluster without endpoints serves nobody, be they addresses or names."""
        for kind in ("STATIC", "STRICT_DNS"):
            text = with_cluster("web2", kind, "").replace("cluster: web\n", "cluster: web2\n")
            self.assertIn(
                "static_resources.clusters[1]: this cluster has no endpoints: it will serve nobody",
                remarked(text),
            )

    def test_nobody_uses_it(self) -> None:
        """A cluster that no field names is told, at its name."""
        self.assertEqual(
            ["static_resources.clusters[1].name: nothing sends anybody to the cluster 'lone'"],
            remarked(with_cluster("lone")),
        )

    def test_used_elsewhere(self) -> None:
        """A cluster may be used by another one, or with a weight."""
        aggregate = (
            "  - name: web\n    lb_policy: CLUSTER_PROVIDED\n    cluster_type:\n"
            "      name: envoy.clusters.aggregate\n      typed_config:\n"
            '        "@type": type.googleapis.com/envoy.extensions'
            ".clusters.aggregate.v3.ClusterConfig\n"
            "        clusters: [inner]\n"
        )
        inner = MORE_CLUSTER.format(name="inner", kind="STATIC", endpoint=ENDPOINT)
        self.assertEqual([], remarked(GOOD[: GOOD.index("  - name: web")] + aggregate + inner))
        weighted = "weighted_clusters: {clusters: [{name: web, weight: 1}, {name: w, weight: 1}]}"
        self.assertEqual([], remarked(with_cluster("w").replace("cluster: web\n", weighted + "\n")))

    def test_chosen_while_running(self) -> None:
        """Where filter state may choose the cluster of a connection, none is called unused."""
        state = (
            "    - filters:\n"
            "      - name: choose\n        typed_config:\n"
            f'          "@type": type.googleapis.com/{FILTERS}.network.set_filter_state.v3.Config\n'
            "          on_new_connection:\n"
            "          - object_key: envoy.tcp_proxy.cluster\n"
            "            format_string: {text_format_source: {inline_string: lone}}\n"
        )
        self.assertEqual([], remarked(with_cluster("lone").replace("    - filters:\n", state)))

    def test_circle(self) -> None:
        """An upstream that is the listener itself would get its own clients, for ever."""
        text = changed(("address: 127.0.0.2", "address: 127.0.0.1"), ("8080", "10000"))

        self.assertEqual(1, len(remarked(text)))
        self.assertIn("this is where the listener 'front' is", remarked(text)[0])

    def test_by_another_listener(self) -> None:
        """Another listener, whose clients go elsewhere, is a host like any other; where it sends
        them back to the first one it is a circle.
        """
        front = GOOD[GOOD.index("  - name: front") : GOOD.index("  clusters:")]
        second = front.replace("front", "second").replace("10000", "10001")
        second = second.replace("cluster: web", "cluster: inner")
        outer = changed(("address: 127.0.0.2", "address: 127.0.0.1"), ("8080", "10001"))
        outer = outer.replace("  clusters:\n", f"{second}  clusters:\n")
        for port, told in ((80, 0), (10000, 2)):
            endpoint = ENDPOINT.replace("127.0.0.3", "127.0.0.1").replace("80}", f"{port}}}")
            inner = MORE_CLUSTER.format(name="inner", kind="STATIC", endpoint=endpoint)
            self.assertEqual(told, len(remarked(outer + inner)), port)

    def test_circle_by_all_addresses(self) -> None:
        """So would one at a loopback address of a listener that is on all of them, and none
        elsewhere.
        """
        for listener, host, is_told in (
            ("0.0.0.0", "127.0.0.2", True),
            ("'::'", "'::1'", True),
            ("0.0.0.0", "0.0.0.0", True),
            ("0.0.0.0", "'::1'", False),
            ("0.0.0.0", "192.0.2.1", False),
        ):
            text = changed(
                ("address: 127.0.0.2", f"address: {host}"),
                ("address: 127.0.0.1", f"address: {listener}"),
                ("8080", "10000"),
            )
            self.assertEqual(is_told, bool(remarked(text)), (listener, host))

    def test_no_circle(self) -> None:
        """A listener that binds no port leaves its address to the upstream."""
        text = changed(
            ("address: 127.0.0.2", "address: 127.0.0.1"),
            ("8080", "10000"),
            ("  - name: front", "  - name: front\n    bind_to_port: false"),
        )
        self.assertEqual([], remarked(text))

    def test_port_0(self) -> None:
        """Nothing can be reached at port 0."""
        (found,) = remarked(changed(("port_value: 8080", "port_value: 0")))

        self.assertIn("socket_address: nothing can be reached at port 0", found)
