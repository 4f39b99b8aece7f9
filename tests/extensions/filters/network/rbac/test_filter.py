"""rbac in a chain: when it decides, and what a client, statistics and logs get to see."""

from __future__ import annotations

from typing import Any

from tcpmesh.extensions.filters.network.rbac import _deny
from tcpmesh.net.tls.context import TlsContext
from tcpmesh.testing.certificates import Authority
from tcpmesh.testing.tls import authority, certificate, settings
from tests.extensions.filters.network.filtered import (
    WHY,
    FilteredTestCase,
    listener_filter,
    network_filter,
    tcp_proxy,
    typed,
)
from tests.extensions.filters.network.rbac.test_rules import network
from tests.extensions.transport_sockets.tls.test_tls import issued, socket, trusting

ANY = [{"any": True}]
LOG = f"{WHY} %DYNAMIC_METADATA(envoy.filters.network.rbac)% %DYNAMIC_METADATA(envoy.common)%"
DENIED = "- - rbac_access_denied_matched_policy[{}] rbac_deny_close - -"


def rbac(**fields: Any) -> dict[str, Any]:
    """The filter."""
    return network_filter("rbac.v3.RBAC", stat_prefix="r", **fields)


def rules(action: str = "ALLOW", name: str = "p", principals: Any = ANY) -> dict[str, Any]:
    """Rules of one policy."""
    policy = {"permissions": ANY, "principals": principals}
    return {"action": action, "policies": {name: policy}}


class RbacTestCase(FilteredTestCase):
    """A proxy with rbac before its tcp_proxy."""

    def begin(self, chain: dict[str, Any] | None = None, **fields: Any) -> None:
        """Serve."""
        self.serve(rbac(**fields), tcp_proxy(LOG), chain=chain)

    def counted(self) -> dict[str, int]:
        """What the filter has counted."""
        return self.mesh.moved("r.rbac.")

    def end(self) -> list[str]:
        """The log, once all hosts have closed their connections."""
        self.end_hosts()
        return self.logged()


class EnforcingTests(RbacTestCase):
    """Rules that are enforced."""

    def test_names(self) -> None:
        """All statistics are there from the start, those of shadow rules below their prefix, which
        needs no dot.
        """
        for prefix, dotted in (("", ""), ("sh", "sh."), ("sh.", "sh.")):
            self.begin(shadow_rules_stat_prefix=prefix)
            self.assertEqual(
                {"allowed", "denied", f"{dotted}shadow_allowed", f"{dotted}shadow_denied"},
                set(self.mesh.stats("r.rbac.")),
            )

    def test_first_byte(self) -> None:
        """Nothing is decided before the client speaks: the upstream is connected, and its greeting
        passes.
        """
        self.begin(rules=rules("DENY"))
        client = self.connect()
        self.host.built[0].transport.write(b"hello")
        self.mesh.pump()
        self.assertEqual((b"hello", {}), (client.received, self.counted()))
        self.say(client)
        self.assertEqual((True, {"denied": 1}), (client.ended, self.counted()))
        self.assertEqual(b"", self.host.built[0].received)
        self.assertEqual([DENIED.format("p")], self.end())

    def test_allowed_once(self) -> None:
        """Who was let in is not looked at again."""
        self.begin(rules=rules())
        client = self.connect()
        for _ in range(3):
            self.say(client)
        self.assertEqual((b"xxx", {"allowed": 1}), (self.host.built[0].received, self.counted()))
        self.leave(client)
        self.assertEqual(["- - - - - -"], self.logged())

    def test_end_of_stream(self) -> None:
        """A client that only ends its stream is looked at, too."""
        self.begin(rules=rules("DENY"))
        client = self.connect()
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertEqual({"denied": 1}, self.counted())

    def test_no_rules(self) -> None:
        """Without rules all are let in, and nothing is counted."""
        self.begin()
        self.say(self.connect())
        self.assertEqual((b"x", {}), (self.host.built[0].received, self.counted()))

    def test_policy_names(self) -> None:
        """The policy that denies is named, with underscores for blanks; `none` where none holds."""
        self.begin(rules=rules("DENY", name="a b\tc"))
        self.say(self.connect())
        self.assertEqual([DENIED.format("a_b_c")], self.end())
        self.begin(rules=rules(principals=[{"remote_ip": network("9.9.9.9/32")}]))
        self.say(self.connect())
        self.assertEqual([DENIED.format("none")], self.end())

    def test_continuous(self) -> None:
        """CONTINUOUS looks at everything that the client sends, and at the end of its stream."""
        self.begin(rules=rules(), enforcement_type="CONTINUOUS")
        client = self.connect()
        self.say(client)
        self.say(client)
        self.leave(client)
        self.assertEqual((b"xx", {"allowed": 3}), (self.host.built[0].received, self.counted()))

    def test_continuous_denial(self) -> None:
        """What has become of a client meanwhile counts: here its second message is too much."""
        names = "envoy.string"
        counter = {
            "object_key": "k",
            "factory_key": names,
            "format_string": {"text_format_source": {"inline_string": "%BYTES_SENT%"}},
        }
        state = network_filter("set_filter_state.v3.Config", on_downstream_data=[counter])
        spoken = {"filter_state": {"key": "k", "string_match": {"exact": "0"}}}
        self.serve(
            rbac(rules=rules("DENY", principals=[spoken]), enforcement_type="CONTINUOUS"),
            state,
            tcp_proxy(LOG),
        )
        client = self.connect()
        self.say(client, b"one")
        self.assertEqual((b"one", False), (self.host.built[0].received, client.ended))
        self.say(client, b"two")
        self.assertEqual((b"one", True), (self.host.built[0].received, client.ended))
        self.assertEqual({"allowed": 1, "denied": 1}, self.counted())

    def test_shared_prefix(self) -> None:
        """Two filters of one prefix count together, and the first denial closes."""
        self.serve(rbac(rules=rules()), rbac(rules=rules("DENY")), tcp_proxy(LOG))
        self.say(self.connect())
        self.assertEqual({"allowed": 1, "denied": 1}, self.counted())


class DelayTests(RbacTestCase):
    """`delay_deny`."""

    def test_delay(self) -> None:
        """A client is denied at once and closed later; what it says meanwhile goes nowhere."""
        self.begin(rules=rules("DENY"), delay_deny="2s")
        client = self.connect()
        self.say(client)
        self.say(client, b"more")
        self.mesh.advance(1.9)
        self.assertEqual((False, {"denied": 1}), (client.ended, self.counted()))
        self.mesh.advance(0.2)
        self.assertEqual((True, {"denied": 1}), (client.ended, self.counted()))
        self.assertEqual((b"", [DENIED.format("p")]), (self.host.built[0].received, self.end()))

    def test_upstream_is_heard(self) -> None:
        """What the upstream says meanwhile still passes."""
        self.begin(rules=rules("DENY"), delay_deny="2s")
        client = self.connect()
        self.say(client)
        self.host.built[0].transport.write(b"late")
        self.mesh.pump()
        self.assertEqual(b"late", client.received)

    def test_upstream_leaves(self) -> None:
        """A client whose upstream leaves meanwhile is gone before its time, and no timer is
        left.
        """
        self.begin(rules=rules("DENY"), delay_deny="2s")
        client = self.connect()
        self.say(client)
        self.host.built[0].transport.abortConnection()
        self.mesh.pump()
        client.transport.loseConnection()
        self.mesh.pump()
        self.assertTrue(client.ended)
        self.assertEqual(0, len(self.mesh.network.timers.queue(2.0, _deny)))
        self.mesh.advance(3)
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))

    def test_under_a_millisecond(self) -> None:
        """Less than a millisecond is no delay."""
        self.begin(rules=rules("DENY"), delay_deny="0.0009s")
        self.assertTrue(self.say(self.connect()).ended)


class ShadowTests(RbacTestCase):
    """Shadow rules decide nothing."""

    def test_metadata(self) -> None:
        """What they would is counted, and left in the dynamic metadata with the prefix as it is
        written.
        """
        self.begin(rules=rules(), shadow_rules=rules("DENY", "q"), shadow_rules_stat_prefix="sh_")
        self.leave(self.say(self.connect()))
        self.assertEqual({"allowed": 1, "sh_.shadow_denied": 1}, self.counted())
        told = '{"sh_shadow_effective_policy_id":"q","sh_shadow_engine_result":"denied"}'
        self.assertEqual([f"- - - - {told} -"], self.logged())

    def test_no_policy(self) -> None:
        """Where no policy held none is named."""
        self.begin(shadow_rules=rules(principals=[{"remote_ip": network("9.9.9.9/32")}]))
        self.leave(self.say(self.connect()))
        self.assertEqual(['- - - - {"shadow_engine_result":"denied"} -'], self.logged())

    def test_hints(self) -> None:
        """LOG tells access logs whether a policy held; as a shadow rule it does not."""
        self.begin(shadow_rules=rules("LOG"))
        self.leave(self.say(self.connect()))
        told = '{"shadow_effective_policy_id":"p","shadow_engine_result":"allowed"}'
        self.assertEqual([f"- - - - {told} -"], self.logged())
        self.begin(rules=rules("LOG"))
        self.leave(self.say(self.connect()))
        self.assertEqual(['- - - - - {"access_log_hint":true}'], self.logged())

    def test_before_a_denial(self) -> None:
        """They are asked about clients who are denied, too."""
        self.begin(rules=rules("DENY"), shadow_rules=rules())
        self.say(self.connect())
        self.assertEqual({"denied": 1, "shadow_allowed": 1}, self.counted())


class ClientTests(RbacTestCase):
    """Who is who in a chain."""

    def test_proxy_header(self) -> None:
        """`remote_ip` is the address of a PROXY header."""
        self.serve(
            rbac(rules=rules(principals=[{"remote_ip": network("1.2.3.0/24")}])),
            tcp_proxy(LOG),
            listener={"listener_filters": [listener_filter("proxy_protocol.v3.ProxyProtocol")]},
        )
        for source, ended in (("1.2.3.4", False), ("1.2.4.4", True)):
            client = self.say(self.connect(), f"PROXY TCP4 {source} 5.6.7.8 1 2\r\n".encode())
            self.assertIs(ended, self.say(client).ended)

    def connect_with(self, principal: dict[str, Any], ca: Authority | None) -> list[bool]:
        """Whether clients with a certificate and without one are let in, where this authority is
        trusted.
        """
        common = {"tls_certificates": [issued("server.test")], **(trusting(ca) if ca else {})}
        chain = {"transport_socket": socket("Downstream", common)}
        self.begin(chain=chain, rules=rules(principals=[principal]))
        mine = settings(certificate("client.test"), server_name="server.test", is_server=False)
        return [
            not self.say(client).ended
            for client in (self.tls_client(TlsContext(mine)), self.tls_client())
        ]

    def test_authenticated(self) -> None:
        """Where nobody asks for certificates every client of TLS is authenticated; where they are
        asked for, it may be by name.
        """
        self.assertEqual([True, True], self.connect_with({"authenticated": {}}, None))
        named = {"authenticated": {"principal_name": {"exact": "client.test"}}}
        self.assertEqual([True, False], self.connect_with(named, authority()))

    def test_mtls_authenticated(self) -> None:
        """`mtls_authenticated` is who has a certificate that was validated, or one of those
        names.
        """
        name = "envoy.extensions.rbac.principals.mtls_authenticated.v3.Config"

        def principal(**fields: Any) -> dict[str, Any]:
            return {"custom": typed(name, **fields)}

        validated = principal(any_validated_client_certificate=True)
        self.assertEqual([True, False], self.connect_with(validated, authority()))
        self.assertEqual([False, False], self.connect_with(validated, None))
        for wanted, works in (("client.test", True), ("other.test", False)):
            matcher = {"san_type": "DNS", "matcher": {"exact": wanted}}
            named = principal(san_matcher=matcher)
            self.assertEqual([works, False], self.connect_with(named, authority()))

    def test_names_in_trees(self) -> None:
        """A matching tree can go by the names of a certificate."""
        package = "envoy.extensions.matching.common_inputs.ssl.v3"
        for name, text in (("DnsSanInput", "client.test"), ("SubjectInput", "CN=client.test")):
            action = {"action": typed("envoy.config.rbac.v3.Action", name="a", action="ALLOW")}
            tree = {
                "input": typed(f"{package}.{name}"),
                "exact_match_map": {"map": {text: action}},
            }
            common = {"tls_certificates": [issued("server.test")], **trusting()}
            self.begin(
                chain={"transport_socket": socket("Downstream", common)},
                matcher={"matcher_tree": tree},
            )
            mine = settings(certificate("client.test"), server_name="server.test", is_server=False)
            self.assertFalse(self.say(self.tls_client(TlsContext(mine))).ended)
            self.assertTrue(self.say(self.tls_client()).ended)
            self.assertEqual({"allowed": 1, "denied": 1}, self.counted())
