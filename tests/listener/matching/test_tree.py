"""Matching trees: which name is chosen for a client."""

from __future__ import annotations

from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import ParseDict
from google.protobuf.wrappers_pb2 import StringValue
from xds.type.matcher.v3.matcher_pb2 import Matcher

import tcpmesh.extensions.matching.common_inputs.network
import tcpmesh.extensions.matching.input_matchers.ip  # noqa: F401 - their messages are known
from tcpmesh.listener.matching.tree import Choose, MatchingTree
from tcpmesh.registry import UnknownExtension, find
from tcpmesh.values.address import Address
from tcpmesh.values.stream.filter_state import Text
from tcpmesh.values.stream.stream_info import StreamInfo
from tests.listener.matching.test_chain_match import HERE, THERE, client
from tests.mesh import MeshTestCase

NETWORK = "envoy.extensions.matching.common_inputs.network.v3"


def typed(type_name: str, **fields: Any) -> dict[str, Any]:
    """A `TypedExtensionConfig`."""
    return {
        "name": "x",
        "typed_config": {"@type": f"type.googleapis.com/{type_name}", **fields},
    }


def go(name: str, **fields: Any) -> dict[str, Any]:
    """An `OnMatch` that chooses a name."""
    return {"action": typed("google.protobuf.StringValue", value=name), **fields}


def ask(name: str, **fields: Any) -> dict[str, Any]:
    """An input of a connection."""
    return typed(f"{NETWORK}.{name}", **fields)


SOURCE = ask("SourceIPInput")


def exact(table: dict[str, Any], asked: Any = SOURCE, **fields: Any) -> dict[str, Any]:
    """A tree by exact values."""
    return {"matcher_tree": {"input": asked, "exact_match_map": {"map": table}}, **fields}


def custom(type_name: str, fields: Any, asked: Any = SOURCE, **more: Any) -> dict[str, Any]:
    """A tree by a table of its own."""
    match = typed(f"xds.type.matcher.v3.{type_name}", **fields)
    return {"matcher_tree": {"input": asked, "custom_match": match}, **more}


def in_order(*entries: tuple[Any, Any], **fields: Any) -> dict[str, Any]:
    """A list of predicates."""
    matchers = [{"predicate": test, "on_match": on_match} for test, on_match in entries]
    return {"matcher_list": {"matchers": matchers}, **fields}


def where(asked: Any = SOURCE, **fields: Any) -> dict[str, Any]:
    """A predicate of one input."""
    return {"single_predicate": {"input": asked, "value_match": fields}}


def network(text: str) -> dict[str, Any]:
    """A `CidrRange`."""
    prefix, _, length = text.partition("/")
    return {"address_prefix": prefix, "prefix_len": int(length)}


def at(host: str) -> StreamInfo:
    """A client from there."""
    return client(there=Address(host, 5000))


class TreeTestCase(MeshTestCase):
    """Base: builds trees."""

    def tree(self, message: dict[str, Any]) -> Choose[str]:
        """What it chooses."""

        def name_of(action: Any) -> str:
            value = StringValue()
            action.typed_config.Unpack(value)
            return value.value

        built = MatchingTree(self.mesh.worker.context, name_of)
        return built.choose(ParseDict(message, Matcher()))

    def assert_chosen(self, message: dict[str, Any], **expected: str | None) -> None:
        """Assert what is chosen for clients by the last byte of their addresses in 10.0.0.0/24."""
        choose = self.tree(message)
        chosen = {key: choose(at(f"10.0.0.{key[1:]}")) for key in expected}
        self.assertEqual(expected, chosen)


class TableTests(TreeTestCase):
    """Trees of tables."""

    def test_exact(self) -> None:
        """A value that is in the table is chosen by; any other is no match."""
        table = {"10.0.0.1": go("a"), "10.0.0.2": go("b")}
        self.assert_chosen(exact(table), _1="a", _2="b", _3=None)
        self.assert_chosen(exact(table, on_no_match=go("c")), _1="a", _3="c")

    def test_prefix(self) -> None:
        """The longest prefix goes first; where its subtree chooses nothing, a shorter one may."""
        table = {
            "10.0.0.1": {"matcher": exact({"10.0.0.1": go("one"), "10.0.0.11": go("eleven")})},
            "10.": go("ten"),
            "": go("any"),
        }
        message = {"matcher_tree": {"input": SOURCE, "prefix_match_map": {"map": table}}}
        self.assert_chosen(message, _1="one", _11="eleven", _12="ten", _2="ten")
        self.assertEqual("any", self.tree(message)(at("192.0.2.1")))
        self.assertIsNone(self.tree(message)(client(there=Address("@"))))

    def test_nested(self) -> None:
        """What a subtree does not choose is not chosen by its branch either, unless the subtree
        says what else.
        """
        inner: dict[str, Any] = {"matcher": exact({"10.0.0.9": go("x")})}
        self.assert_chosen(exact({"10.0.0.1": inner}, on_no_match=go("rest")), _1="rest")
        inner["matcher"]["on_no_match"] = go("inner")
        self.assert_chosen(exact({"10.0.0.1": inner}, on_no_match=go("rest")), _1="inner")

    def test_keep_matching(self) -> None:
        """What says keep_matching is gone on after, as if it had not matched."""
        kept = go("a", keep_matching=True)
        self.assert_chosen(exact({"10.0.0.1": kept}), _1=None)
        self.assert_chosen(exact({"10.0.0.1": kept}, on_no_match=go("b")), _1="b")
        self.assert_chosen(exact({}, on_no_match=kept), _1=None)
        self.assert_chosen(
            in_order((where(prefix="10"), kept), (where(prefix="1"), go("b"))), _1="b"
        )
        subtree = {"matcher": exact({"10.0.0.1": go("a")}), "keep_matching": True}
        self.assert_chosen(exact({"10.0.0.1": subtree}, on_no_match=go("b")), _1="b")

    def test_networks(self) -> None:
        """The smallest network goes first, then the larger ones that are not exclusive, and those
        of one size in the order of the matchers.
        """
        small = {"matcher": exact({"10.0.0.1": go("small"), "10.0.0.2": go("two")})}
        message = custom(
            "IPMatcher",
            {
                "range_matchers": [
                    {"ranges": [network("10.0.0.0/8")], "on_match": go("ten")},
                    {"ranges": [network("10.0.0.0/30")], "on_match": small},
                    {"ranges": [network("10.0.0.4/32")], "on_match": go("x", keep_matching=True)},
                    {
                        "ranges": [network("10.0.0.0/16"), network("10.0.0.8/32")],
                        "on_match": go("exclusive"),
                        "exclusive": True,
                    },
                    {"ranges": [network("10.9.0.0/8")], "on_match": go("later")},
                ]
            },
            on_no_match=go("rest"),
        )
        self.assert_chosen(
            message, _1="small", _2="two", _3="ten", _4="ten", _8="exclusive", _200="exclusive"
        )
        self.assertEqual("ten", self.tree(message)(at("10.200.0.1")))
        self.assertEqual("rest", self.tree(message)(at("192.0.2.1")))

    def test_no_address(self) -> None:
        """What is no IP address is in no network."""
        ranges = {"range_matchers": [{"ranges": [network("0.0.0.0/0")], "on_match": go("a")}]}
        choose = self.tree(custom("IPMatcher", ranges, ask("ServerNameInput")))
        self.assertIsNone(choose(client(name="a.b")))
        self.assertEqual("a", choose(client(name="1.2.3.4")))

    def test_server_names(self) -> None:
        """The name itself goes first, then wildcards from the longest on, then that for all."""
        message = custom(
            "ServerNameMatcher",
            {
                "domain_matchers": [
                    {"domains": ["*"], "on_match": go("all")},
                    {"domains": ["a.b.c", "x.c"], "on_match": go("exact")},
                    {"domains": ["*.c"], "on_match": go("short")},
                    {"domains": ["*.b.c"], "on_match": go("long")},
                    {"domains": ["k.b.c"], "on_match": go("no", keep_matching=True)},
                ]
            },
            ask("ServerNameInput"),
        )
        choose = self.tree(message)
        names = ("a.b.c", "A.B.C", "d.b.c", "k.b.c", "b.c", "c", "")
        self.assertEqual(
            ["exact", "exact", "long", "long", "short", "all", None],
            [choose(client(name=name)) for name in names],
        )

    def test_unknown(self) -> None:
        """A table that nobody knows is an error that names it."""
        message = custom("StringMatcher", {})
        failure = self.assertRaises(UnknownExtension, self.tree, message)
        self.assertIn("StringMatcher", str(failure))


class ListTests(TreeTestCase):
    """Lists of predicates."""

    def test_order(self) -> None:
        """The first that matches chooses; where it chooses nothing the next one may."""
        miss = {"matcher": exact({"10.0.0.9": go("nine")})}
        message = in_order(
            (where(exact="10.0.0.1"), go("one")),
            (where(prefix="10.0.0"), miss),
            (where(suffix=".2"), go("two")),
            (where(contains="0.0.3"), go("three")),
            (where(safe_regex={"google_re2": {}, "regex": "10.0.0.[4-6]"}), go("four")),
            on_no_match=go("rest"),
        )
        self.assert_chosen(
            message, _1="one", _2="two", _3="three", _5="four", _55="rest", _9="nine", _7="rest"
        )

    def test_combined(self) -> None:
        """Predicates are combined by and, or and not."""
        one, two = where(exact="10.0.0.1"), where(exact="10.0.0.2")
        either = {"or_matcher": {"predicate": [one, two]}}
        both = {"and_matcher": {"predicate": [either, {"not_matcher": one}]}}
        self.assert_chosen(in_order((both, go("b")), (either, go("a"))), _1="a", _2="b", _3=None)

    def test_ignore_case(self) -> None:
        """Case may be ignored."""
        asked = ask("ApplicationProtocolInput")
        choose = self.tree(in_order((where(asked, exact="'H2'", ignore_case=True), go("a"))))
        self.assertEqual("a", choose(client(alpn=("h2",))))

    def test_nothing_there(self) -> None:
        """Where there is no input no value matches, be it of any kind; so its opposite does."""
        test = where(ask("ServerNameInput"), safe_regex={"google_re2": {}, "regex": ".*"})
        self.assertIsNone(self.tree(in_order((test, go("a"))))(client()))
        self.assertEqual("a", self.tree(in_order(({"not_matcher": test}, go("a"))))(client()))

    def test_ip(self) -> None:
        """A predicate may ask for networks."""
        matcher = typed(
            "envoy.extensions.matching.input_matchers.ip.v3.Ip",
            stat_prefix="s",
            cidr_ranges=[network("10.0.0.0/30"), network("fd00::/8")],
        )

        def choose(asked: dict[str, Any], info: StreamInfo) -> str | None:
            test = {"single_predicate": {"input": asked, "custom_match": matcher}}
            return self.tree(in_order((test, go("a"))))(info)

        self.assertEqual("a", choose(SOURCE, at("10.0.0.3")))
        self.assertEqual("a", choose(SOURCE, at("fd00::1")))
        self.assertIsNone(choose(SOURCE, at("10.0.0.4")))
        self.assertIsNone(choose(SOURCE, client(there=Address("@"))))
        self.assertIsNone(choose(ask("ServerNameInput"), client(name="a.b")))

    def test_empty(self) -> None:
        """A tree with nothing but on_no_match chooses that; one without anything nothing."""
        self.assertIsNone(self.tree({})(client()))
        self.assertEqual("a", self.tree({"on_no_match": go("a")})(client()))


class InputTests(TreeTestCase):
    """What can be asked of a connection."""

    def value(self, name: str, info: StreamInfo, **fields: Any) -> str | None:
        """The input of a client."""
        cls, message = find(ParseDict(ask(name, **fields)["typed_config"], AnyMessage()))
        found: str | None = cls(message, self.mesh.worker.context).get(info)
        return found

    def test_addresses(self) -> None:
        """Addresses and ports as a listener filter has restored them, and the socket's own."""
        info = client(restored=Address("fd00::9", 7), wanted=Address("192.0.2.1", 80))
        expected = {
            "DestinationIPInput": "192.0.2.1",
            "DestinationPortInput": "80",
            "SourceIPInput": "fd00::9",
            "SourcePortInput": "7",
            "DirectSourceIPInput": "10.1.2.3",
            "SourceTypeInput": None,
        }
        self.assertEqual(expected, {name: self.value(name, info) for name in expected})
        self.assertEqual("local", self.value("SourceTypeInput", client(HERE, HERE)))

    def test_unix_socket(self) -> None:
        """A unix socket has no addresses, and is local."""
        info = client(Address("/run/x"), Address("@"))
        names = ("DestinationIPInput", "DestinationPortInput", "SourceIPInput", "SourcePortInput")
        values = [self.value(name, info) for name in (*names, "DirectSourceIPInput")]
        self.assertEqual([None] * 5, values)
        self.assertEqual("local", self.value("SourceTypeInput", info))

    def test_hello(self) -> None:
        """What the first bytes say, where somebody has looked at them."""
        info = client(name="A.b", alpn=("h2", "http/1.1"), transport="tls")
        for name, value, without in (
            ("ServerNameInput", "a.b", None),
            ("ApplicationProtocolInput", "'h2','http/1.1'", None),
            ("TransportProtocolInput", "tls", "raw_buffer"),
        ):
            self.assertEqual(value, self.value(name, info))
            self.assertEqual(without, self.value(name, client(there=THERE)))

    def test_filter_state(self) -> None:
        """An object of the filter state, or a field of it."""
        info = client()
        self.assertIsNone(self.value("FilterStateInput", info, key="k"))
        info.set_filter_state("k", Text("v"))
        self.assertEqual("v", self.value("FilterStateInput", info, key="k"))
        self.assertIsNone(self.value("FilterStateInput", info, key="k", field="f"))
