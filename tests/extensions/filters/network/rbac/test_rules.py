"""What permissions and principals of rbac test."""

from __future__ import annotations

import random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from envoy.config.rbac.v3.rbac_pb2 import Permission, Principal
from google.protobuf.json_format import ParseDict

from tcpmesh.connection.state_objects import Flag, Ip, Protocols
from tcpmesh.extensions.filters.network.rbac.rules import any_of
from tcpmesh.testing.tls import authority
from tcpmesh.values.address import Address
from tcpmesh.values.stream.filter_state import Text
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.tls_facts import TlsFacts
from tests.listener.matching.test_chain_match import client
from tests.mesh import MeshTestCase


def network(text: str) -> dict[str, Any]:
    """A `CidrRange`."""
    prefix, _, length = text.partition("/")
    return {"address_prefix": prefix, "prefix_len": int(length)}


def certificate(**names: Any) -> bytes:
    """One of the subject CN=me with these alternative names, in DER."""
    pem, _ = authority().issue("me", **names)
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


class RuleTestCase(MeshTestCase):
    """Asks rules."""

    kind: Any = Principal

    def ask(self, info: StreamInfo, *rules: dict[str, Any]) -> bool:
        """Whether one of these holds for a client."""
        messages = [ParseDict(rule, self.kind()) for rule in rules]
        return any_of(messages, self.mesh.worker.context)(info)


class PrincipalTests(RuleTestCase):
    """Who a client is."""

    def test_addresses(self) -> None:
        """`direct_remote_ip` is for the other end of the socket, the others for the address that
        the client has by its PROXY header.
        """
        info = client(there=Address("10.0.0.1", 5), restored=Address("192.0.2.1", 6))
        found = {
            (kind, net): self.ask(info, {kind: network(net)})
            for kind in ("direct_remote_ip", "remote_ip", "source_ip")
            for net in ("10.0.0.0/8", "192.0.2.0/24")
        }
        self.assertEqual(
            [("direct_remote_ip", "10.0.0.0/8"), ("remote_ip", "192.0.2.0/24")],
            [key for key, holds in found.items() if holds and key[0] != "source_ip"],
        )
        self.assertTrue(found["source_ip", "192.0.2.0/24"])

    def test_host_bits(self) -> None:
        """Bits beyond the length do not count, and a length that is too great is that of one
        address.
        """
        info = client(there=Address("10.1.2.3", 5))
        self.assertTrue(self.ask(info, {"remote_ip": network("10.9.9.9/8")}))
        self.assertTrue(self.ask(info, {"remote_ip": network("10.1.2.3/99")}))
        self.assertTrue(self.ask(info, {"remote_ip": {"address_prefix": "9.9.9.9"}}))

    def test_unix(self) -> None:
        """A client of a unix socket is in no network, not even in that of all."""
        info = client(here=Address("/a"), there=Address("@"))
        self.assertFalse(self.ask(info, {"remote_ip": network("0.0.0.0/0")}))

    def test_as_if_asked_one_by_one(self) -> None:
        """Many networks together, however they are nested, hold where one of them does."""
        choose = random.Random(15)

        def any_network() -> dict[str, Any]:
            host = ".".join(str(choose.randrange(4)) for _ in range(4))
            return {"remote_ip": network(f"{host}/{choose.randrange(20, 33)}")}

        for _ in range(50):
            rules = [any_network() for _ in range(30)]
            joined = [
                *rules[:10],
                {"or_ids": {"ids": [*rules[10:20], {"or_ids": {"ids": rules[20:]}}]}},
            ]
            info = client(there=Address(f"0.{choose.randrange(4)}.1.{choose.randrange(4)}", 5))
            one_by_one = [self.ask(info, rule) for rule in rules]
            self.assertEqual(any(one_by_one), self.ask(info, *joined))

    def test_logic(self) -> None:
        """`and_ids` needs all, `or_ids` one, `not_id` what is not; any client is `any`."""
        info = client(there=Address("10.0.0.1", 5))
        yes, no = {"remote_ip": network("10.0.0.0/8")}, {"remote_ip": network("11.0.0.0/8")}
        for rule, holds in (
            ({"and_ids": {"ids": [yes, yes]}}, True),
            ({"and_ids": {"ids": [yes, no]}}, False),
            ({"or_ids": {"ids": [no, yes]}}, True),
            ({"or_ids": {"ids": [no, no]}}, False),
            ({"not_id": yes}, False),
            ({"not_id": no}, True),
            ({"not_id": {"or_ids": {"ids": [no, yes]}}}, False),
            ({"any": True}, True),
        ):
            self.assertIs(holds, self.ask(info, rule), rule)

    def test_metadata(self) -> None:
        """A value of the dynamic metadata; one that is not there is none of any kind, and with
        `invert` it is what is asked for.
        """
        info = client()
        info.add_metadata("f", {"a": {"b": "x"}})

        def rule(*path: str, **value: Any) -> dict[str, Any]:
            keys = [{"key": key} for key in path]
            invert = value.pop("invert", False)
            return {"filter": "f", "path": keys, "value": value, "invert": invert}

        exact: dict[str, Any] = {"string_match": {"exact": "x"}}
        for matcher, holds in (
            (rule("a", "b", **exact), True),
            (rule("a", "b", invert=True, **exact), False),
            (rule("a", "c", **exact), False),
            (rule("a", "c", invert=True, **exact), True),
            (rule("a", "b", "c", **exact), False),
            (rule("a", "c", null_match={}), False),
            (rule("a", "b", present_match=True), True),
            (rule("a", "c", present_match=True), False),
        ):
            self.assertIs(holds, self.ask(info, {"metadata": matcher}), matcher)

    def test_metadata_of_routes(self) -> None:
        """A connection has no route, so no metadata of one, whatever is asked of it."""
        info = client()
        info.add_metadata("f", {"a": "x"})
        matcher = {
            "filter": "f",
            "path": [{"key": "a"}],
            "value": {"string_match": {"exact": "x"}},
        }
        for source, invert, holds in (
            ("DYNAMIC", False, True),
            ("ROUTE", False, False),
            ("ROUTE", True, False),
        ):
            rule = {
                "metadata_matcher": {**matcher, "invert": invert},
                "metadata_source": source,
            }
            self.assertIs(holds, self.ask(info, {"sourced_metadata": rule}))

    def test_filter_state(self) -> None:
        """An object by its text, or as an address."""
        info = client()
        info.set_filter_state("t", Text("abc"))
        info.set_filter_state("i", Ip(Address("10.0.0.1", 0)))
        info.set_filter_state("p", Protocols("abc"))
        info.set_filter_state("f", Flag(True))
        text, nets = (
            {"string_match": {"prefix": "ab"}},
            {"address_match": {"ranges": [network("10.0.0.0/8")]}},
        )
        for key, match, holds in (
            ("t", text, True),
            ("i", text, False),
            ("p", text, False),
            ("none", text, False),
            ("f", {"string_match": {"exact": "true"}}, True),
            ("i", nets, True),
            ("t", nets, False),
            ("none", nets, False),
            ("i", {"address_match": {"ranges": [network("11.0.0.0/8")]}}, False),
        ):
            self.assertIs(holds, self.ask(info, {"filter_state": {"key": key, **match}}), key)

    def test_only_http(self) -> None:
        """What only HTTP has is never there."""
        self.assertFalse(self.ask(client(), {"url_path": {"path": {"contains": "a"}}}))


class AuthenticatedTests(RuleTestCase):
    """Clients of TLS."""

    def ask_name(self, info: StreamInfo, name: str) -> bool:
        """Whether a client is authenticated by this name."""
        return self.ask(info, {"authenticated": {"principal_name": {"exact": name}}})

    def test_without_tls(self) -> None:
        """A client without TLS is nobody."""
        rule = {"principal_name": {"safe_regex": {"regex": ".*"}}}
        self.assertFalse(self.ask(client(), {"authenticated": {}}))
        self.assertFalse(self.ask(client(), {"authenticated": rule}))

    def test_without_certificate(self) -> None:
        """With TLS and no certificate it is somebody, whose only name is empty."""
        info = client()
        info.tls = TlsFacts(version="TLSv1.3")
        self.assertTrue(self.ask(info, {"authenticated": {}}))
        self.assertFalse(self.ask_name(info, "CN=me"))
        rule = {"principal_name": {"safe_regex": {"regex": ".*"}}}
        self.assertTrue(self.ask(info, {"authenticated": rule}))

    def test_names(self) -> None:
        """The URIs and the DNS names of the certificate and its subject are names."""
        info = client()
        info.tls = TlsFacts(
            peer_chain=(certificate(dns=["a.test"], uris=["spiffe://a"], ips=["10.0.0.1"]),)
        )
        names = ("a.test", "spiffe://a", "CN=me", "10.0.0.1", "me")
        self.assertEqual(
            [True, True, True, False, False], [self.ask_name(info, name) for name in names]
        )

    def test_unreadable(self) -> None:
        """A certificate that nobody can read has no names."""
        info = client()
        info.tls = TlsFacts(peer_chain=(b"nonsense",))
        self.assertFalse(self.ask_name(info, "a.test"))


class PermissionTests(RuleTestCase):
    """What a client wants."""

    kind = Permission

    def test_destination(self) -> None:
        """The address and port that the client wanted."""
        info = client(here=Address("127.0.0.1", 443), wanted=Address("10.0.0.1", 80))
        for rule, holds in (
            ({"destination_ip": network("10.0.0.0/8")}, True),
            ({"destination_ip": network("127.0.0.0/8")}, False),
            ({"destination_port": 80}, True),
            ({"destination_port": 443}, False),
            ({"destination_port_range": {"start": 80, "end": 81}}, True),
            ({"destination_port_range": {"start": 79, "end": 80}}, False),
        ):
            self.assertIs(holds, self.ask(info, rule), rule)

    def test_unix(self) -> None:
        """A unix socket has no port."""
        info = client(here=Address("/a"), there=Address("@"))
        self.assertFalse(self.ask(info, {"destination_port": 0}))
        self.assertFalse(self.ask(info, {"destination_port_range": {"start": 0, "end": 1}}))

    def test_server_name(self) -> None:
        """The name that a client of TLS asks for, in lower case; empty where it asks for none."""
        info = client(name="A.Test")
        for matcher, holds in (
            ({"exact": "a.test"}, True),
            ({"exact": "A.Test"}, False),
            ({"exact": "A.Test", "ignore_case": True}, True),
            ({"suffix": ".test"}, True),
            ({"exact": "b.test"}, False),
        ):
            self.assertIs(holds, self.ask(info, {"requested_server_name": matcher}), matcher)
        self.assertTrue(self.ask(client(), {"requested_server_name": {"exact": ""}}))

    def test_kinds_together(self) -> None:
        """Of rules of several kinds one is enough."""
        info = client(here=Address("10.0.0.1", 80))
        rules: list[dict[str, Any]] = [
            {"destination_port": 443},
            {"destination_ip": network("11.0.0.0/8")},
        ]
        self.assertFalse(self.ask(info, *rules))
        self.assertTrue(self.ask(info, *rules, {"destination_port": 80}))
        self.assertTrue(self.ask(info, *rules, {"any": True}))

    def test_logic(self) -> None:
        """`and_rules`, `or_rules` and `not_rule`, as of principals."""
        info = client(here=Address("10.0.0.1", 80))
        yes, no = {"destination_port": 80}, {"destination_port": 81}
        for rule, holds in (
            ({"and_rules": {"rules": [yes, {"not_rule": no}]}}, True),
            ({"and_rules": {"rules": [yes, no]}}, False),
            ({"or_rules": {"rules": [no, yes]}}, True),
            ({"not_rule": {"or_rules": {"rules": [no, yes]}}}, False),
        ):
            self.assertIs(holds, self.ask(info, rule), rule)

    def test_never(self) -> None:
        """A path and an upstream host are never there, so what is not one is."""
        rule = {"url_path": {"path": {"prefix": "/"}}}
        self.assertFalse(self.ask(client(), rule))
        self.assertTrue(self.ask(client(), {"not_rule": rule}))
        self.assertFalse(self.ask(client(), {"matcher": {}}))
        self.assertFalse(self.ask(client(), {"uri_template": {}}))
