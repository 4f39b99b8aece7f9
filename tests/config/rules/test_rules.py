"""The rules of the schema, held against a schema made here that has one field for each kind of
rule.
"""

from __future__ import annotations

from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from validate import validate_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config import rules
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.source import Document, Mapping
from tcpmesh.config.text.source_map import SourceMap
from tests.config.texts import changed, problems_of, said

FIELD = descriptor_pb2.FieldDescriptorProto
KINDS: dict[str, Any] = {
    "string": FIELD.TYPE_STRING,
    "bytes": FIELD.TYPE_BYTES,
    "bool": FIELD.TYPE_BOOL,
    "uint32": FIELD.TYPE_UINT32,
    "int64": FIELD.TYPE_INT64,
    "double": FIELD.TYPE_DOUBLE,
    "duration": ".google.protobuf.Duration",
    "any": ".google.protobuf.Any",
    "wrapped": ".google.protobuf.UInt32Value",
    "enum": ".google.protobuf.FieldDescriptorProto.Label",
}

_count = 0


def message_of(kind: str, rule: dict[str, Any], repeated: bool = False) -> Any:
    """An empty message with one field `f` of a kind, under a rule in the form of nested
    dictionaries.
    """
    global _count
    _count += 1
    file = descriptor_pb2.FileDescriptorProto(
        name=f"tests/rules{_count}.proto", package=f"tests.rules{_count}", syntax="proto3"
    )
    file.dependency.extend(
        f"google/protobuf/{name}.proto" for name in ("any", "descriptor", "duration", "wrappers")
    )
    file.dependency.append("validate/validate.proto")
    field = file.message_type.add(name="M").field.add(
        name="f", number=1, label=FIELD.LABEL_OPTIONAL
    )
    if repeated:
        field.label = FIELD.LABEL_REPEATED
    of_kind = KINDS[kind]
    if kind == "enum":
        file.syntax = "proto2"
        field.type, field.type_name = FIELD.TYPE_ENUM, of_kind
    elif isinstance(of_kind, str):
        field.type, field.type_name = FIELD.TYPE_MESSAGE, of_kind
    else:
        field.type = of_kind
    fill(field.options.Extensions[validate_pb2.rules], rule)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tests.rules{_count}.M"))()


def fill(message: Any, values: dict[str, Any]) -> None:
    """Set fields from nested dictionaries."""
    for name, value in values.items():
        if isinstance(value, dict):
            getattr(message, name).SetInParent()
            fill(getattr(message, name), value)
        elif isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)


def complaints(message: Any) -> list[str]:
    """What the rules have to say of a message."""
    document = Document("t.yaml", "", Mapping(1, 1))
    report = Report(Bootstrap(), SourceMap([document]), [], {})
    rules.check(message, report)
    return [problem.text for problem in report.problems]


class RuleTests(SynchronousTestCase):
    """Each kind of rule."""

    def judge(self, kind: str, rule: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
        """Assert which values of a field pass a rule."""
        message = message_of(kind, {kind: rule} if kind != "wrapped" else {"uint32": rule})
        for value in (*good, *bad):
            message.Clear()
            if kind == "wrapped":
                message.f.value = value
            elif kind == "duration":
                message.f.seconds = value
            elif kind == "any":
                message.f.type_url = value
            else:
                message.f = value
            self.assertEqual(value in bad, bool(complaints(message)), (kind, rule, value))

    def test_numbers(self) -> None:
        """const, lt, lte, gt, gte, in and not_in, of every kind of number."""
        for kind in ("uint32", "int64", "double", "wrapped"):
            self.judge(kind, {"const": 5}, [5], [0, 6])
            self.judge(kind, {"gt": 1, "lt": 3}, [2], [1, 3])
            self.judge(kind, {"gte": 1, "lte": 3}, [1, 3], [0, 4])
            self.judge(kind, {"lt": 1, "gt": 3}, [0, 4], [1, 2, 3])
            self.judge(kind, {"in": [1, 2]}, [1, 2], [3])
            self.judge(kind, {"not_in": [1, 2]}, [3], [1, 2])
            self.judge(kind, {"gte": 5, "ignore_empty": True}, [0, 5], [4])

    def test_string_sizes(self) -> None:
        """Characters and bytes are counted apart."""
        self.judge("string", {"len": 2}, ["ab", "\u00e9\u00e9"], ["", "abc"])
        self.judge("string", {"min_len": 1, "max_len": 2}, ["a", "ab"], ["", "abc"])
        self.judge("string", {"min_bytes": 2, "max_bytes": 2}, ["\u00e9", "ab"], ["a", "abc"])
        self.judge("string", {"len_bytes": 2}, ["\u00e9"], ["a"])
        self.judge("string", {"min_len": 2, "ignore_empty": True}, ["", "ab"], ["a"])

    def test_string_contents(self) -> None:
        """pattern, prefix, suffix, contains, not_contains, const, in and not_in."""
        self.judge("string", {"pattern": "^[a-z]+$"}, ["abc"], ["", "a1", "abc\n"])
        self.judge("string", {"pattern": "b"}, ["abc"], ["ac"])
        self.judge("string", {"prefix": "/", "suffix": "."}, ["/a."], ["/a", "a."])
        self.judge("string", {"contains": "b"}, ["abc"], ["ac"])
        self.judge("string", {"not_contains": "b"}, ["ac"], ["abc"])
        self.judge("string", {"const": "a"}, ["a"], ["b"])
        self.judge("string", {"in": ["a", "b"]}, ["a"], ["c"])
        self.judge("string", {"not_in": ["a", "b"]}, ["c"], ["a"])

    def test_well_known_strings(self) -> None:
        """Addresses, names, URIs, UUIDs and header parts."""
        self.judge("string", {"email": True}, ["a@b.c"], ["a", "@b", "a@-"])
        self.judge("string", {"hostname": True}, ["a.b-c", "a."], ["a_b", "-a", "a" * 64])
        self.judge("string", {"ip": True}, ["1.2.3.4", "::1"], ["1.2.3", "a"])
        self.judge("string", {"ipv4": True}, ["1.2.3.4"], ["::1"])
        self.judge("string", {"ipv6": True}, ["::1"], ["1.2.3.4"])
        self.judge("string", {"address": True}, ["::1", "a.b"], ["a_b"])
        self.judge("string", {"uri": True}, ["http://a/b"], ["/b", "http://a b"])
        self.judge("string", {"uri_ref": True}, ["/b", "http://a"], ["a b", "http://["])
        self.judge("string", {"uuid": True}, ["12345678-1234-1234-1234-123456789abc"], ["1234"])
        name = {"well_known_regex": validate_pb2.KnownRegex.HTTP_HEADER_NAME}
        self.judge("string", {**name, "strict": True}, ["a-b", ":path"], ["a b", ""])
        self.judge("string", {**name, "strict": False}, ["a b", ""], ["a\n"])
        value = {"well_known_regex": validate_pb2.KnownRegex.HTTP_HEADER_VALUE, "strict": True}
        self.judge("string", value, ["a b\tc"], ["a\x01"])

    def test_bytes(self) -> None:
        """Sizes and contents of bytes."""
        self.judge("bytes", {"min_len": 1, "max_len": 2}, [b"a"], [b"", b"abc"])
        self.judge("bytes", {"prefix": b"\xff"}, [b"\xff\x00"], [b"a"])
        self.judge("bytes", {"pattern": "^a+$"}, [b"aa"], [b"b"])
        self.judge("bytes", {"ip": True}, [b"1234"], [b"123"])

    def test_bool_and_enum(self) -> None:
        """const of a boolean, and membership of an enum."""
        self.judge("bool", {"const": True}, [True], [False])
        self.judge("enum", {"in": [1, 2]}, [1], [3])
        self.judge("enum", {"not_in": [1]}, [2], [1])

    def test_times(self) -> None:
        """Bounds of durations, which are never negative and at most 292 years."""
        self.judge("duration", {"gt": {"seconds": 1}}, [2], [0, 1])
        self.judge("duration", {"gte": {"seconds": 1}, "lt": {"seconds": 3}}, [1, 2], [3])
        self.judge("duration", {}, [0, 9223372035], [-1, 9223372036])

    def test_required(self) -> None:
        """A required message, duration or Any must be there."""
        for kind, rule in (
            ("duration", {"duration": {"required": True}}),
            ("any", {"any": {"required": True}}),
            ("wrapped", {"message": {"required": True}}),
        ):
            message = message_of(kind, rule)
            self.assertEqual(["f is required"], complaints(message))
            message.f.SetInParent()
            self.assertEqual([], complaints(message))

    def test_any(self) -> None:
        """The types that an Any may hold."""
        self.judge("any", {"in": ["a/b"]}, ["a/b"], ["a/c"])
        self.judge("any", {"not_in": ["a/b"]}, ["a/c"], ["a/b"])

    def test_lists(self) -> None:
        """Sizes, uniqueness and rules of the items of a list."""
        message = message_of(
            "uint32", {"repeated": {"min_items": 2, "max_items": 3, "unique": True}}, repeated=True
        )
        verdicts = {}
        for values in ((1,), (1, 2), (1, 1), (1, 2, 3, 4)):
            message.Clear()
            message.f.extend(values)
            verdicts[values] = complaints(message)
        self.assertEqual([1, 0, 1, 1], [len(found) for found in verdicts.values()])
        items = message_of(
            "string", {"repeated": {"items": {"string": {"min_len": 1}}}}, repeated=True
        )
        items.f.extend(["a", ""])
        self.assertEqual(["the value must have at least 1 character"], complaints(items))


class EnvoyTests(SynchronousTestCase):
    """The rules of Envoy's own schema."""

    def test_nested(self) -> None:
        """A rule deep inside is found, at the line of its field, with the name that Envoy has for
        it.
        """
        text = changed(("port_value: 8080", "port_value: 70000"))

        self.assertEqual(
            [
                "28:29: static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0]"
                ".endpoint.address."
                "socket_address.port_value: the value must be at most 65535 "
                "(SocketAddressValidationError.PortValue in Envoy)"
            ],
            said(text),
        )

    def test_inside_of_any(self) -> None:
        """Rules hold inside of an Any."""
        self.assertIn("13:24: ", said(changed(("stat_prefix: tcp", "stat_prefix: ''")))[0])

    def test_required_oneof(self) -> None:
        """A required oneof without a member is named with its members."""
        self.assertIn("oneof cluster_specifier", said(changed(("          cluster: web\n", "")))[0])

    def test_map_keys(self) -> None:
        """Keys of maps have rules, too."""
        self.assertIn(
            "at least 1 character",
            said(changed(("type: STATIC", "metadata: {filter_metadata: {'': {}}}")))[0],
        )

    def test_no_echo(self) -> None:
        """What a misspelt or unreadable field leaves empty is not complained about a second
        time.
        """
        self.assertEqual(1, len(problems_of(changed(("stat_prefix: tcp", "stat_prefx: tcp")))))
        self.assertEqual(1, len(problems_of(changed(("stat_prefix: tcp", "stat_prefix: [tcp]")))))
        self.assertEqual(1, len(problems_of(changed(("port_value: 8080", "port_value: x")))))
