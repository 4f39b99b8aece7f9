"""What Envoy demands in code."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import GOOD, changed, environ, judged, problems_of, said, warned

NETWORK = "type.googleapis.com/envoy.extensions.filters.network."
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
ENDPOINT = "{endpoint: {address: {socket_address: {address: %s, port_value: 9}}}}"


class CheckTests(SynchronousTestCase):
    """Base: asserts on what is said of a text, leaving out what is not supported yet."""

    def assert_says(self, expected: str, text: str, **options: Any) -> None:
        """Assert that one problem has these words."""
        found = judged(text, **options)
        self.assertTrue(any(expected in line for line in found), f"{expected!r} not in {found}")

    def assert_fine(self, text: str, **options: Any) -> None:
        """Assert that there is no problem."""
        self.assertEqual([], judged(text, **options))


def listener(body: str) -> str:
    """The good bootstrap with another listener of these fields, in flow style."""
    return changed(("  clusters:\n", f"  - {{{body}}}\n  clusters:\n"))


def filters(*items: str) -> str:
    """... with these filters."""
    address = "address: {socket_address: {address: 127.0.0.1, port_value: 10001}}"
    return listener(f"name: b, {address}, filter_chains: [{{filters: [{', '.join(items)}]}}]")


XDS = "type.googleapis.com/xds.type.matcher.v3."
INPUTS = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3."
GO = (
    "{action: {name: x, typed_config: {'@type': type.googleapis.com/google.protobuf.StringValue, "
    "value: a}}}"
)


def asked(name: str, fields: str = "") -> str:
    """An input of a matching tree."""
    return f"{{name: x, typed_config: {{'@type': {INPUTS}{name}, {fields}}}}}"


def network_filter(type_name: str, fields: str = "") -> str:
    """A filter named after its type."""
    return (
        f"{{name: {type_name.split('.')[0]}, typed_config: {{'@type': "
        f"{NETWORK}{type_name}{fields}}}}}"
    )


def matches(*items: str) -> str:
    """... with an empty filter chain for each match."""
    address = "address: {socket_address: {address: 127.0.0.1, port_value: 10001}}"
    chains = ", ".join(f"{{filter_chain_match: {item}, filters: []}}" for item in items)
    return listener(f"name: b, {address}, filter_chains: [{chains}]")


def cluster(body: str) -> str:
    """The good bootstrap with another cluster of these fields, in flow style."""
    return f"{GOOD}  - {{name: other, {body}}}\n"


def assignment(*addresses: str) -> str:
    """A load_assignment with these addresses."""
    return (
        f"load_assignment: {{cluster_name: other, endpoints: [{{lb_endpoints: "
        f"[{', '.join(ENDPOINT % a for a in addresses)}]}}]}}"
    )


TCP = network_filter("tcp_proxy.v3.TcpProxy", ", stat_prefix: s, cluster: web")
RBAC = network_filter("rbac.v3.RBAC", ", stat_prefix: r")


RESOLVERS = "type.googleapis.com/envoy.extensions.network.dns_resolver."
POLICIES = "type.googleapis.com/envoy.extensions.load_balancing_policies."
AGGREGATE = (
    "cluster_type: {name: x, typed_config: "
    "{'@type': type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig, "
    "clusters: [web]}}"
)


def dns_cluster(fields: str = "") -> str:
    """A cluster_type of a DnsCluster with these fields, in flow style."""
    type_url = "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster"
    return f"cluster_type: {{name: x, typed_config: {{'@type': {type_url}, {fields}}}}}"


class BootstrapTests(CheckTests):
    """Names and addresses in a bootstrap."""

    def test_duplicate_cluster(self) -> None:
        """Two clusters of one name are refused, and where the first is."""
        self.assert_says(
            "duplicate cluster 'web', the first is at --config-yaml:17:11", f"{GOOD}  - name: web\n"
        )

    def test_duplicate_address(self) -> None:
        """Two listeners on one address are refused, however it is spelt."""
        six = GOOD.replace("        address: 127.0.0.1", "        address: '::1'")
        again = (
            "  - {name: b, address: {socket_address: {address: '0:0::1', port_value: "
            "10000}}, filter_chains: {}}\n  clusters:\n"
        )
        self.assert_says("duplicate address [::1]:10000", six.replace("  clusters:\n", again))
        self.assert_fine(
            listener(
                "name: b, address: {socket_address: {address: 0.0.0.0, port_value: 10000}}, "
                "filter_chains: {}"
            )
        )

    def test_port_zero(self) -> None:
        """Port 0 is never the same port twice."""
        zero = GOOD.replace("port_value: 10000", "port_value: 0")
        again = (
            "  - {name: b, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, "
            "filter_chains: {}}\n  clusters:\n"
        )
        self.assert_fine(zero.replace("  clusters:\n", again))

    def test_duplicate_listener(self) -> None:
        """A second listener of one name is a warning: Envoy drops it."""
        text = listener(
            "name: front, address: {socket_address: {address: 127.0.0.1, port_value: 10000}}, "
            "filter_chains: {}"
        )

        self.assertIn("will be ignored", warned(text)[0])

    def test_admin_address(self) -> None:
        """The admin address is an IP address or a path."""
        self.assert_says(
            "malformed IP address: 'localhost'",
            "admin: {address: {socket_address: {address: localhost, port_value: 1}}}",
        )
        self.assert_fine("admin: {address: {pipe: {path: /tmp/admin}}}")

    def test_open_admin(self) -> None:
        """An admin interface open to the world is a warning."""
        text = f"{GOOD}admin: {{address: {{socket_address: {{address: %s, port_value: 1}}}}}}\n"

        self.assertIn("every network", warned(text % "0.0.0.0")[0])
        self.assertEqual([], warned(text % "127.0.0.1"))

    def test_local_cluster(self) -> None:
        """The local cluster must exist."""
        self.assert_says("'nope'", f"{GOOD}cluster_manager: {{local_cluster_name: nope}}\n")

    def test_log_format(self) -> None:
        """The application log as JSON cannot have the text between quotes as it is; as text it can
        be anything.
        """
        for flag in ("%v", "%_"):
            self.assert_says(
                f"application_log_config.log_format.json_format: {flag} cannot be used in a JSON "
                "format: %j is the text in JSON",
                f"{GOOD}application_log_config: {{log_format: {{json_format: {{a: '{flag}'}}}}}}\n",
            )
        for log_format in ("json_format: {a: '%j', b: 1}", "text_format: '%v %_'"):
            self.assert_fine(f"{GOOD}application_log_config: {{log_format: {{{log_format}}}}}\n")


class ListenerTests(CheckTests):
    """Listeners and filters."""

    def test_address(self) -> None:
        """A listener is bound to an IP address with a numeric port."""
        for host, word in (
            ("localhost", "localhost"),
            ("'[::1]'", "without brackets"),
            ("127.1", "127.1"),
        ):
            self.assert_says(
                word, GOOD.replace("        address: 127.0.0.1", f"        address: {host}")
            )
        for host in ("::1%lo", "fe80::1%nosuch", "2001:db8::1%lo", "fe80::1%"):
            self.assert_says(
                f"malformed IP address: '{host}'",
                changed(("  address: 127.0.0.1", f"  address: '{host}'")),
            )
        for host in ("fe80::1%lo", "ff02::1%lo", "fe80::1%77", "::1%1"):
            self.assert_fine(changed(("        address: 127.0.0.1", f"        address: '{host}'")))
        self.assert_says("use port_value", changed(("port_value: 10000", "named_port: http")))
        self.assert_says(
            "108 bytes",
            listener(f"name: b, address: {{pipe: {{path: /{'x' * 107}}}}}, filter_chains: {{}}"),
        )
        self.assert_says("needs an address", listener("name: b, filter_chains: {}"))
        more = "additional_addresses: [{address: {pipe: {path: /run/x}}}, {socket_options: {}}]"
        self.assert_says(
            "an additional address needs an address",
            changed(("  - name: front", f"  - name: front\n    {more}")),
        )

    def test_filter_chains(self) -> None:
        """A listener has filter chains, or a default one."""
        bound = "name: b, address: {socket_address: {address: 127.0.0.1, port_value: 1}}"
        self.assert_says("no filter chain", listener(bound))
        self.assert_fine(listener(f"{bound}, default_filter_chain: {{}}"))

    def test_order_of_filters(self) -> None:
        """A terminal filter is the last, and the last filter is terminal."""
        self.assert_says("terminal filter named tcp_proxy", filters(TCP, TCP))
        self.assert_says("non-terminal filter named rbac", filters(RBAC))
        self.assert_fine(filters(RBAC, TCP))

    def test_addresses(self) -> None:
        """Only an IPv6 address for all, or one of IPv4 written as IPv6, takes IPv4 too; MPTCP has
        IP addresses; a network namespace is entered to listen, not to connect.
        """
        address = "address: {socket_address: {address: '%s', port_value: 9, %s}}"
        more = "name: b, filter_chains: [{}], "
        for host in ("::", "::ffff:127.0.0.1"):
            self.assert_fine(listener(more + address % (host, "ipv4_compat: true")))
        for host in ("::1", "127.0.0.1"):
            text = listener(more + address % (host, "ipv4_compat: true"))
            self.assert_says("can set ipv4_compat", text)
        pipe = "address: {pipe: {path: /x}}, enable_mptcp: true"
        self.assert_says("only be used with IP addresses", listener(more + pipe))
        inside = "network_namespace_filepath: /x"
        self.assert_fine(listener(more + address % ("127.0.0.1", inside)))
        endpoint = assignment("127.0.0.1").replace("port_value: 9", f"port_value: 9, {inside}")
        self.assert_says("hosts cannot specify network namespaces", cluster(endpoint))
        source = f"upstream_bind_config: {{source_address: {{address: 127.0.0.1, {inside}}}}}"
        self.assert_says("only to listen", cluster(f"{source}, {assignment('127.0.0.1')}"))

    def test_filters_that_may_end_a_chain(self) -> None:
        """A filter that runs other people's code is terminal where its configuration says so."""
        module = ", dynamic_module_config: {name: m}, terminal_filter: "
        for name, fields in (
            ("dynamic_modules.v3.DynamicModuleNetworkFilter", module),
            (
                "golang.v3alpha.Config",
                ", library_id: a, library_path: b, plugin_name: c, is_terminal_filter: ",
            ),
        ):
            yes, no = (network_filter(name, fields + value) for value in ("true", "false"))
            for right in (filters(no, TCP), filters(yes)):
                self.assertNotIn("terminal filter named", "".join(said(right)))
            self.assert_says("terminal filter named", filters(yes, TCP))
            self.assert_says("non-terminal filter named", filters(no))

    def test_kind_of_extension(self) -> None:
        """A filter needs a type, and one of its own kind."""
        inspector = (
            "{name: i, typed_config: {'@type': "
            "a/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}"
        )
        self.assert_says("no network filter", filters(inspector))
        self.assert_says("'no.such'", filters("{name: no.such}"))

    def test_listener_filters(self) -> None:
        """A listener filter needs a type of its own kind; proxy_protocol has to allow a version;
        predicates follow their rules.
        """
        kind = (
            "{name: p, typed_config: {'@type': "
            "type.googleapis.com/envoy.extensions.filters.listener.%s}%s}"
        )
        bound = (
            "name: b, address: {socket_address: {address: 127.0.0.1, port_value: 1}}, "
            "filter_chains: {}, listener_filters: [%s]"
        )
        header = (
            "proxy_protocol.v3.ProxyProtocol, disallowed_versions: [%s], "
            "allow_requests_without_proxy_protocol: true"
        )
        self.assert_fine(listener(bound % kind % (header % "V1, V1", "")))
        self.assert_says("all versions", listener(bound % kind % (header % "V1, V2", "")))
        self.assert_says(
            "no typed_config", listener(bound % "{name: envoy.filters.listener.original_dst}")
        )
        self.assert_says(
            "typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.listener"
            ".original_dst.v3.OriginalDst}",
            listener(bound % "{name: envoy.filters.listener.original_dst}"),
        )
        udp = "{name: p, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.udp"
        udp += ".udp_proxy.v3.UdpProxyConfig, stat_prefix: s}}"
        self.assert_says("is a filter of UDP", listener(bound % udp))
        rate = (
            "local_ratelimit.v3.LocalRateLimit, stat_prefix: s, "
            "token_bucket: {max_tokens: %s, fill_interval: %s}"
        )
        for tokens, interval in ((0, "1s"), (1, "0.05s")):
            self.assert_fine(listener(bound % kind % (rate % (tokens, interval), "")))
        short = listener(bound % kind % (rate % (1, "0.049s"), ""))
        self.assert_says("50 ms at least", short)
        self.assert_says("greater than 0", listener(bound % kind % (rate % (1, "0s"), "")))
        disabled = ", filter_disabled: %s"
        ports = "{destination_port_range: {start: 9, end: 5}}"
        for good in (
            "{any_match: true}",
            ports,
            f"{{or_match: {{rules: [{ports}, {ports}]}}}}",
            f"{{not_match: {ports}}}",
        ):
            self.assert_fine(
                listener(bound % kind % ("original_dst.v3.OriginalDst", disabled % good))
            )
        for bad in ("{}", "{any_match: false}", f"{{and_match: {{rules: [{ports}]}}}}"):
            self.assertTrue(
                problems_of(
                    listener(bound % kind % ("original_dst.v3.OriginalDst", disabled % bad))
                ),
                bad,
            )

    def test_tcp_proxy(self) -> None:
        """A TCP proxy's settings fit each other."""
        self.assert_says(
            "below base_interval",
            changed(("idle_timeout: 5s", "backoff_options: {base_interval: 2s, max_interval: 1s}")),
        )
        self.assert_says(
            "max_early_data_bytes",
            changed(("idle_timeout: 5s", "upstream_connect_mode: ON_DOWNSTREAM_DATA")),
        )

    def test_undefined_cluster(self) -> None:
        """A cluster that nobody defines is a warning at its line, with a near name."""
        warning = warned(changed(("          cluster: web", "          cluster: wbe")))[0]

        self.assertIn("14:20: ", warning)
        self.assertIn(
            "no cluster is named 'wbe': every connection for it will be closed (did you mean "
            "'web'?)",
            warning,
        )

    def test_undefined_weighted_cluster(self) -> None:
        """So is one of several."""
        text = changed(
            (
                "          cluster: web",
                "          weighted_clusters: {clusters: [{name: nope, weight: 1}]}",
            )
        )

        self.assertIn("'nope'", warned(text)[0])


class MatchTests(CheckTests):
    """Filter-chain matches."""

    def test_same(self) -> None:
        """Two chains of one match are refused."""
        same = "has the same matching rules defined as ''"
        self.assert_says(same, matches("{server_names: a}", "{server_names: a}"))
        self.assert_says(same, matches("{}", "{}"))

    def test_overlapping(self) -> None:
        """Two chains that share a combination of values are refused."""
        self.assert_says(
            "overlapping", matches("{server_names: [A.b]}", "{server_names: [x, a.b]}")
        )
        self.assert_says("overlapping", matches("{source_ports: [1, 2]}", "{source_ports: [2, 3]}"))
        first, second = (
            f"{{prefix_ranges: {{address_prefix: {ip}, prefix_len: 8}}}}"
            for ip in ("10.1.2.3", "10.0.0.0")
        )
        self.assert_says("overlapping", matches(first, second))
        self.assert_says(
            "overlapping",
            matches(
                "{prefix_ranges: {address_prefix: '::1'}}",
                "{prefix_ranges: {address_prefix: '::'}}",
            ),
        )
        self.assert_says("both its own", matches("{server_names: [a, A]}"))
        self.assert_says("overlapping", matches("{server_names: ['']}", "{}"))

    def test_distinct(self) -> None:
        """Chains that differ in one criterion are fine, and any is a value of its own."""
        self.assert_fine(
            matches(
                "{}",
                "{server_names: a}",
                "{server_names: a, source_ports: 1}",
                "{destination_port: 1}",
            )
        )
        self.assert_fine(matches("{}", "{prefix_ranges: {address_prefix: 0.0.0.0, prefix_len: 0}}"))

    def test_values(self) -> None:
        """Wildcards stand for a whole first label, prefixes are IP addresses."""
        for name in ("'*.a.test'", "'*.'", "'*.*.test'"):
            self.assert_fine(matches(f"{{server_names: {name}}}"))
        for name in ("'*'", "a.*.test", "'w*.test'"):
            self.assert_says("server_names", matches(f"{{server_names: {name}}}"))
        self.assert_says("malformed", matches("{prefix_ranges: {address_prefix: x}}"))
        for field in ("address_suffix: x", "suffix_len: 1"):
            self.assert_says("contains unimplemented fields", matches(f"{{{field}}}"))

    def test_matcher(self) -> None:
        """With a filter_chain_matcher every chain has a name of its own."""
        chains = listener(
            "name: b, address: {pipe: {path: /tmp/x}}, filter_chain_matcher: {}, "
            "filter_chains: [{name: a}, {%s}], default_filter_chain: {name: a}"
        )
        self.assert_says("\"name\" field is duplicated with value 'a'", chains % "name: a")
        self.assert_says('"name" field is required', chains % "")
        self.assert_fine(chains % "name: b, filter_chain_match: {server_names: '*'}")

    def chosen(self, tree: str, more: str = "") -> str:
        """A listener with a chain named a, and this filter_chain_matcher."""
        return listener(
            f"name: b, address: {{pipe: {{path: /tmp/x}}}}, filter_chains: [{{name: a}}], "
            f"filter_chain_matcher: {{{tree}}}, {more}"
        )

    def test_tree(self) -> None:
        """Inputs, tables and actions are of types that Envoy has for filter chains."""
        names = f"input: {asked('ServerNameInput')}"
        self.assert_fine(
            self.chosen(f"matcher_tree: {{{names}, exact_match_map: {{map: {{x: {GO}}}}}}}")
        )
        missing = "Didn't find a registered implementation for"
        for tree in (
            f"on_no_match: {GO.replace('StringValue', 'BoolValue').replace('a}', 'true}')}",
            f"matcher_tree: {{input: {asked('DynamicMetadataInput', 'filter: f, path: [{key: k}]')}"
            f", exact_match_map: {{map: {{x: {GO}}}}}}}",
            f"matcher_tree: {{{names}, custom_match: {{name: x, typed_config: "
            f"{{'@type': {XDS}StringMatcher, exact: x}}}}}}",
        ):
            self.assert_says(missing, self.chosen(tree))
        self.assert_says(
            "FCDS requires a filter chain matcher",
            listener(
                "name: b, address: {pipe: {path: /tmp/x}}, filter_chains: [{}], "
                "fcds_config: {name: x, config_source: {ads: {}}}"
            ),
        )

    def test_tree_values(self) -> None:
        """Networks have IP addresses, wildcards stand for whole labels, no name comes twice, and
        expressions are RE2's.
        """
        tree = (
            f"matcher_tree: {{input: {asked('ServerNameInput')}, custom_match: "
            f"{{name: x, typed_config: {{'@type': {XDS}%s}}}}}}"
        )
        domains = tree % f"ServerNameMatcher, domain_matchers: [{{domains: [%s], on_match: {GO}}}]"
        self.assert_fine(self.chosen(domains % "'*', '*.b.c', a, A"))
        for text, words in (
            ("a, a", "Duplicate domain"),
            ("''", "Empty domain"),
            ("'*.'", "Invalid wildcard"),
            ("'a.*'", "Invalid wildcard"),
            ("'*.*.a'", "Multiple wildcards"),
        ):
            self.assert_says(words, self.chosen(domains % text))
        networks = (
            f"IPMatcher, range_matchers: [{{ranges: [{{address_prefix: x}}], on_match: {GO}}}]"
        )
        self.assert_says("malformed IP address: x", self.chosen(tree % networks))
        predicate = (
            f"matcher_list: {{matchers: [{{predicate: {{single_predicate: "
            f"{{input: {asked('SourceIPInput')}, %s}}}}, on_match: {GO}}}]}}"
        )
        regex = "value_match: {safe_regex: {google_re2: {}, regex: '%s'}}"
        self.assert_fine(self.chosen(predicate % regex % "(abcdefghij){100}"))
        self.assert_says("missing )", self.chosen(predicate % regex % "a("))
        ip = "envoy.extensions.matching.input_matchers.ip.v3.Ip"
        custom = (
            f"custom_match: {{name: x, typed_config: {{'@type': type.googleapis.com/{ip}, "
            f"stat_prefix: s, cidr_ranges: [{{address_prefix: zz}}]}}}}"
        )
        self.assert_says("malformed IP address: zz", self.chosen(predicate % custom))

    def test_unknown_chain(self) -> None:
        """A tree that names a chain which is not there is a warning."""
        found = warned(self.chosen(f"on_no_match: {GO.replace('a}', 'c}')}"))
        said = [each for each in found if "no filter chain of this listener is named 'c'" in each]
        self.assertEqual(1, len(said))

    def test_default_chain(self) -> None:
        """Nobody looks at the match of the default chain."""
        self.assert_fine(
            listener(
                "name: b, address: {pipe: {path: /tmp/x}}, default_filter_chain: "
                "{filter_chain_match: {server_names: '*', address_suffix: x}}"
            )
        )


class ClusterTests(CheckTests):
    """Clusters."""

    def test_static(self) -> None:
        """A STATIC cluster has IP addresses."""
        self.assert_says(
            "'example.com'; a STATIC cluster resolves no names", cluster(assignment("example.com"))
        )
        self.assert_says(
            "needs an address",
            cluster("load_assignment: {cluster_name: x, endpoints: {lb_endpoints: {}}}"),
        )
        self.assert_says("names of ports", changed(("port_value: 8080", "named_port: http")))
        self.assert_says("hashed by hostname", cluster(HASHED))

    def test_dns(self) -> None:
        """LOGICAL_DNS has one endpoint; DNS endpoints name no resolver."""
        self.assert_fine(cluster(f"type: STRICT_DNS, {assignment('a', 'b')}"))
        self.assert_says("LOGICAL_DNS", cluster("type: LOGICAL_DNS"))
        self.assert_says("LOGICAL_DNS", cluster(f"type: LOGICAL_DNS, {assignment('a', 'b')}"))
        resolver = assignment("a").replace("port_value: 9", "port_value: 9, resolver_name: x")
        self.assert_says("resolver", cluster(f"type: STRICT_DNS, {resolver}"))

    def test_dns_cluster(self) -> None:
        """A DnsCluster with all addresses in one endpoint has one endpoint; it provides no policy
        and names no resolver.
        """
        self.assert_fine(cluster(f"{dns_cluster()}, {assignment('a', 'b')}"))
        single = dns_cluster("all_addresses_in_single_endpoint: true")
        self.assert_fine(cluster(f"{single}, {assignment('a')}"))
        self.assert_says(
            "one locality with one endpoint", cluster(f"{single}, {assignment('a', 'b')}")
        )
        self.assert_says(
            "provides no load balancer", cluster(f"{dns_cluster()}, lb_policy: CLUSTER_PROVIDED")
        )
        resolver = assignment("a").replace("port_value: 9", "port_value: 9, resolver_name: x")
        self.assert_says("must not name a resolver", cluster(f"{dns_cluster()}, {resolver}"))
        self.assert_says("no typed_config", cluster("cluster_type: {name: envoy.clusters.dns}"))
        typed = (
            "load_balancing_policy: {policies: [{typed_extension_config: {name: p, "
            "typed_config: {'@type': %s}}}]}"
        )
        provided = typed % f"{POLICIES}cluster_provided.v3.ClusterProvided"
        self.assert_says(
            "provides no load balancer", cluster(f"{dns_cluster()}, {assignment('a')}, {provided}")
        )

    def test_aggregate(self) -> None:
        """An aggregate cluster brings its own policy, whichever way another one is asked for."""
        typed = (
            "load_balancing_policy: {policies: [{typed_extension_config: {name: p, "
            "typed_config: {'@type': %s}}}]}"
        )
        provided = typed % f"{POLICIES}cluster_provided.v3.ClusterProvided"
        self.assert_fine(cluster(f"{AGGREGATE}, lb_policy: CLUSTER_PROVIDED"))
        self.assert_fine(cluster(f"{AGGREGATE}, {provided}"))
        self.assert_says("CLUSTER_PROVIDED", cluster(AGGREGATE))
        self.assert_says(
            "ClusterProvided", cluster(f"{AGGREGATE}, {typed % (POLICIES + 'random.v3.Random')}")
        )
        self.assert_says(
            "cannot be hashed by hostname",
            cluster(f"{AGGREGATE}, lb_policy: CLUSTER_PROVIDED, {HASHED}"),
        )

    def test_cluster_type(self) -> None:
        """The old types have names as cluster_type too; an extension of another kind is no type of
        cluster.
        """
        self.assert_fine(
            cluster(f"cluster_type: {{name: envoy.cluster.static}}, {assignment('1.2.3.4')}")
        )
        self.assert_fine(
            cluster(f"cluster_type: {{name: envoy.cluster.strict_dns}}, {assignment('a', 'b')}")
        )
        self.assert_fine(
            cluster(f"cluster_type: {{name: envoy.cluster.logical_dns}}, {assignment('a')}")
        )
        self.assert_says(
            "LOGICAL_DNS",
            cluster(f"cluster_type: {{name: envoy.cluster.logical_dns}}, {assignment('a', 'b')}"),
        )
        self.assert_says(
            "hashed by hostname",
            cluster(f"cluster_type: {{name: envoy.cluster.strict_dns}}, {HASHED}"),
        )
        typed = f"cluster_type: {{name: x, typed_config: {{'@type': {POLICIES}random.v3.Random}}}}"
        self.assert_says("Random is no type of cluster", cluster(typed))

    def test_drop_overloads(self) -> None:
        """At most one category is dropped, and of it not more than all."""
        dropped = f"{assignment('1.2.3.4')[:-1]}, policy: {{drop_overloads: [%s]}}}}"
        entry = "{category: a, drop_percentage: {numerator: %s, denominator: %s}}"
        for numerator, denominator in (
            (100, "HUNDRED"),
            (500, "TEN_THOUSAND"),
            (1_000_000, "MILLION"),
        ):
            self.assert_fine(cluster(dropped % entry % (numerator, denominator)))
        self.assert_says("more than all", cluster(dropped % entry % (101, "HUNDRED")))
        self.assert_says("more than all", cluster(dropped % entry % (1_000_001, "MILLION")))
        self.assert_says("one category", cluster(dropped % "{category: a}, {category: b}"))

    def test_dns_failure_refresh_rate(self) -> None:
        """A backoff does not end below where it begins."""
        rate = "dns_failure_refresh_rate: {base_interval: 2s, max_interval: %s}"
        for fields in (lambda text: f"type: STRICT_DNS, {text}", dns_cluster):
            self.assert_fine(cluster(fields(rate % "2s")))
            self.assert_says("must not be below base_interval", cluster(fields(rate % "1s")))
            self.assert_fine(
                cluster(
                    fields((rate % "2s").replace("base_interval: 2s", "base_interval: 2.0009s"))
                )
            )
        self.assert_fine(cluster(f"type: STATIC, {rate % '1s'}"))
        self.assert_fine(cluster(f"{dns_cluster()}, {assignment('a')}, {rate % '1s'}"))

    def test_dns_resolvers(self) -> None:
        """A resolver is of a type of resolvers, and its servers have IP addresses."""
        server = "[{socket_address: {address: %s, port_value: 53}}]"
        typed = "typed_dns_resolver_config: {name: x, typed_config: {'@type': %s, %s}}"
        cares = f"{RESOLVERS}cares.v3.CaresDnsResolverConfig"
        for text in (
            f"dns_resolvers: {server}",
            f"dns_resolution_config: {{resolvers: {server}}}",
            typed % (cares, f"resolvers: {server}"),
        ):
            self.assert_fine(cluster("type: STRICT_DNS, " + text % "127.0.0.1"))
            self.assert_says(
                "malformed IP address: 'a.test'", cluster("type: STRICT_DNS, " + text % "a.test")
            )
        self.assert_says("has an IP address", cluster("dns_resolvers: [{pipe: {path: /x}}]"))
        proxy = f"{NETWORK}tcp_proxy.v3.TcpProxy"
        self.assert_says(
            "is no DNS resolver", cluster(typed % (proxy, "stat_prefix: x, cluster: y"))
        )

    def test_original_dst(self) -> None:
        """ORIGINAL_DST brings its own policy and hosts."""
        self.assert_fine(cluster("type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED"))
        self.assert_says("CLUSTER_PROVIDED", cluster("type: ORIGINAL_DST"))
        original = "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED"
        self.assert_says("no endpoints", cluster(f"{original}, {assignment('1.2.3.4')}"))
        self.assert_says(
            "no endpoints", cluster(f"{original}, load_assignment: {{cluster_name: other}}")
        )
        self.assert_says(
            "use_http_header",
            cluster(f"{original}, original_dst_lb_config: {{http_header_name: x}}"),
        )
        self.assert_fine(
            cluster(
                f"{original}, original_dst_lb_config: {{use_http_header: true, "
                f"http_header_name: x}}"
            )
        )
        typed = (
            "load_balancing_policy: {policies: [{typed_extension_config: {name: x, "
            "typed_config: {'@type': %s}}}]}"
        )
        provided, other = (
            typed % (POLICIES + "cluster_provided.v3.ClusterProvided"),
            typed % (POLICIES + "random.v3.Random"),
        )
        self.assert_fine(cluster(f"{original}, {provided}"))
        self.assert_says("ClusterProvided", cluster(f"{original}, {other}"))
        self.assert_says("lb_policy CLUSTER_PROVIDED", cluster(f"type: ORIGINAL_DST, {provided}"))
        self.assert_fine(
            cluster("cluster_type: {name: envoy.cluster.original_dst}, lb_policy: CLUSTER_PROVIDED")
        )
        self.assert_says(
            "CLUSTER_PROVIDED", cluster("cluster_type: {name: envoy.cluster.original_dst}")
        )
        self.assert_says("CLUSTER_PROVIDED", cluster("lb_policy: CLUSTER_PROVIDED"))

    def test_eds(self) -> None:
        """EDS needs its source, others must have none."""
        self.assert_says("needs an eds_cluster_config", cluster("type: EDS"))
        self.assert_says("not of type EDS", cluster("eds_cluster_config: {eds_config: {ads: {}}}"))

    def test_policies(self) -> None:
        """The settings of the policy in use must work."""
        self.assert_says(
            "above maximum_ring_size",
            cluster("lb_policy: RING_HASH, ring_hash_lb_config: {maximum_ring_size: 10}"),
        )
        self.assert_says("prime", cluster("lb_policy: MAGLEV, maglev_lb_config: {table_size: 100}"))
        self.assert_fine(cluster("lb_policy: MAGLEV, maglev_lb_config: {table_size: 101}"))
        self.assert_says(
            "load_balancing_policy", cluster("lb_policy: LOAD_BALANCING_POLICY_CONFIG")
        )
        self.assert_says("names no policy", cluster("load_balancing_policy: {}"))

    def test_health(self) -> None:
        """Payloads are hexadecimal, ejections do not end before they begin."""
        required = "timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1"
        check = f"health_checks: {{{required}, tcp_health_check: {{send: {{text: %s}}}}}}"
        self.assert_fine(cluster(check % "'50494E47'"))
        self.assert_says("'ABC'", cluster(check % "ABC"))
        for blank in ("'FF 00'", "' FF'", '"FF\\n"'):
            self.assert_says("hexadecimal", cluster(check % blank))
        self.assert_says(
            "max_ejection_time",
            cluster("outlier_detection: {base_ejection_time: 10s, max_ejection_time: 1s}"),
        )
        self.assert_fine(
            cluster("outlier_detection: {base_ejection_time: 30.0004s, max_ejection_time: 30s}")
        )

    def test_statuses(self) -> None:
        """Ranges of HTTP statuses end above their start, from 100 on and up to 600."""
        required = "timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1"
        check = (
            f"health_checks: {{{required}, http_health_check: {{path: /, %s: [{{start: %d, "
            f"end: %d}}]}}}}"
        )
        for name in ("expected_statuses", "retriable_statuses"):
            self.assert_fine(cluster(check % (name, 100, 600)))
            self.assert_says("start must be below its end", cluster(check % (name, 200, 200)))
            self.assert_says("from 100 to 600", cluster(check % (name, 99, 200)))
            self.assert_says("from 100 to 600", cluster(check % (name, 100, 601)))


HASHED = "common_lb_config: {consistent_hashing_lb_config: {use_hostname_for_hashing: true}}"


class SourceTests(CheckTests):
    """Where discovery gets its resources."""

    def discovery(self, body: str) -> str:
        """A bootstrap with these dynamic resources."""
        return f"{GOOD}node: {{id: a, cluster: b}}\ndynamic_resources: {{{body}}}\n"

    def api(self, body: str) -> str:
        """... with clusters from this api_config_source."""
        return self.discovery(
            f"cds_config: {{api_config_source: {{transport_api_version: V3, {body}}}}}"
        )

    def test_good(self) -> None:
        """A gRPC, a REST and a file source are fine."""
        self.assert_fine(
            self.api("api_type: GRPC, grpc_services: {envoy_grpc: {cluster_name: web}}")
        )
        self.assert_fine(self.api("api_type: REST, cluster_names: web, refresh_delay: 1s"))
        self.assert_fine(
            self.discovery(f"cds_config: {{path_config_source: {{path: {__file__}}}}}")
        )

    def test_bad(self) -> None:
        """Each source has the fields that it needs, and a static cluster."""
        self.assert_says("refresh_delay", self.api("api_type: REST, cluster_names: web"))
        self.assert_says("exactly one", self.api("api_type: REST, refresh_delay: 1s"))
        self.assert_says(
            "'nope'", self.api("api_type: REST, cluster_names: nope, refresh_delay: 1s")
        )
        self.assert_says("exactly one", self.api("api_type: GRPC"))
        self.assert_says("grpc_services, not in", self.api("api_type: GRPC, cluster_names: web"))
        self.assert_says(
            "'nope'", self.api("api_type: GRPC, grpc_services: {envoy_grpc: {cluster_name: nope}}")
        )
        self.assert_says(
            "must be V3",
            self.api("transport_api_version: V2, api_type: GRPC").replace(
                "transport_api_version: V3, ", ""
            ),
        )
        self.assert_says("'/nope/x'", self.discovery("cds_config: {path: /nope/x}"))

    def test_ads(self) -> None:
        """ADS is a gRPC stream of a node with a name."""
        ads = (
            "ads_config: {api_type: %s, transport_api_version: V3, grpc_services: "
            "{envoy_grpc: {cluster_name: web}}}"
        )
        self.assert_fine(self.discovery(ads % "DELTA_GRPC"))
        self.assert_says("gRPC stream", self.discovery(ads % "REST"))
        self.assert_says("node", f"{GOOD}dynamic_resources: {{{ads % 'GRPC'}}}\n")


class FileTests(CheckTests):
    """Files and variables."""

    def response(self, source: str) -> str:
        """A listener that answers from this DataSource."""
        return filters(network_filter("direct_response.v3.Config", f", response: {{{source}}}"))

    def test_data_sources(self) -> None:
        """What a DataSource names must be there."""
        self.assert_fine(self.response(f"filename: {__file__}"))
        self.assert_says("'/nope/x'", self.response("filename: /nope/x"))
        self.assert_fine(self.response("environment_variable: A"), environ=environ(A="x"))
        self.assert_says(
            "'A' is not set", self.response("environment_variable: A"), environ=environ()
        )

    def test_log_file(self) -> None:
        """The directory of a log file must be there."""
        log = (
            "access_log: {name: f, typed_config: {'@type': "
            "a/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /nope/x}}"
        )
        self.assert_says("/nope/x", changed(("idle_timeout: 5s", log)))


class TlsTests(CheckTests):
    """Certificates and keys."""

    def context(self, common: str) -> str:
        """A cluster with this common_tls_context."""
        typed = f"{{'@type': {TLS}UpstreamTlsContext, common_tls_context: {{{common}}}}}"
        return cluster(f"transport_socket: {{name: tls, typed_config: {typed}}}")

    def test_missing_parts(self) -> None:
        """A certificate needs a chain and a key."""
        self.assert_says(
            "private key",
            self.context("tls_certificates: [{certificate_chain: {inline_string: x}}]"),
        )
        self.assert_says(
            "certificate_chain",
            self.context("tls_certificates: [{private_key: {inline_string: x}}]"),
        )

    def test_not_pem(self) -> None:
        """What is no PEM is refused by name."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "garbage.pem"
            path.write_text("no certificate")
            both = f"certificate_chain: {{filename: {path}}}, private_key: {{filename: {path}}}"
            found = problems_of(
                self.context(f"tls_certificates: [{{{both}}}]"), allow_unsupported=True
            )

        self.assertEqual(2, len([problem for problem in found if "garbage.pem" in problem.text]))

    def test_validation(self) -> None:
        """Names need an authority, hashes have 32 bytes."""
        self.assert_says(
            "trusted CA",
            self.context(
                "validation_context: {match_typed_subject_alt_names: {san_type: DNS, matcher: "
                "{exact: x}}}"
            ),
        )
        self.assert_says(
            "spki", self.context(f"validation_context: {{verify_certificate_spki: '{'!' * 44}'}}")
        )
        self.assert_says(
            "hexadecimal",
            self.context(f"validation_context: {{verify_certificate_hash: '{'z' * 64}'}}"),
        )
        self.assert_says(
            "cannot be read",
            self.context(f'validation_context: {{trusted_ca: {{inline_string: "{EMPTY_PEM}"}}}}'),
        )

    def test_direction(self) -> None:
        """A context for clients does not do for hosts, nor the other way round."""
        socket = f"transport_socket: {{name: tls, typed_config: {{'@type': {TLS}%s}}}}"
        self.assert_says(
            "DownstreamTlsContext is a transport socket for clients",
            cluster(socket % "DownstreamTlsContext"),
        )
        self.assert_fine(cluster(socket % "UpstreamTlsContext"))
        chain = f"    - {socket % 'UpstreamTlsContext'}\n      filters:"
        self.assert_says(
            "UpstreamTlsContext is a transport socket for connections to hosts",
            changed(("    - filters:", chain)),
        )

    def test_secrets(self) -> None:
        """Static secrets hold something and have names of their own."""
        secret = "{name: a, validation_context: {}}"
        text = GOOD.replace(
            "static_resources:\n",
            "static_resources:\n  secrets: [{name: a}, %s, %s]\n" % ((secret,) * 2),
        )
        self.assert_says("holds nothing", text)
        self.assert_says("duplicate static secret", text)


EMPTY_PEM = "-----BEGIN CERTIFICATE-----\\n-----END CERTIFICATE-----"
