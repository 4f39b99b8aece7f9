"""What Envoy refuses of the rules of rbac, and where it is said."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import judged, said, warned
from tests.extras import needs_cel

RBAC = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"
ACTION = "type.googleapis.com/envoy.config.rbac.v3.Action"
INPUTS = "type.googleapis.com/envoy.extensions.matching.common_inputs"


def bootstrap(fields: str) -> str:
    """One whose listener has rbac with these fields, all on one line."""
    filters = (
        f'[{{name: r, typed_config: {{"@type": {RBAC}, stat_prefix: r, {fields}}}}}, '
        "{name: e, typed_config: "
        '{"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}]'
    )
    address = "{socket_address: {address: 127.0.0.1, port_value: 1}}"
    return (
        f"static_resources: {{listeners: [{{name: l, address: {address}, "
        f"filter_chains: [{{filters: {filters}}}]}}]}}"
    )


def rules(permission: str = "any: true", principal: str = "any: true", more: str = "") -> str:
    """Rules of one policy."""
    return (
        f"rules: {{policies: {{p: {{permissions: [{{{permission}}}], "
        f"principals: [{{{principal}}}], {more}}}}}}}"
    )


def custom(fields: str) -> str:
    """A principal `mtls_authenticated`."""
    name = "envoy.extensions.rbac.principals.mtls_authenticated.v3.Config"
    return f'custom: {{name: c, typed_config: {{"@type": type.googleapis.com/{name}, {fields}}}}}'


class RbacTests(SynchronousTestCase):
    """A listener with rbac."""

    def assert_refused(self, fields: str, place: str, text: str) -> None:
        """Assert that this is said, of a field of the filter, and nothing else."""
        found: Any = judged(bootstrap(fields))
        self.assertEqual(1, len(found), found)
        self.assertIn(f".typed_config.{place}: ", found[0])
        self.assertIn(text, found[0])

    def test_good(self) -> None:
        """What Envoy takes is taken."""
        for fields in (
            "",
            "rules: {}",
            rules("destination_port_range: {start: 0, end: 65536}"),
            rules("url_path: {path: {exact: /}}"),
            rules(principal="remote_ip: {address_prefix: 10.0.0.0, prefix_len: 99}"),
            rules(principal="filter_state: {key: k, address_match: {}}"),
            rules(principal=custom("any_validated_client_certificate: true")),
            "matcher: {}",
        ):
            self.assertEqual([], said(bootstrap(fields)), fields)

    def test_headers(self) -> None:
        """Header fields are not for a network filter, at whatever depth."""
        header = "header: {name: a, present_match: true}"
        text = "not supported by RBAC network filter"
        self.assert_refused(rules(header), "rules.policies.p.permissions[0].header", text)
        inner = f"not_id: {{and_ids: {{ids: [{{{header}}}]}}}}"
        place = "rules.policies.p.principals[0].not_id.and_ids.ids[0].header"
        self.assert_refused(rules(principal=inner), place, text)

    def test_addresses(self) -> None:
        """A network needs an IP address."""
        text = "malformed IP address: 10.0.0"
        for part, kind in (
            ("permissions", "destination_ip"),
            ("principals", "source_ip"),
            ("principals", "remote_ip"),
            ("principals", "direct_remote_ip"),
        ):
            rule = f"{kind}: {{address_prefix: 10.0.0}}"
            fields = rules(rule) if part == "permissions" else rules(principal=rule)
            place = f"rules.policies.p.{part}[0].{kind}.address_prefix"
            self.assert_refused(fields, place, text)
        self.assert_refused(
            rules(
                principal="filter_state: {key: k, address_match: {ranges: "
                "[{address_prefix: 10.0.0, prefix_len: 8}]}}"
            ),
            "rules.policies.p.principals[0].filter_state.address_match.ranges[0].address_prefix",
            text,
        )

    def test_ports(self) -> None:
        """A range of ports is one, and within all ports."""
        here = "rules.policies.p.permissions[0].destination_port_range"
        for start, end, place, text in (
            (-1, 5, ".start", "range start -1 is out of bounds"),
            (1, 65537, ".end", "range end 65537 is out of bounds"),
            (5, 5, "", "range start 5 cannot be greater or equal than range end 5"),
        ):
            fields = rules(f"destination_port_range: {{start: {start}, end: {end}}}")
            self.assert_refused(fields, here + place, text)

    def test_trees(self) -> None:
        """A tree has inputs that connections have, and actions of rbac."""

        def tree(name: str, action: str = f'{{"@type": {ACTION}, name: a}}') -> str:
            input_ = f'{{name: i, typed_config: {{"@type": {INPUTS}.{name}}}}}'
            on_match = f"{{action: {{name: a, typed_config: {action}}}}}"
            table = f"exact_match_map: {{map: {{x: {on_match}}}}}"
            return f"{{matcher_tree: {{input: {input_}, {table}}}}}"

        good = tree("network.v3.SourceIPInput")
        for name in ("matcher", "shadow_matcher"):
            self.assertEqual([], said(bootstrap(f"{name}: {good}")))
            bad = tree("transport_socket.v3.FilterStateInput, key: k")
            place = f"{name}.matcher_tree.input.typed_config.@type"
            self.assert_refused(f"{name}: {bad}", place, "Didn't find a registered")
            other = "{'@type': type.googleapis.com/google.protobuf.StringValue, value: x}"
            bad = tree("network.v3.SourceIPInput", other)
            place = f"{name}.matcher_tree.exact_match_map.map.x.action.typed_config.@type"
            self.assert_refused(f"{name}: {bad}", place, "Didn't find a registered")

    def test_tree_and_rules(self) -> None:
        """Rules beside a tree are never asked, which is worth a warning."""
        (found,) = warned(bootstrap("rules: {}, matcher: {}"))
        self.assertIn("typed_config.rules: warning: there is a matcher too", found)

    def test_principals(self) -> None:
        """A principal is one that there is, and goes by something."""
        place = "rules.policies.p.principals[0].custom.typed_config"
        self.assert_refused(rules(principal=custom("")), place, "needs something to go by")
        name = "envoy.extensions.filters.network.echo.v3.Echo"
        other = f"custom: {{name: c, typed_config: {{'@type': type.googleapis.com/{name}}}}}"
        self.assert_refused(rules(principal=other), f"{place}.@type", "Didn't find a registered")

    def test_upstream_hosts(self) -> None:
        """A matcher of upstream hosts needs an address or ports."""
        name = "envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher"
        matcher = f"matcher: {{name: m, typed_config: {{'@type': type.googleapis.com/{name}, %s}}}}"
        place = "rules.policies.p.permissions[0].matcher.typed_config"
        self.assert_refused(rules(matcher % ""), place, "an address or ports are needed")
        bad = matcher % "upstream_ip: {address_prefix: x}"
        self.assert_refused(
            rules(bad), f"{place}.upstream_ip.address_prefix", "malformed IP address"
        )
        good = matcher % "upstream_port_range: {start: 1, end: 2}"
        self.assertEqual([], said(bootstrap(rules(good))))

    @needs_cel
    def test_conditions(self) -> None:
        """A condition is an expression, of functions that there are."""
        for name, wrap in (("condition", "%s"), ("checked_condition", "{expr: %s}")):
            self.assert_refused(
                rules(more=f"{name}: {wrap % '{}'}"),
                f"rules.policies.p.{name}",
                "failed to create an expression: an empty expression",
            )
            call = "{call_expr: {function: nope}}"
            self.assert_refused(
                rules(more=f"{name}: {wrap % call}"),
                f"rules.policies.p.{name}",
                "there is no function nope",
            )
            good = "{const_expr: {bool_value: true}}"
            self.assertEqual([], said(bootstrap(rules(more=f"{name}: {wrap % good}"))))
