"""Old listeners, their filter chains and filters."""

from __future__ import annotations

from textwrap import indent

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.migrate import Migration, migrate

HEAD = "static_resources:\n  listeners:\n  - name: a\n"
PROXY_PROTOCOL = (
    'name: envoy.filters.listener.proxy_protocol, typed_config: {"@type": '
    "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol}"
)


def migrated(fields: str) -> Migration:
    """What becomes of a listener with these fields."""
    return migrate(HEAD + indent(fields, "    "), "a.yaml")


def new(fields: str) -> str:
    """The new fields."""
    return migrated(fields).text.removeprefix(HEAD)


def left(fields: str) -> list[str]:
    """What is left to do."""
    return [problem.text for problem in migrated(fields).problems]


def filtered(name: str, config: str) -> str:
    """A listener with one filter."""
    return (
        f"filter_chains:\n- filters:\n  - name: {name}\n    config:\n"
        f"      stat_prefix: s\n      {config}\n"
    )


class ProxyProtocolTests(SynchronousTestCase):
    """`use_proxy_proto`."""

    chain = "filter_chains: [{filter_chain_match: {sni_domains: [b]}, use_proxy_proto: %s}]\n"

    def test_off(self) -> None:
        """One that is off is taken out."""
        self.assertEqual(
            "    filter_chains: [{filter_chain_match: {server_names: [b]}}]\n",
            new(self.chain % "false"),
        )

    def test_before_others(self) -> None:
        """The filter comes before those that there are, in a list of its own where there is
        none.
        """
        self.assertIn(
            f"listener_filters: [{{{PROXY_PROTOCOL}}}, {{name: x}}]\n",
            new("listener_filters: [{name: x}]\n" + self.chain % "true"),
        )
        for before in ("", "listener_filters: ~\n"):
            text = new(before + self.chain % "true")
            self.assertTrue(text.startswith("    listener_filters:\n    - name: envoy.f"), text)

    def test_no_list(self) -> None:
        """Where what is written is no list it is told, and nothing is lost."""
        fields = "listener_filters: {name: x}\n" + self.chain % "true"
        self.assertEqual(["'use_proxy_proto' needs a list here"], left(fields))
        self.assertIn("use_proxy_proto: true", new(fields))

    def test_place(self) -> None:
        """A change is told with the place of the field in its chain."""
        self.assertIn(
            "listeners[0].filter_chains[0].use_proxy_proto: 'use_proxy_proto' becomes",
            str(migrated(self.chain % "true").changes[0]),
        )


class ListenerTests(SynchronousTestCase):
    """`deprecated_v1` of a listener."""

    def test_bind_to_port(self) -> None:
        """What it says is a field now; where it says nothing it goes."""
        chain = "filter_chains: [{filter_chain_match: {sni_domains: [b]}}]\n"
        for old, expected in (("{bind_to_port: false}", "    bind_to_port: false\n"), ("{}", "")):
            self.assertEqual(
                f"{expected}    filter_chains: [{{filter_chain_match: {{server_names: [b]}}}}]\n",
                new(f"deprecated_v1: {old}\n{chain}"),
            )


class TlsTests(SynchronousTestCase):
    """`tls_context` of a filter chain."""

    def context(self, field: str) -> str:
        """A listener whose context has this field."""
        return f"filter_chains:\n- tls_context:\n    common_tls_context:\n      {field}\n"

    def test_names(self) -> None:
        """Names become matchers, be they a list or one."""
        for old, expected in (("[a, b]", "[{exact: a}, {exact: b}]"), ("a", "{exact: a}")):
            old = self.context(f"validation_context: {{verify_subject_alt_name: {old}}}")
            self.assertIn(f"{{match_subject_alt_names: {expected}}}", new(old))

    def test_both_kinds(self) -> None:
        """Of names and matchers only one can be kept, which is for a person to say."""
        both = "{verify_subject_alt_name: a, match_subject_alt_names: [{exact: b}]}"
        self.assertEqual(
            ["both kinds of subject alternative names are written"],
            left(self.context(f"validation_context: {both}")),
        )

    def test_alpn(self) -> None:
        """Protocols in one text become a list; a text beside a list, or none, says nothing."""
        old = "deprecated_v1: {alpn_protocols: 'h2, http/1.1'}"
        self.assertIn(
            "alpn_protocols:\n            - h2\n            - http/1.1\n", new(self.context(old))
        )
        text = new(self.context(f"alpn_protocols: [h2]\n      {old}"))
        self.assertTrue(text.endswith("alpn_protocols: [h2]\n"), text)


class FilterTests(SynchronousTestCase):
    """Fields of single filters."""

    def test_routes_of_tcp_proxy(self) -> None:
        """One route without conditions is a cluster; others are for filter chains to say."""
        plain, matched = "{cluster: c}", "{cluster: c, destination_ports: '1'}"
        old = filtered("envoy.tcp_proxy", "deprecated_v1: {routes: [%s]}")
        self.assertTrue(new(old % plain).endswith("          cluster: c\n"))
        self.assertEqual(
            ["routes by address and port are matched by filter chains now"], left(old % matched)
        )

    def test_redis(self) -> None:
        """The cluster of all keys becomes a route, where there is no such route yet."""
        old = filtered("envoy.redis_proxy", "settings: {op_timeout: 1s}%s")
        cluster = "\n      cluster: c"
        self.assertIn(
            "prefix_routes:\n            catch_all_route:\n              cluster: c\n",
            new(old % cluster),
        )
        routes = "\n      prefix_routes: {catch_all_cluster: d}"
        self.assertIn("prefix_routes: {catch_all_route: {cluster: d}}\n", new(old % routes))
        for other in (routes, "\n      prefix_routes: {catch_all_route: {cluster: d}}"):
            self.assertEqual(
                ["'cluster' has no place beside these prefix_routes"],
                left(old % (cluster + other)),
            )

    def test_formats_of_logs(self) -> None:
        """Old formats become a `log_format`; what is null says nothing."""
        log = "access_log: [{name: envoy.file_access_log, config: {path: /x, %s}}]"
        old = filtered("envoy.tcp_proxy", f"cluster: c\n      {log}")
        for before, expected in (
            ("format: a", "log_format: {text_format_source: {inline_string: a}}"),
            ("json_format: {a: b}", "log_format: {json_format: {a: b}}"),
            ("format: ~, typed_json_format: {a: b}", "log_format: {json_format: {a: b}}"),
            ("log_format: {json_format: {}}, format: a", "log_format: {json_format: {}}, format"),
        ):
            self.assertIn(f", {expected}", new(old % before), before)
